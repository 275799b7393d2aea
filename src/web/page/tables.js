"use strict";

// The tables: the worst groups of sockets, probes that are down, and destinations of containers.

/** Most rows of a table. */
const MOST_ROWS = 15;

/** Labels that divide the numbers of one thing, and are not part of its name. */
const DIVIDING = ["event", "error.type", "network.io.direction", "phase", "outcome"];

function subject(labels) {
  const named = Object.entries(labels).filter(([key]) => !DIVIDING.includes(key));
  return named.map(([key, value]) => `${key}=${value}`).join(" ");
}

/** What is listed of a metric, by the thing that it is about. */
function bySubject(history, name, stat, select) {
  const found = new Map();
  for (const series of history.series) {
    if (series.name !== name || series.stat !== stat || (select && !select(series.labels))) continue;
    const key = subject(series.labels);
    if (!found.has(key)) found.set(key, []);
    found.get(key).push(series);
  }
  return found;
}

const grown = (series) => series && series.reduce((sum, one) => sum + (growth(one) || 0), 0);
const level = (series) => series && series.reduce((sum, one) => sum + (newest(one.values) || 0), 0);
const part = (some, all) => (all > 0 ? (some || 0) / all : null);
const event = (name) => (labels) => labels.event === name;

/**
 * Each table: `metrics` that it is made of, the first of which there has to be; `columns` with how a cell is written; `rows`
 * with their cells; rows without anything wrong are left out.
 */
const TABLES = [
  {
    id: "groups", title: "Groups of TCP connections", sort: 2,
    metrics: ["tcp.open_connections", "tcp.retransmits", "tcp.segments", "tcp.connections", "tcp.rtt"],
    none: "no group of connections",
    columns: [
      ["group", null], ["open", format.number], ["retransmitted", format.percent], ["mean round trip", format.time],
      ["failed", format.number], ["reset", format.number],
    ],
    rows: (history) => {
      const sent = bySubject(history, "tcp.segments", "value", (labels) => labels["network.io.direction"] === "transmit");
      const again = bySubject(history, "tcp.retransmits", "value");
      const counts = bySubject(history, "tcp.rtt", "count");
      const totals = bySubject(history, "tcp.rtt", "sum");
      const [failed, reset] = ["failed", "reset"].map((name) => bySubject(history, "tcp.connections", "value", event(name)));
      const open = bySubject(history, "tcp.open_connections", "value");
      return [...new Set([...open.keys(), ...failed.keys()])].map((key) => [
        key, level(open.get(key)), part(grown(again.get(key)), grown(sent.get(key))),
        part(grown(totals.get(key)), grown(counts.get(key))), grown(failed.get(key)), grown(reset.get(key)),
      ]);
    },
    bad: [2, 4],
  },
  {
    id: "queues", title: "Accept queues", sort: 3,
    metrics: ["tcp.listen.queue.usage", "tcp.listen.queue.limit", "tcp.listen.queue.overflow"],
    none: "no listening socket",
    columns: [["listening", null], ["waiting", format.number], ["limit", format.number], ["used", format.percent], ["dropped", format.number]],
    rows: (history) => {
      const [usage, limit, lost] = ["usage", "limit", "overflow"].map((name) => {
        return bySubject(history, "tcp.listen.queue." + name, "value");
      });
      return [...usage.keys()].map((key) => {
        const [waiting, most] = [level(usage.get(key)), level(limit.get(key))];
        return [key, waiting, most, part(waiting, most), grown(lost.get(key))];
      });
    },
    bad: [4],
  },
  {
    id: "down", title: "Probes that are down", sort: 0,
    metrics: ["probe.up", "probe.duration"],
    none: "every probe is up",
    columns: [["target", null], ["reason", (text) => text]],
    rows: (history) => {
      const durations = bySubject(history, "probe.duration", "count", (labels) => labels["error.type"]);
      const down = [...bySubject(history, "probe.up", "value")].filter(([, series]) => newest(series[0].values) === 0);
      return down.map(([key]) => {
        const reasons = (durations.get(key) || []).map((one) => [growth(one) || 0, newest(one.values) || 0, one.labels["error.type"]]);
        reasons.sort((left, right) => right[0] - left[0] || right[1] - left[1]);
        return [key, reasons.length > 0 ? reasons[0][2] : "–"];
      });
    },
    bad: [1],
  },
  {
    id: "destinations", title: "Destinations of containers", sort: 1,
    metrics: ["container.tcp.connections", "container.tcp.retransmits", "container.tcp.rtt"],
    none: "no connection of a container",
    columns: [["container and destination", null], ["failed", format.number], ["retransmits", format.number], ["round trip", format.time]],
    rows: (history) => {
      const all = bySubject(history, "container.tcp.connections", "value");
      const failed = bySubject(history, "container.tcp.connections", "value", event("failed"));
      const again = bySubject(history, "container.tcp.retransmits", "value");
      const trips = bySubject(history, "container.tcp.rtt", "value");
      return [...all.keys()].map((key) => {
        return [key, grown(failed.get(key)), grown(again.get(key)), trips.has(key) ? newest(trips.get(key)[0].values) : null];
      });
    },
    bad: [1],
  },
];

