// Takes pictures with headless Chromium: of dashboards, from their JSON and what Prometheus answered,
// or of a page that is served. Errors on the page's console are errors here.
//
// usage: node draw.mjs FOLDER-WITH-node_modules dashboard DATA.json OUT.png
//        node draw.mjs FOLDER-WITH-node_modules page URL OUT.png
//
// Says as JSON what each panel has become.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const [tools, kind, source, out] = process.argv.slice(2);
const { chromium } = createRequire(join(tools, "package.json"))("playwright-core");
const here = dirname(fileURLToPath(import.meta.url));
const UPLOT = join(here, "../../proxy/src/status/page/uplot");
const SCRIPTS = [join(UPLOT, "uPlot.iife.min.js"),
  ...["values", "charts", "panels", "dashboard"].map((name) => join(here, `drawing/${name}.js`))];
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
// The status page has each second something new to show.
const PAGE_MS = 2500;

async function main() {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  try {
    const page = await browser.newPage({ viewport: { width: 1360, height: 900 },
      colorScheme: "light" });
    const complaints = [];
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(String(error)));
    const drawn = kind === "page" ? await open(page) : await draw(page);
    await page.screenshot({ path: out, fullPage: true });
    if (complaints.length) throw new Error(complaints.join("\n"));
    console.log(JSON.stringify(drawn));
  } finally {
    await browser.close();
  }
}

async function open(page) {
  await page.goto(source, { waitUntil: "domcontentloaded" });
  await page.waitForTimeout(PAGE_MS);
  return [];
}

async function draw(page) {
  await page.setContent("<!doctype html><meta charset=utf-8><body></body>");
  for (const path of [join(UPLOT, "uPlot.min.css"), join(here, "drawing/style.css")]) {
    await page.addStyleTag({ path });
  }
  for (const path of SCRIPTS) await page.addScriptTag({ path });
  return page.evaluate("drawDashboard(" + readFileSync(source, "utf8") + ")");
}

await main();
