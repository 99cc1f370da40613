// Listens to /events and shows what it tells. Texts of nodes and clients are only ever set as text.
"use strict";

const byId = (id) => document.getElementById(id);
const KEPT = 900;
let fields = [];
let samples = [];
let charts = [];
let topologyEpoch = null;
let news = null;

// --- words and numbers

function short(value) {
  if (value === null || value === undefined) return "–";
  const units = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];
  for (const [size, unit] of units) if (value >= size) return (value / size).toPrecision(3) + unit;
  return value >= 100 || Number.isInteger(value) ? String(Math.round(value)) : value.toPrecision(2);
}

function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  return value >= 1000 ? (value / 1000).toFixed(2) + " s" : value.toPrecision(2) + " ms";
}

function bytes(value) {
  const units = ["B", "kiB", "MiB", "GiB", "TiB"];
  let place = 0;
  while (value >= 1024 && place < units.length - 1) { value /= 1024; place += 1; }
  return (place ? value.toFixed(1) : value) + " " + units[place];
}

function ago(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor(whole % 3600 / 60)} min`;
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// --- what is wrong

function showProblems(problems, time) {
  const items = problems.map((problem) => {
    const item = element("li", undefined, problem.severity);
    item.append(element("span", problem.text));
    const clock = new Date(problem.since * 1000).toLocaleTimeString();
    item.append(element("span", `since ${clock}, for ${ago(time - problem.since)}`, "since"));
    return item;
  });
  if (!items.length) items.push(element("li", "Nothing.", "good"));
  byId("problem-list").replaceChildren(...items);
  const worst = problems.length ? problems[0].severity : "good";
  const words = { good: "all well", warning: "look at this", critical: "something is wrong" };
  showState(worst, words[worst]);
  document.title = worst === "good" ? "Slotway" : `(${problems.length}) Slotway`;
}

function showState(className, text) {
  const badge = byId("state");
  badge.className = `badge ${className}`;
  if (badge.textContent !== text) badge.textContent = text;
}

// --- numbers and tables

function showTiles(sample) {
  const value = (name) => sample ? sample[fields.indexOf(name)] : null;
  byId("tile-requests").textContent = short(value("requests"));
  byId("tile-errors").textContent = short(value("errors"));
  byId("tile-p50").textContent = milliseconds(value("p50_ms"));
  byId("tile-p99").textContent = milliseconds(value("p99_ms"));
  byId("tile-clients").textContent = short(news.clients);
  byId("tile-holds").textContent = short(value("holds"));
  byId("tile-memory").textContent = bytes(news.memory_bytes);
}

function showNodes(nodes) {
  const ordered = [...nodes].sort((one, other) =>
    one.role.localeCompare(other.role) || one.address.localeCompare(other.address));
  const rows = ordered.map((node) => {
    const row = element("tr");
    const name = element("th", undefined);
    name.scope = "row";
    const swatch = element("span", undefined, "swatch");
    const colour = ClusterMap.colourOf(node.address);
    if (colour) swatch.style.background = colour;
    swatch.setAttribute("aria-hidden", "true");
    name.append(swatch, node.address);
    row.append(name, element("td", node.role), element("td", node.state, `state-${node.state}`));
    for (const text of [node.slots, short(node.requests), milliseconds(node.latency_ms),
      milliseconds(node.lag_ms), node.in_flight, short(node.errors)]) {
      row.append(element("td", String(text), "number"));
    }
    return row;
  });
  byId("nodes").replaceChildren(...rows);
}

function showHot(hot) {
  const rows = hot.keys.map((key) => {
    const row = element("tr");
    const name = element("td", key.key, "key");
    name.title = key.key;
    row.append(name, element("td", String(key.slot), "number"), element("td", key.node || "–"),
      element("td", key.command), element("td", short(key.per_second), "number"),
      element("td", short(key.writes_per_second), "number"));
    return row;
  });
  if (!rows.length) {
    const cell = element("td", "None: nothing stands out, or nothing was asked for.");
    cell.colSpan = 6;
    const row = element("tr");
    row.append(cell);
    rows.push(row);
  }
  byId("hot").replaceChildren(...rows);
}

// --- charts

const CHARTS = [
  ["chart-requests", [["requests", "requests", "--accent"], ["errors", "errors", "--bad"]], short],
  ["chart-latency", [["p50_ms", "p50", "--good"], ["p99_ms", "p99", "--accent"],
    ["p999_ms", "p99.9", "--warn"]], milliseconds],
  ["chart-trouble", [["redirects", "redirects", "--accent"], ["retries", "retries", "--warn"],
    ["held", "held", "--bad"]], short],
  ["chart-clients", [["clients", "clients", "--accent"]], short],
];

function style(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function makeCharts() {
  for (const chart of charts) chart.plot.destroy();
  charts = CHARTS.map(([id, lines, format]) => {
    const place = byId(id);
    const axis = { stroke: style("--faint"), grid: { stroke: style("--line"), width: 1 }, ticks: { show: false } };
    const plot = new uPlot({
      width: Math.max(place.clientWidth, 200), height: 150,
      cursor: { sync: { key: "slotway" } },
      scales: { y: { range: (_, low, high) => [0, Math.max(high * 1.1, 1e-3)] } },
      axes: [axis, { ...axis, size: 60, values: (_, ticks) => ticks.map((tick) => format(tick)) }],
      series: [{}, ...lines.map(([, label, colour]) => ({
        label, stroke: style(colour), width: 1.5, points: { show: false },
        value: (_, value) => format(value),
      }))],
    }, columns(lines), place);
    return { plot, lines, place };
  });
}

function columns(lines) {
  const column = (name) => {
    const place = fields.indexOf(name);
    return samples.map((sample) => sample[place]);
  };
  return [column("time"), ...lines.map(([name]) => column(name))];
}

function drawCharts() {
  for (const chart of charts) chart.plot.setData(columns(chart.lines));
}

// --- what is asked for besides

async function ask(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function refreshMap() {
  try {
    const [topology, hot] = await Promise.all([ask("topology"), ask("hot?count=10&slots=all")]);
    ClusterMap.setTopology(topology);
    if (hot.slot_requests) ClusterMap.setHeat(hot.slot_requests);
    ClusterMap.draw(byId("map"));
    showHot(hot);
    if (news) showNodes(news.nodes);
  } catch {
    // Before there is a topology the page says so, and a later round finds it.
  }
}

// --- events

function takeHistory(told) {
  fields = told.fields;
  samples = told.samples;
  makeCharts();
}

function takeNews(told) {
  news = told;
  if (told.sample) {
    const last = samples.length ? samples[samples.length - 1][0] : 0;
    if (told.sample[0] > last) samples.push(told.sample);
    if (samples.length > KEPT) samples.shift();
  }
  byId("version").textContent = told.version;
  const full = told.slots_covered === 16384 ? "all slots have a node"
    : `${told.slots_covered} of 16384 slots have a node`;
  byId("summary").textContent = `${told.nodes.length} nodes, ${full}, epoch ${told.epoch}`;
  showProblems(told.problems, told.time);
  showTiles(told.sample);
  showNodes(told.nodes);
  if (!document.hidden) drawCharts();
  const now = `${told.epoch} ${told.slots_covered} ${told.nodes.length}`;
  if (now !== topologyEpoch) { topologyEpoch = now; refreshMap(); }
}

function listen() {
  const events = new EventSource("events");
  events.addEventListener("history", (event) => takeHistory(JSON.parse(event.data)));
  events.addEventListener("news", (event) => takeNews(JSON.parse(event.data)));
  events.onerror = () => showState("critical", "no word from the proxy");
}

function chooseTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("theme", theme); } catch { /* Only for this time, then. */ }
  if (fields.length) makeCharts();
}

function firstTheme() {
  let kept = null;
  try { kept = localStorage.getItem("theme"); } catch { /* As the system says. */ }
  return kept || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

chooseTheme(firstTheme());
byId("theme").addEventListener("click", () =>
  chooseTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
byId("map").addEventListener("mousemove", (event) => {
  const found = ClusterMap.at(byId("map"), event);
  if (!found) return;
  const heat = found.requests === null ? "" : `, ${found.requests} requests lately`;
  byId("map-text").textContent = `Slot ${found.slot}: ${found.owner || "nobody"}${heat}`;
});
addEventListener("resize", () => {
  for (const chart of charts) {
    chart.plot.setSize({ width: Math.max(chart.place.clientWidth - 4, 200), height: 150 });
  }
});
listen();
refreshMap();
setInterval(refreshMap, 5000);
