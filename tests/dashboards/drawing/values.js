// How Grafana writes a value: its unit, its mappings to words, its colour.
"use strict";

const COLORS = { green: "#73bf69", yellow: "#fade2a", orange: "#ff9830", red: "#f2495c",
  blue: "#5794f2", purple: "#b877d9", text: "#ccccdc" };
// "palette-classic", in its order.
const PALETTE = ["#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9",
  "#705da0", "#37872d", "#fade2a", "#447ebc", "#c15c17", "#890f02", "#0a437c", "#6d1f62",
  "#584477", "#b7dbab", "#f4d598", "#70dbed", "#f9ba8f", "#f29191", "#82b5d8", "#e5a8e2",
  "#aea2e0", "#629e51", "#e5ac0e", "#64b0c8", "#e0752d", "#bf1b00", "#0a50a1", "#962d82"];
const THOUSANDS = ["", " K", " Mil", " Bil", " Tri"];

const color = (name) => COLORS[name] ?? name;

function number(value, decimals) {
  if (decimals === undefined) {
    const size = Math.abs(value);
    decimals = Number.isInteger(value) || size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  }
  return String(Number(value.toFixed(decimals)));
}

function scaled(value, step, units) {
  let place = 0;
  while (Math.abs(value) >= step && place < units.length - 1) { value /= step; place += 1; }
  return number(value) + units[place];
}

function seconds(value) {
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 1e-3) return number(value * 1e6) + " µs";
  if (size < 1) return number(value * 1e3) + " ms";
  if (size < 60) return number(value) + " s";
  if (size < 3600) return number(value / 60, 1) + " mins";
  return number(value / 3600, 1) + " hours";
}

function ago(milliseconds, now) {
  const past = now - milliseconds / 1000;
  if (past < 45) return "a few seconds ago";
  const minutes = Math.round(past / 60);
  return minutes <= 1 ? "a minute ago" : `${minutes} minutes ago`;
}

const UNITS = {
  none: (value) => number(value),
  short: (value) => scaled(value, 1000, THOUSANDS),
  percentunit: (value) => number(value * 100) + "%",
  s: seconds,
  bytes: (value) => scaled(value, 1024, [" B", " KiB", " MiB", " GiB", " TiB"]),
  Bps: (value) => scaled(value, 1000, [" B/s", " kB/s", " MB/s", " GB/s"]),
  binBps: (value) => scaled(value, 1024, [" B/s", " KiB/s", " MiB/s", " GiB/s"]),
  reqps: (value) => scaled(value, 1000, THOUSANDS) + " req/s",
  ops: (value) => scaled(value, 1000, THOUSANDS) + " ops/s",
  cps: (value) => scaled(value, 1000, THOUSANDS) + " c/s",
  dateTimeFromNow: ago,
};

// A value as it is shown, with its colour; words go before numbers.
function shown(value, settings, now) {
  if (value === null || value === undefined) return { text: settings.noValue ?? "-", color: COLORS.text };
  for (const mapping of settings.mappings ?? []) {
    if (mapping.type !== "value") throw new Error(`mappings by ${mapping.type} are not drawn`);
    const found = mapping.options[String(value)];
    if (found) return { text: found.text ?? String(value), color: color(found.color ?? ofSteps(value, settings)), mapped: true };
  }
  if (typeof value === "string") return { text: value, color: COLORS.text };
  return { text: withUnit(value, settings.unit, now), color: color(ofSteps(value, settings)) };
}

// With as many decimals as tell it from the other ticks of an axis.
function withUnit(value, unit, now, ticks) {
  const write = UNITS[unit];
  if (!write) throw new Error(`the unit ${unit} is not drawn`);
  const step = ticks?.length > 1 ? ticks[1] - ticks[0] : 1;
  if (unit === "none" || unit === "short") {
    if (step < 1) return number(value, Math.ceil(-Math.log10(step)) + 1);
  }
  return write(value, now);
}

function ofSteps(value, settings) {
  let name = "text";
  for (const step of settings.thresholds?.steps ?? []) {
    if (step.value === null || value >= step.value) name = step.color;
  }
  return name;
}

function clock(time) {
  return new Date(time * 1000).toISOString().slice(11, 19);
}

// The settings of a field: the panel's, and what is said of that one.
function settingsOf(panel, name) {
  const made = structuredClone(panel.fieldConfig.defaults);
  for (const { matcher, properties } of panel.fieldConfig.overrides) {
    if (matcher.id !== "byName") throw new Error(`overrides by ${matcher.id} are not drawn`);
    if (matcher.options !== name) continue;
    for (const { id, value } of properties) {
      if (id.startsWith("custom.")) made.custom[id.slice(7)] = value;
      else made[id] = value;
    }
  }
  return made;
}
