// Panels of the types stat, state-timeline, table and text.
"use strict";

function element(name, className = "", text = undefined) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// --- stat

function drawStat(panel, series, body, { to }) {
  const { options } = panel;
  if (options.reduceOptions.calcs.join() !== "lastNotNull") throw new Error("another reduction");
  const stats = element("div", "stats");
  for (const one of series) {
    const settings = settingsOf(panel, one.name);
    const value = one.values.findLast((it) => it !== null);
    const is = shown(value, settings, to);
    const box = element("div", "stat");
    const isFilled = options.colorMode === "background";
    if (isFilled) box.style.background = is.color;
    const text = options.textMode === "name" ? one.name : is.text;
    const line = element("div", "value", text);
    line.style.color = isFilled ? "#111217" : is.color;
    if (series.length > 1 && options.textMode === "auto") {
      const name = element("div", "name", one.name);
      name.style.color = isFilled ? "#111217" : COLORS.text;
      box.append(name);
    }
    box.append(line);
    if (options.graphMode === "area") {
      box.append(sparkline(one, settings, isFilled ? "#11121755" : is.color));
    }
    stats.append(box);
  }
  body.append(stats);
  // As large as the widest may be.
  const lines = [...stats.querySelectorAll(".value")];
  for (let size = 34; size > 9; size -= 1) {
    for (const line of lines) line.style.fontSize = `${size}px`;
    if (lines.every((it) => it.clientWidth <= it.parentNode.clientWidth - 8)) break;
  }
}

function sparkline(one, settings, stroke) {
  const most = Math.max(settings.max ?? 0, ...one.values, 1e-12);
  const first = one.times[0], span = Math.max(1, one.times.at(-1) - first);
  const points = one.values.map((value, index) =>
    `${((one.times[index] - first) / span * 100).toFixed(1)},${(30 - value / most * 28).toFixed(1)}`);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 30");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.innerHTML = `<polygon points="0,30 ${points.join(" ")} 100,30" opacity="0.2"/>
    <polyline points="${points.join(" ")}" fill="none" vector-effect="non-scaling-stroke"/>`;
  svg.firstChild.setAttribute("fill", stroke);
  svg.lastChild.setAttribute("stroke", stroke);
  return svg;
}

// --- state-timeline

function drawStates(panel, series, body, { from, to }) {
  const states = element("div", "states");
  for (const one of series) {
    const line = element("div", "line");
    line.append(element("div", "name", one.name));
    const times = element("div", "times");
    for (const part of merged(one)) {
      const settings = settingsOf(panel, one.name);
      const is = shown(part.value, settings, to);
      const box = element("div", "", is.text);
      place(box, part.since, part.until, from, to);
      box.style.background = is.color;
      box.style.opacity = settings.custom.fillOpacity / 100;
      times.append(box);
    }
    line.append(times);
    states.append(line);
  }
  states.append(ticks(from, to));
  body.append(states);
  // A text that has no room is left out.
  for (const box of states.querySelectorAll(".line .times div")) {
    if (box.scrollWidth > box.clientWidth) box.textContent = "";
  }
}

// Equal values in a row as one; a gap in time ends it.
function merged(one) {
  const parts = [];
  const step = one.times.length > 1 ? one.times[1] - one.times[0] : 1;
  one.times.forEach((time, index) => {
    const last = parts.at(-1), value = one.values[index];
    if (last && last.value === value && time - last.until < step / 2) last.until = time + step;
    else parts.push({ value, since: time, until: time + step });
  });
  return parts;
}

function place(box, since, until, from, to) {
  const percent = (time) => Math.min(100, Math.max(0, (time - from) / (to - from) * 100));
  box.style.left = `${percent(since)}%`;
  box.style.width = `${percent(until) - percent(since)}%`;
}

function ticks(from, to) {
  const line = element("div", "line ticks");
  line.append(element("div", "name"));
  const times = element("div", "times");
  const step = [10, 15, 30, 60, 120, 300].find((it) => (to - from) / it <= 7) ?? 600;
  for (let time = Math.ceil(from / step) * step; time < to - step / 4; time += step) {
    const tick = element("div", "", clock(time));
    tick.style.left = `${(time - from) / (to - from) * 100}%`;
    times.append(tick);
  }
  line.append(times);
  return line;
}

// --- table

function drawTable(panel, series, body, { to }) {
  const { columns, rows } = transformed(panel, series);
  const table = element("table");
  const head = element("tr");
  for (const { title } of columns) {
    const cell = element("th", "", title);
    const { custom } = settingsOf(panel, title);
    if (custom.width) cell.style.width = `${custom.width}px`;
    head.append(cell);
  }
  table.append(head);
  for (const row of rows) {
    const line = element("tr");
    for (const { name, title } of columns) {
      const settings = settingsOf(panel, title);
      const is = name in row ? shown(row[name], settings, to) : { text: "" };
      const cell = element("td", "", is.text);
      if (settings.custom.cellOptions.type === "color-text") cell.style.color = is.color;
      if (settings.links) cell.style.color = "#6e9fff";
      line.append(cell);
    }
    table.append(line);
  }
  body.append(table);
}

// What Prometheus said as rows, then what the panel's transformations make of it.
function transformed(panel, series) {
  const many = panel.targets.length > 1;
  let rows = series.map((one) => ({
    ...one.labels, [many ? `Value #${one.refId}` : "Value"]: one.values.at(-1),
  }));
  let names = [...new Set(rows.flatMap(Object.keys))];
  let titles = {};
  for (const { id, options } of panel.transformations) {
    if (id === "joinByField") rows = joined(rows, options.byField);
    else if (id === "filterFieldsByName") {
      names = names.filter((name) => options.include.names.includes(name));
    } else if (id === "organize") {
      const at = (name) => options.indexByName[name] ?? names.length;
      names.sort((one, other) => at(one) - at(other));
      titles = options.renameByName;
    } else throw new Error(`the transformation ${id} is not drawn`);
  }
  return { columns: names.map((name) => ({ name, title: titles[name] ?? name })), rows };
}

