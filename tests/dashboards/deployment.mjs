// Reads the compose file and Grafana's provisioning files, and compares what they name with what is
// there: files, folders, ports, services.
//
// usage: node deployment.mjs FOLDER-WITH-node_modules REPOSITORY

import { createRequire } from "node:module";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";

const [tools, root] = process.argv.slice(2);
const { parseDocument } = createRequire(join(tools, "package.json"))("yaml");
const wrong = [];
const expect = (holds, text) => { if (!holds) wrong.push(text); };

const read = (path) => {
  const document = parseDocument(readFileSync(join(root, path), "utf8"), { strict: true });
  const problems = [...document.errors, ...document.warnings];
  wrong.push(...problems.map((problem) => `${path}: ${problem}`));
  return document.toJS();
};

// What the compose specification knows, as far as this file should use it.
const SERVICE = new Set([
  "image", "network_mode", "command", "volumes", "restart", "environment", "depends_on",
]);
const RESTARTS = ["no", "always", "on-failure", "unless-stopped"];

const compose = read("config/compose.yml");
for (const key of Object.keys(compose)) {
  expect(["name", "services", "volumes"].includes(key), `compose: ${key}`);
}
const mounted = new Map();
for (const [name, service] of Object.entries(compose.services)) {
  for (const key of Object.keys(service)) expect(SERVICE.has(key), `compose: ${name}: ${key}`);
  expect(/^[\w./-]+:v?\d+\.\d+\.\d+$/.test(service.image), `compose: ${name} has no exact version`);
  expect(service.network_mode === "host", `compose: ${name} is not in the host's network`);
  expect(RESTARTS.includes(service.restart), `compose: ${name}: restart ${service.restart}`);
  for (const other of service.depends_on ?? []) {
    expect(other in compose.services, `compose: ${name} waits for ${other}`);
  }
  for (const value of Object.values(service.environment ?? {})) {
    expect(typeof value === "string", `compose: ${name}: ${value} is no text`);
  }
  for (const volume of service.volumes) {
    const [from, to, mode] = volume.split(":");
    if (from.startsWith(".")) {
      const path = resolve(root, "config", from);
      expect(existsSync(path), `compose: ${name}: no ${from}`);
      expect(mode === "ro", `compose: ${name} may write to ${from}`);
      mounted.set(to, path);
    } else {
      expect(from in compose.volumes, `compose: ${name}: no volume ${from}`);
    }
  }
}

// Where a container sees one of our files.
const outside = (path) => {
  for (const [to, from] of mounted) {
    if (path === to || path.startsWith(`${to}/`)) return from + path.slice(to.length);
  }
  return "";
};
const { prometheus, grafana } = compose.services;
const flag = (name) => prometheus.command.find((it) => it.startsWith(`--${name}=`))?.split("=")[1];
expect(existsSync(outside(flag("config.file"))), `no ${flag("config.file")}`);
const home = grafana.environment.GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH;
expect(existsSync(outside(home)), `no ${home}`);
for (const [name, address] of [["prometheus", flag("web.listen-address")],
                               ["grafana", grafana.environment.GF_SERVER_HTTP_ADDR]]) {
  expect(address.split(":")[0] === "127.0.0.1", `${name} listens on ${address}`);
}

const sources = read("config/grafana/provisioning/datasources/slotway.yml");
const settings = read("config/prometheus/prometheus.yml");
expect(sources.apiVersion === 1, "datasources: apiVersion");
for (const source of sources.datasources) {
  expect(source.type === "prometheus" && source.isDefault, `datasource ${source.name}`);
  expect(source.url === `http://${flag("web.listen-address")}`, `datasource at ${source.url}`);
  expect(source.jsonData.timeInterval === settings.global.scrape_interval,
         "Grafana counts on another scrape interval");
}
const providers = read("config/grafana/provisioning/dashboards/slotway.yml");
expect(providers.apiVersion === 1, "dashboards: apiVersion");
for (const { type, options } of providers.providers) {
  const folder = outside(options.path);
  expect(type === "file" && existsSync(join(folder, "slotway-overview.json")),
         `no dashboards in ${options.path}`);
}
for (const file of settings.rule_files) {
  expect(existsSync(join(root, "config/prometheus", file)), `no ${file}`);
}

for (const text of wrong) console.log(text);
process.exit(wrong.length ? 1 : 0);
