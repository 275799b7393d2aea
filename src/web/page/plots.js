"use strict";

// The plots: what each shows, and uPlot to draw it.

/** Of `/api/history?of=all`: the values of one number of a metric, of one value of a label where it has one. */
class Totals {
  constructor(history) {
    this.times = history.times;
    this.series = history.series;
  }

  values(name, stat, label) {
    const found = this.series.filter((one) => one.name === name && one.stat === stat
      && (label === undefined || Object.values(one.labels).includes(label)));
    return sums(found.map((one) => one.values));
  }

  rate(name, label) {
    const values = this.values(name, "increase", label);
    return values && rates(this.times, values);
  }
}

const line = (label, values, unit) => ({ label, values, unit });

/** Each plot: `lines` are its lines, `null` where there is no such metric; `now` is the text of the value now. */
const PLOTS = [
  {
    id: "table", title: "Connection tracking table", unit: format.number,
    lines: (totals) => {
      const used = totals.values("conntrack.table.usage", "sum");
      const limit = totals.values("conntrack.table.limit", "sum");
      const near = used && limit && Math.max(...used.map((value) => value || 0)) * 5 > (newest(limit) || 0);
      return used && [line("entries", used), near ? line("limit", limit) : null];
    },
    now: (totals) => {
      const [used, limit] = ["usage", "limit"].map((name) => newest(totals.values("conntrack.table." + name, "sum")));
      const fullest = newest(totals.values("conntrack.table.utilization", "max"));
      const share = fullest === null ? "no limit" : `${format.percent(fullest)} of the limit`;
      return { text: brief(used), detail: `of ${brief(limit)} entries, ${share}`, meter: fullest, bad: fullest > 0.8 };
    },
  },
  {
    id: "drops", title: "Packets and entries lost by the table", unit: format.rate,
    lines: (totals) => ["drop", "insert_failed", "early_drop"].map((name) => {
      const values = totals.rate("conntrack." + name);
      return values && line(name, values);
    }),
    bad: (values) => values.some((value) => value > 0),
  },
  {
    id: "retransmits", title: "Retransmitted share of TCP segments", unit: format.percent,
    lines: (totals) => {
      const again = totals.rate("tcp.retransmits");
      const all = totals.rate("tcp.segments", "transmit");
      if (!again || !all) return null;
      return [line("retransmitted", again.map((value, at) => {
        return value === null || all[at] === null ? null : all[at] > 0 ? value / all[at] : 0;
      }))];
    },
    bad: ([share]) => share > 0.02,
  },
  {
    id: "rtt", title: "Round trips", unit: format.time,
    lines: (totals) => ["p50", "p95", "p99"].map((stat) => {
      const values = totals.values("tcp.rtt", stat);
      return values && line(stat, values);
    }),
  },
  {
    id: "connections", title: "Failed and reset connections", unit: format.rate,
    lines: (totals) => ["failed", "reset"].map((event) => {
      const values = totals.rate("tcp.connections", event);
      return values && line(event, values);
    }),
    bad: ([failed]) => failed > 0,
  },
  {
    id: "accept", title: "Accept queues", unit: format.number,
    lines: (totals) => {
      const waiting = totals.values("tcp.listen.queue.usage", "sum");
      const lost = totals.rate("tcp.listen.queue.overflow");
      return waiting && [line("waiting", waiting), lost && line("dropped per second", lost)];
    },
    bad: ([, lost]) => lost > 0,
  },
  {
    id: "probes", title: "Probes", unit: format.number,
    lines: (totals) => {
      const [up, all] = ["sum", "series"].map((stat) => totals.values("probe.up", stat));
      if (!up) return null;
      return [line("up", up), line("down", all.map((value, at) => (value === null ? null : value - up[at])))];
    },
    bad: ([, down]) => down > 0,
  },
  {
    id: "containers", title: "Failed connections of containers", unit: format.rate,
    lines: (totals) => {
      const failed = totals.rate("container.tcp.connections", "failed");
      const again = totals.rate("container.tcp.retransmits");
      return failed && [line("failed", failed), again && line("retransmits", again)];
    },
    bad: ([failed]) => failed > 0,
  },
];