function joined(rows, field) {
  const all = new Map();
  for (const row of rows) all.set(row[field], { ...all.get(row[field]), ...row });
  return [...all.values()].sort((one, other) => one[field] < other[field] ? -1 : 1);
}

// --- text

function drawText(panel, body) {
  if (panel.options.mode !== "markdown") throw new Error(`text as ${panel.options.mode}`);
  const text = element("div", "text");
  for (const block of blocks(panel.options.content)) text.append(block);
  body.append(text);
}

function* blocks(content) {
  // Code is taken out first, since blank lines do not end it.
  for (const part of content.split(/^(```[^]*?^```)/m)) {
    if (part.startsWith("```")) {
      const code = element("pre");
      code.append(element("code", "", part.replace(/^```.*\n/, "").replace(/\n```$/, "")));
      yield code;
      continue;
    }
    for (const block of part.split(/\n{2,}/).map((it) => it.trim()).filter(Boolean)) {
      const heading = /^#+ (.*)$/.exec(block);
      const items = block.split(/^(?:-|\d+\.) /m).slice(1);
      if (heading) yield inline(element("h2"), heading[1]);
      else if (/^(-|\d+\.) /.test(block)) {
        const list = element(block[0] === "-" ? "ul" : "ol");
        for (const item of items) list.append(inline(element("li"), item));
        yield list;
      } else yield inline(element("p"), block);
    }
  }
}

function inline(made, text) {
  for (const part of text.split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)]+\))/)) {
    const link = /^\[([^\]]+)\]/.exec(part);
    if (part.startsWith("`")) made.append(element("code", "", part.slice(1, -1)));
    else if (part.startsWith("**")) made.append(element("b", "", part.slice(2, -2)));
    else if (link) made.append(element("a", "", link[1].replaceAll("`", "")));
    else made.append(part);
  }
  return made;
}
