// Panels of the type timeseries, drawn by uPlot.
"use strict";

const AXIS = { stroke: "#ccccdc", grid: { stroke: "#2a2d33", width: 1 },
  ticks: { show: false }, font: "11px DejaVu Sans" };

function drawLines(panel, series, body, { from, to, annotations }) {
  const settings = panel.fieldConfig.defaults;
  const stacked = settings.custom.stacking.mode === "normal";
  const times = times_(series);
  const rows = series.map((one) => aligned(one, times));
  const drawn = stacked ? sums(rows) : rows;
  const size = { width: body.clientWidth, height: body.clientHeight };
  const top = ceiling(drawn, settings);
  const options = {
    ...size, legend: { show: false }, cursor: { show: false }, padding: [6, 10, 0, 0],
    scales: { x: { time: true, range: [from, to] }, y: { range: [settings.min ?? 0, top] } },
    axes: [
      { ...AXIS, size: 22, gap: 4, space: 70, values: (_, ticks) => ticks.map((it) => clock(it)) },
      { ...AXIS, gap: 4, space: 26, size: (_, values) => width(values),
        values: (_, ticks) => ticks.map((it) => withUnit(it, settings.unit, to, ticks)) },
    ],
    series: [{}, ...series.map((one, index) => line(one, index, settings))],
    bands: stacked ? bands(series.length) : undefined,
    hooks: { draw: [(plot) => marks(plot, annotations, settings)] },
  };
  new uPlot(options, [times, ...drawn], body);
}

function line(one, index, { custom }) {
  const stroke = PALETTE[index % PALETTE.length];
  const alpha = Math.round(custom.fillOpacity * 2.55).toString(16).padStart(2, "0");
  return { stroke, width: custom.lineWidth, fill: stroke + alpha, points: { show: false },
    spanGaps: Boolean(custom.spanNulls) };
}

function times_(series) {
  const all = new Set(series.flatMap((one) => one.times));
  return [...all].sort((one, other) => one - other);
}

function aligned(one, times) {
  const values = new Map(one.times.map((time, index) => [time, one.values[index]]));
  return times.map((time) => values.get(time) ?? null);
}

function sums(rows) {
  let below = null;
  return rows.map((row) => {
    below = row.map((value, index) => (value ?? 0) + (below ? below[index] : 0));
    return below;
  });
}

function bands(count) {
  const made = [];
  for (let upper = count; upper > 1; upper -= 1) made.push({ series: [upper, upper - 1] });
  return made;
}

// Somewhat above what there is, or the highest that there can be.
function ceiling(rows, settings) {
  const most = Math.max(0, ...rows.flat().map((value) => value ?? 0));
  const limits = settings.custom.thresholdsStyle.mode === "off" ? []
    : settings.thresholds.steps.map((step) => step.value ?? 0).filter((value) => value <= 4 * most);
  const wanted = Math.max(most * 1.05, ...limits);
  if (settings.max !== undefined) return Math.min(settings.max, wanted) || settings.max;
  return wanted || 1;
}

function width(values) {
  const longest = Math.max(0, ...(values ?? []).map((text) => text.length));
  return 14 + longest * 7;
}

// Thresholds across, what has happened from top to bottom.
function marks(plot, annotations, settings) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.lineWidth = 1;
  ctx.setLineDash([4, 3]);
  for (const { time, color: name } of annotations) {
    const x = plot.valToPos(time, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = color(name);
    stroke(ctx, x, bbox.top, x, bbox.top + bbox.height);
  }
  for (const { value, color: name } of settings.thresholds.steps) {
    if (settings.custom.thresholdsStyle.mode === "off" || value === null) continue;
    const y = plot.valToPos(value, "y", true);
    if (y < bbox.top) continue;
    ctx.strokeStyle = color(name);
    stroke(ctx, bbox.left, y, bbox.left + bbox.width, y);
  }
  ctx.restore();
}

function stroke(ctx, x1, y1, x2, y2) {
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.lineTo(x2, y2);
  ctx.stroke();
}

// As a list, or as a table with the most that each line has reached.
function legend(series, { legend: { displayMode, calcs, sortBy, sortDesc } }, { unit }) {
  const isTable = displayMode === "table";
  const made = element("div", isTable ? "legend table" : "legend");
  const items = series.map((one, index) => {
    const item = element("span", "", one.name);
    const mark = element("i");
    mark.style.background = PALETTE[index % PALETTE.length];
    mark.style.alignSelf = "center";
    item.prepend(mark);
    const most = Math.max(...one.values);
    if (isTable && calcs.includes("max")) item.append(element("em", "", withUnit(most, unit)));
    return { item, most };
  });
  if (sortBy === "Max") items.sort((one, other) => (other.most - one.most) * (sortDesc ? 1 : -1));
  made.append(...items.map(({ item }) => item));
  return made;
}