/** Names of the metrics that the plots are made of. */
const PLOTTED = [
  "conntrack.table.usage", "conntrack.table.limit", "conntrack.table.utilization", "conntrack.drop",
  "conntrack.insert_failed", "conntrack.early_drop", "tcp.retransmits", "tcp.segments", "tcp.rtt", "tcp.connections",
  "tcp.listen.queue.usage", "tcp.listen.queue.overflow", "probe.up", "container.tcp.connections",
  "container.tcp.retransmits",
];

/** The time of a tick: with seconds where the ticks are closer than a minute. */
function times(ticks, tick) {
  const close = ticks.length > 1 && ticks[1] - ticks[0] < 60;
  return close ? clock(tick) : clock(tick).slice(0, 5);
}

const COLOURS = ["--one", "--two", "--three", "--four"];

/** A figure on the page, with its plot as long as there is something to plot. */
class Figure {
  constructor(plot) {
    this.plot = plot;
    this.now = element("p", { class: "now" });
    this.meter = element("meter", { min: "0", max: "1", high: "0.8", optimum: "0", hidden: "" });
    this.meter.setAttribute("aria-label", plot.title + ": used part of the limit");
    this.area = element("div", { class: "area" });
    this.root = element("figure", { id: "plot-" + plot.id, tabindex: "0" },
      element("h3", {}, plot.title), this.now, this.meter, this.area);
    this.root.setAttribute("aria-label", plot.title);
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.drawn = null;
  }

  show(totals) {
    const lines = (this.plot.lines(totals) || []).filter((one) => one);
    const last = lines.map((one) => newest(one.values));
    if (lines.length === 0) return this.nothing();
    const now = this.plot.now ? this.plot.now(totals) : {
      text: last.map(this.plot.unit).join(" / "),
      detail: lines.map((one) => one.label).join(" / "),
      bad: this.plot.bad ? this.plot.bad(last) : false,
    };
    this.now.replaceChildren(now.text, " ", element("small", {}, now.detail));
    this.root.classList.toggle("bad", Boolean(now.bad));
    this.meter.hidden = now.meter === undefined || now.meter === null;
    if (!this.meter.hidden) this.meter.value = now.meter;
    const data = [totals.times, ...lines.map((one) => one.values)];
    const shape = lines.map((one) => one.label).join();
    if (this.drawn && this.shape === shape) this.drawn.setData(data);
    else this.draw(lines, data, shape);
  }

  nothing() {
    this.forget();
    this.now.replaceChildren();
    this.meter.hidden = true;
    this.root.classList.remove("bad");
    this.area.replaceChildren(element("p", { class: "nothing" }, "not collected"));
  }

  forget() {
    if (this.drawn) this.drawn.destroy();
    this.drawn = null;
  }

  draw(lines, data, shape) {
    this.forget();
    this.area.replaceChildren();
    this.shape = shape;
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false } };
    const show = (_, value) => (value === null || value === undefined ? "–" : this.plot.unit(value));
    this.drawn = new uPlot({
      width: this.width(), height: 160,
      scales: { y: { range: (_, low, high) => [Math.min(0, low || 0), high > 0 ? high * 1.1 : 1] } },
      axes: [
        { ...axis, space: 70, size: 30, values: (_, ticks) => ticks.map((tick) => times(ticks, tick)) },
        { ...axis, size: 62, values: (_, ticks) => ticks.map((tick) => this.plot.unit(tick)) },
      ],
      series: [
        { label: "at", value: (_, value) => (value === null ? "–" : clock(value)) },
        ...lines.map((one, at) => ({
          label: one.label, stroke: colour(COLOURS[at % COLOURS.length]), width: 2, value: show,
          points: { show: data[0].length < 3 },
        })),
      ],
    }, data, this.area);
  }

  width() {
    return Math.max(200, this.area.clientWidth);
  }

  resize() {
    if (this.drawn) this.drawn.setSize({ width: this.width(), height: 160 });
  }

  redraw(totals) {
    this.forget();
    if (totals) this.show(totals);
  }

  /** The arrow keys move the cursor over the cycles, Home and End to the first and the last. */
  key(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (!this.drawn || !(event.key in steps)) return;
    event.preventDefault();
    const last = this.drawn.data[0].length - 1;
    const from = this.drawn.cursor.idx === null || this.drawn.cursor.idx === undefined ? last : this.drawn.cursor.idx;
    const to = Math.max(0, Math.min(last, from + steps[event.key]));
    this.drawn.setCursor({ left: this.drawn.valToPos(this.drawn.data[0][to], "x"), top: 1 });
  }
}
