// Draws a whole dashboard: its JSON, and what Prometheus answered to each panel's queries.
"use strict";

// A unit of height, and the gap between panels. Grafana has 30 and 8.
const UNIT_PIXELS = 24, GAP_PIXELS = 6;

const KINDS = { timeseries: drawLines, stat: drawStat, "state-timeline": drawStates,
  table: drawTable };

// Returns of each panel what was drawn, so that it can be judged.
function drawDashboard({ dashboard, answers, from, to, annotations, variables }) {
  document.title = dashboard.title;
  const head = element("div");
  head.id = "head";
  head.append(element("b", "", dashboard.title));
  for (const [name, value] of Object.entries(variables)) {
    head.append(element("span", "", `${name}: ${value}`));
  }
  head.append(element("span", "", `${clock(from)} to ${clock(to)}`));
  const grid = element("div");
  grid.id = "grid";
  document.body.append(head, grid);
  const boxes = dashboard.panels.map((panel) => [panel, put(panel, grid)]);
  return boxes.filter(([panel]) => panel.type !== "row").map(([panel, box]) => ({
    id: panel.id, title: panel.title,
    ...draw(panel, answers[panel.id] ?? [], box, { from, to, annotations }),
  }));
}

function put(panel, grid) {
  const { x, y, w, h } = panel.gridPos;
  const box = element("div", panel.type === "row" ? "row" : "panel");
  box.style.gridColumn = `${x + 1} / span ${w}`;
  box.style.gridRow = `${y + 1} / span ${h}`;
  box.style.height = `${h * UNIT_PIXELS + (h - 1) * GAP_PIXELS}px`;
  if (panel.type === "row") box.textContent = panel.title;
  else {
    const title = element("h2", "", panel.title);
    box.append(title, element("div", "body"));
  }
  grid.append(box);
  return box;
}

function draw(panel, series, box, view) {
  const body = box.querySelector(".body");
  if (panel.type === "text") {
    drawText(panel, body);
    const isCut = body.scrollHeight > body.clientHeight;
    return { kind: "text", series: 0, cut: isCut ? ["its text"] : [] };
  }
  const kind = KINDS[panel.type];
  if (!kind) throw new Error(`panels of the type ${panel.type} are not drawn`);
  if (!series.length) {
    body.append(element("div", "nothing", panel.fieldConfig.defaults.noValue));
    return { kind: panel.type, series: 0, cut: cut(box) };
  }
  if (panel.type === "timeseries" && panel.options.legend.showLegend) {
    box.classList.toggle("beside", panel.options.legend.placement === "right");
    box.append(legend(series, panel.options, panel.fieldConfig.defaults));
  }
  kind(panel, series, body, view);
  return { kind: panel.type, series: series.length, cut: cut(box) };
}

// Texts that have not enough room.
function cut(box) {
  const all = [...box.querySelectorAll("h2, th, td, .name")];
  return all.filter((it) => it.scrollWidth > it.clientWidth).map((it) => it.textContent);
}
