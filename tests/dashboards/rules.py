"""The rules of Grafana's dashboard-linter, after its documentation, and a few of our own.

Each rule takes a dashboard as JSON and yields what is wrong with it.
"""

import re
from collections.abc import Callable, Iterator

from promql import selectors

PANELS = {"stat", "timeseries", "table", "state-timeline", "text", "row"}
WITH_QUERIES = PANELS - {"text", "row"}
# Of Grafana's list of units, those that fit what a proxy counts.
UNITS = {
    "none", "short", "percent", "percentunit", "bytes", "decbytes", "Bps", "binBps", "bps", "s",
    "ms", "µs", "ns", "cps", "ops", "reqps", "rps", "wps", "iops", "mps", "hertz", "bool",
    "dateTimeFromNow", "dateTimeAsIso", "dtdurations",
}
SOURCES = ("$datasource", "${datasource}")

Found = Iterator[str]
RULES: dict[str, Callable[[dict], Found]] = {}


def rule(name: str):
    def keep(check: Callable[[dict], Found]):
        RULES[name] = check
        return check
    return keep


def broken(dashboard: dict) -> list[str]:
    found = ((name, text) for name, check in RULES.items() for text in check(dashboard))
    return [f"{dashboard['title']}: {name}: {text}" for name, text in found]


def panels(dashboard: dict) -> list[dict]:
    return [panel for panel in dashboard["panels"] if panel["type"] in WITH_QUERIES]


def variables(dashboard: dict) -> list[dict]:
    return dashboard["templating"]["list"]


def expressions(dashboard: dict) -> list[tuple[str, str]]:
    """Each with the title of its panel."""
    return [(panel["title"], target["expr"])
            for panel in panels(dashboard) for target in panel["targets"]]


@rule("template-datasource-rule")
def _(dashboard: dict) -> Found:
    found = [it for it in variables(dashboard) if it["type"] == "datasource"]
    if len(found) != 1:
        yield f"{len(found)} variables for the data source, there must be one"
    for it in found:
        if (it["name"], it["label"], it["query"]) != ("datasource", "Data Source", "prometheus"):
            yield f"name, label or query of the data source's variable: {it}"


def _template(dashboard: dict, name: str) -> Found:
    found = [it for it in variables(dashboard) if it["name"] == name]
    if not found:
        yield f"no variable {name}"
    for it in found:
        if it["type"] != "query" or it["datasource"]["uid"] not in SOURCES:
            yield f"{name} is no query of the data source chosen"
        if it["label"] != name.capitalize():
            yield f"{name} has the label {it['label']}"
        if not it["multi"] or it["allValue"] != ".+":
            yield f"{name} must let several be chosen, and .+ be all"


@rule("template-job-rule")
def _(dashboard: dict) -> Found:
    yield from _template(dashboard, "job")


@rule("template-instance-rule")
def _(dashboard: dict) -> Found:
    yield from _template(dashboard, "instance")


@rule("template-label-promql-rule")
def _(dashboard: dict) -> Found:
    for it in variables(dashboard):
        if it["type"] == "query" and not re.fullmatch(r"label_values\((.+), (\w+)\)", it["query"]):
            yield f"{it['name']} asks {it['query']}"


@rule("template-on-time-change-reload-rule")
def _(dashboard: dict) -> Found:
    for it in variables(dashboard):
        if it["type"] == "query" and it["refresh"] != 2:
            yield f"{it['name']} is not asked again when the time range changes"


@rule("panel-datasource-rule")
def _(dashboard: dict) -> Found:
    for panel in panels(dashboard):
        sources = [panel.get("datasource", {}), *(it["datasource"] for it in panel["targets"])]
        if any(source.get("uid") not in SOURCES for source in sources):
            yield f"'{panel['title']}' has a data source of its own"


@rule("panel-title-description-rule")
def _(dashboard: dict) -> Found:
    for panel in panels(dashboard):
        if not panel.get("title") or not panel.get("description"):
            yield f"panel {panel['id']} '{panel.get('title')}' lacks its title or description"


@rule("panel-units-rule")
def _(dashboard: dict) -> Found:
    for panel in panels(dashboard):
        settings = panel["fieldConfig"]
        units = [settings["defaults"].get("unit")]
        units += [it["value"] for override in settings["overrides"]
                  for it in override["properties"] if it["id"] == "unit"]
        if wrong := [unit for unit in units if unit not in UNITS]:
            yield f"'{panel['title']}' has the units {wrong}"


@rule("panel-no-targets-rule")
def _(dashboard: dict) -> Found:
    for panel in panels(dashboard):
        if not panel.get("targets") or not all(it["expr"].strip() for it in panel["targets"]):
            yield f"'{panel['title']}' asks nothing"


@rule("target-rate-interval-rule")
def _(dashboard: dict) -> Found:
    for title, expression in expressions(dashboard):
        for it in selectors(expression):
            if it.function in ("rate", "irate", "increase") and it.range != "$__rate_interval":
                yield f"'{title}': {it.function} over {it.range}"


@rule("target-job-rule")
def _(dashboard: dict) -> Found:
    yield from _matched_by(dashboard, "job")


@rule("target-instance-rule")
def _(dashboard: dict) -> Found:
    yield from _matched_by(dashboard, "instance")


def _matched_by(dashboard: dict, label: str) -> Found:
    for title, expression in expressions(dashboard):
        found = selectors(expression)
        if not found:
            yield f"'{title}' selects nothing: {expression}"
        for it in found:
            if it.matchers.get(label) != ("=~", f"${label}"):
                yield f"'{title}': {it.name} is not chosen by ${label}"


@rule("target-counter-agg-rule")
def _(dashboard: dict) -> Found:
    for title, expression in expressions(dashboard):
        for it in selectors(expression):
            counts = it.name.endswith(("_total", "_bucket", "_sum", "_count"))
            if counts != (it.function in ("rate", "irate", "increase")):
                yield f"'{title}': {it.name} in {it.function or 'no function'}"


@rule("uneditable-dashboard")
def _(dashboard: dict) -> Found:
    if dashboard.get("editable") is not False:
        yield "can be edited in the browser"


@rule("panel-kind")
def _(dashboard: dict) -> Found:
    for panel in dashboard["panels"]:
        if panel["type"] not in PANELS:
            yield f"'{panel['title']}' is a {panel['type']}, which is old or has to be installed"


@rule("panel-titles")
def _(dashboard: dict) -> Found:
    titles = [panel["title"] for panel in panels(dashboard)]
    for title in {it for it in titles if titles.count(it) > 1}:
        yield f"'{title}' is the title of several panels"


@rule("panel-place")
def _(dashboard: dict) -> Found:
    taken: dict[tuple[int, int], str] = {}
    ids = [panel["id"] for panel in dashboard["panels"]]
    if len(set(ids)) != len(ids):
        yield "two panels have the same id"
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if x >= 24 or (x, y) in taken:
                    yield f"'{panel['title']}' covers '{taken.get((x, y), 'the edge')}'"
                    return
                taken[x, y] = panel["title"]


@rule("legend-labels")
def _(dashboard: dict) -> Found:
    """A legend may name only what the expression keeps."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                kept = ",".join(re.findall(r"by \(([^)]*)\)", target["expr"]))
                if label not in re.split(r"[, ]+", kept):
                    yield f"'{panel['title']}' has {label} in its legend, and not in its result"


@rule("links")
def _(dashboard: dict) -> Found:
    if not any(link["type"] == "dashboards" and link["keepTime"] and link["includeVars"]
               for link in dashboard["links"]):
        yield "no links to the other dashboards that keep the time and the variables"
