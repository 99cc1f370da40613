// Has TypeScript compare each dashboard, property by property, with the types of @grafana/schema.
// A property that a type does not have is an error, and so is a word that an enum does not have.
//
// usage: node types.mjs FOLDER-WITH-node_modules DASHBOARD.json...

import { createRequire } from "node:module";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";

const [tools, ...files] = process.argv.slice(2);
const ts = createRequire(join(tools, "package.json"))("typescript");

// JSON has no enums, so a string enum is taken for the words that it has. What Prometheus' queries
// and annotations have besides is not in the schema but in the data source's own settings.
const RAW = "@grafana/schema/dist/esm/raw/composable";
const TYPES = `
import type {
  AnnotationQuery, Dashboard, DataQuery, Panel, RowPanel, TableFieldOptions,
} from "@grafana/schema";
import type { Options as Stat }
  from "${RAW}/stat/panelcfg/x/StatPanelCfg_types.gen";
import type { Options as Lines, FieldConfig as LinesField }
  from "${RAW}/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";
import type { Options as States, FieldConfig as StatesField }
  from "${RAW}/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type { Options as Table }
  from "${RAW}/table/panelcfg/x/TablePanelCfg_types.gen";
import type { Options as Text }
  from "${RAW}/text/panelcfg/x/TextPanelCfg_types.gen";

type Json<T> =
  T extends string ? \`\${T}\`
  : T extends number | boolean | null | undefined ? T
  : T extends Array<infer Item> ? Array<Json<Item>>
  : T extends object ? { [Key in keyof T]: Json<T[Key]> }
  : T;

interface Query extends DataQuery {
  expr: string; legendFormat: string; range: boolean; instant: boolean; format?: "table";
}
interface Event extends AnnotationQuery {
  expr: string; step: string; titleFormat: string; textFormat: string;
}
type Of<Kind extends string, Options, Custom> =
  Omit<Json<Panel>, "type" | "options" | "targets" | "fieldConfig"> & {
    type: Kind; options: Json<Options>; targets: Json<Query>[];
    fieldConfig: Omit<NonNullable<Json<Panel>["fieldConfig"]>, "defaults"> & {
      defaults: Omit<NonNullable<Json<Panel>["fieldConfig"]>["defaults"], "custom"> & {
        custom?: Json<Custom>;
      };
    };
  };
type Any =
  | Of<"stat", Stat, Record<string, never>>
  | Of<"timeseries", Lines, LinesField>
  | Of<"state-timeline", States, StatesField>
  | Of<"table", Table, TableFieldOptions>
  | (Omit<Json<Panel>, "type" | "options"> & { type: "text"; options: Json<Text> })
  | (Json<RowPanel> & { type: "row" });
export type Whole = Omit<Json<Dashboard>, "panels" | "annotations"> & {
  panels: Any[]; annotations: { list: Json<Event>[] };
};
`;

const program = (sources) => {
  const options = {
    strict: true, noEmit: true, skipLibCheck: true, types: [],
    module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler,
    target: ts.ScriptTarget.ES2022,
  };
  const paths = sources.map(([name, text]) => {
    const path = join(tools, name);
    writeFileSync(path, text);
    return path;
  });
  const made = ts.createProgram(paths, options);
  const found = ts.getPreEmitDiagnostics(made).map((it) => {
    const text = ts.flattenDiagnosticMessageText(it.messageText, "\n");
    if (!it.file) return text;
    const { line } = it.file.getLineAndCharacterOfPosition(it.start);
    return `${basename(it.file.fileName)}:${line + 1}: ${text}`;
  });
  for (const path of paths) rmSync(path);
  return found;
};

const typed = (json) =>
  `import type { Whole } from "./types";\nexport const dashboard: Whole = ${json};\n`;

// The types must also find what is wrong, or they would say nothing about what is right.
const WRONG = [
  ["showLegend", "showLegends"],
  ['"mode": "multi"', '"mode": "many"'],
  ['"graphTooltip": 1', '"graphTooltip": "1"'],
  ['"type": "timeseries"', '"type": "graph"'],
];
const first = readFileSync(files[0], "utf8");
const broken = WRONG.map(([from, to], index) => {
  if (!first.includes(from)) throw new Error(`${files[0]} has no ${from}`);
  return [`broken-${index}.ts`, typed(first.replace(from, to))];
});
const sources = files.map((file) => [
  basename(file).replace(".json", ".ts"), typed(readFileSync(file, "utf8")),
]);
const found = program([["types.ts", TYPES], ...sources, ...broken]);
const unexpected = found.filter((text) => !text.startsWith("broken-"));
const unseen = WRONG.filter(
  (_, index) => !found.some((text) => text.startsWith(`broken-${index}`)),
);
for (const text of unexpected) console.log(text);
for (const [, to] of unseen) console.log(`not seen to be wrong: ${to}`);
if (unexpected.length || unseen.length) process.exit(1);
console.log(`${files.length} dashboards, ${WRONG.length} mistakes found`);
