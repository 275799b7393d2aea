"use strict";

// Asks for the state and the history while the page is visible, and shows both.

const at = (id) => document.getElementById(id);
const page = { figures: [], tables: [], totals: null, newest: null, changed: Date.now(), timer: null, wait: 5000 };

/** The words of a source's state, as colours. */
const STATES = { "up": "up", "up in part": "part", "down": "down" };

async function ask(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function list(id, items) {
  at(id).replaceChildren(...items);
}

function showStatus(status) {
  at("version").textContent = status.version;
  const sources = status.sources.map((source) => {
    const age = source.last_success_seconds;
    const detail = age === null ? "" : ` ${brief(source.series)} series`;
    const warnings = source.warnings.slice(0, 5).map((warning) => element("p", {}, warning));
    return element("li", { class: STATES[source.state] || "other" },
      element("b", {}, source.source), source.state, element("small", {}, detail), ...warnings);
  });
  const off = (status.switched_off || []).map((name) => element("li", { class: "off" }, element("b", {}, name), "off"));
  list("sources", [...sources, ...off]);
  at("probes-link").hidden = !status.sources.some((source) => source.source === "probes");
  const push = status.push && status.push.warning ? [`the push: ${status.push.warning}`] : [];
  list("warnings", [...status.warnings, ...push].map((warning) => element("li", {}, warning)));
}

function showHistory(history) {
  const last = newest(history.times);
  if (last !== page.newest) {
    page.newest = last;
    page.changed = Date.now();
  }
  const scraped = history.driven_by === "scrapes";
  const how = scraped ? "on each scrape" : `every ${brief(history.interval_seconds)} s`;
  at("newest").textContent = last === null ? "no cycle yet" : `newest cycle ${clock(last)}, ${how}`;
  at("driven").hidden = !scraped;
  at("driven").textContent = "Nothing is pushed, so a cycle is made only when someone scrapes /metrics: "
    + "the plots have what was scraped, at the distances of the scrapes.";
  // Two looks at each cycle; nobody needs more than one a second.
  page.wait = scraped ? 5000 : Math.min(10000, Math.max(1000, history.interval_seconds * 500));
  const late = scraped ? 0 : Math.max(30000, history.interval_seconds * 3000);
  const age = Date.now() - page.changed;
  problem(late > 0 && age > late ? `No new cycle for ${Math.round(age / 1000)} s.` : "");
  const left = history.left_out > 0 ? `, ${history.left_out} readings left out at a limit` : "";
  at("extent").textContent = `history: ${history.cycles_kept} cycles, ${Math.round(history.bytes / KIB)} of ${history.bytes_limit / KIB} KiB${left}`;
  page.totals = new Totals(history);
  for (const figure of page.figures) figure.show(page.totals);
}

function problem(text) {
  at("problem").textContent = text;
  at("problem").hidden = text === "";
}

async function refresh() {
  clearTimeout(page.timer);
  if (document.hidden) return;
  try {
    const [status, totals, series] = await Promise.all([
      ask("-/status"),
      ask("api/history?of=all&cycles=360&names=" + PLOTTED.join()),
      ask("api/history?of=series&seconds=300&cycles=2&names=" + LISTED.join()),
    ]);
    showStatus(status);
    showHistory(totals);
    for (const table of page.tables) table.show(series);
    document.documentElement.dataset.cycle = String(page.newest);
  } catch (error) {
    problem(`The agent does not answer: ${error.message}`);
  }
  page.timer = setTimeout(refresh, page.wait);
}

const THEMES = ["system", "light", "dark"];

function remembered() {
  try {
    return localStorage.getItem("theme") || "system";
  } catch {
    return "system"; // Where the browser keeps nothing.
  }
}

function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  at("theme").textContent = "theme: " + theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // It holds until the page is left.
  }
  for (const figure of page.figures) figure.redraw(page.totals);
}

function begin() {
  page.figures = PLOTS.map((plot) => new Figure(plot));
  at("plots").append(...page.figures.map((figure) => figure.root));
  page.tables = TABLES.map((table) => new Table(table));
  at("tables").append(...page.tables.map((table) => table.root));
  at("host").textContent = location.host;
  at("newest").textContent = "loading";
  document.title = "connscope " + location.host;
  const known = remembered();
  setTheme(THEMES.includes(known) ? known : "system");
  at("theme").addEventListener("click", () => {
    const now = THEMES.indexOf(document.documentElement.dataset.theme || "system");
    setTheme(THEMES[(now + 1) % THEMES.length]);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const figure of page.figures) figure.redraw(page.totals);
  });
  let resized = null;
  addEventListener("resize", () => {
    clearTimeout(resized);
    resized = setTimeout(() => page.figures.forEach((figure) => figure.resize()), 100);
  });
  document.addEventListener("visibilitychange", refresh);
  refresh();
}

begin();