/** Names of the metrics that the tables are made of. */
const LISTED = TABLES.flatMap((table) => table.metrics);

/** A table on the page, sorted by the column that was chosen. */
class Table {
  constructor(table) {
    this.table = table;
    this.sort = table.sort;
    this.rows = [];
    this.body = element("tbody", {});
    this.heads = table.columns.map(([name], at) => {
      const button = element("button", { type: "button" }, name);
      button.addEventListener("click", () => { this.sort = at; this.draw(); });
      return element("th", { scope: "col" }, button);
    });
    this.root = element("div", { class: "scroll", id: "table-" + table.id, tabindex: "0", role: "region" },
      element("table", {}, element("caption", {}, table.title), element("thead", {}, element("tr", {}, ...this.heads)), this.body));
    this.root.setAttribute("aria-label", table.title);
    this.note = element("p", { class: "none", hidden: "" });
    this.root.append(this.note);
    this.cut = 0;
  }

  show(history) {
    this.root.hidden = !history.series.some((series) => series.name === this.table.metrics[0]);
    this.rows = this.root.hidden ? [] : this.table.rows(history);
    this.cut = this.table.metrics.reduce((sum, name) => sum + (history.cut_by_name[name] || 0), 0);
    this.draw();
  }

  draw() {
    const at = this.sort;
    const texts = this.table.columns[at][1] === null || this.table.id === "down";
    const order = texts
      ? (left, right) => String(left[at]).localeCompare(String(right[at]))
      : (left, right) => (right[at] || 0) - (left[at] || 0);
    this.heads.forEach((head, column) => {
      if (column === at) head.setAttribute("aria-sort", texts ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    const worst = [...this.rows].sort(order).slice(0, MOST_ROWS);
    const rows = worst.map((row) => element("tr", {}, ...row.map((cell, column) => {
      const write = this.table.columns[column][1];
      const bad = this.table.bad.includes(column) && (typeof cell === "string" || cell > (column === 2 ? 0.02 : 0));
      return element("td", bad ? { class: "bad" } : {}, write ? write(cell) : cell || "all");
    })));
    if (rows.length === 0) {
      rows.push(element("tr", {}, element("td", { class: "none", colspan: String(this.heads.length) }, this.table.none)));
    }
    this.body.replaceChildren(...rows);
    const notes = [];
    if (this.rows.length > worst.length) notes.push(`${worst.length} of ${this.rows.length} rows.`);
    if (this.cut > 0) notes.push(`There was no room for ${this.cut} series: the worst of each metric are here.`);
    this.note.hidden = notes.length === 0;
    this.note.textContent = notes.join(" ");
  }
}
