"""What the dashboards are made of: panels, and the JSON that Grafana reads.

A dashboard is a list of rows, a row a list of panels, which are placed from left to right.
"""

from dataclasses import dataclass, field

from queries import CHOSEN

DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
GREEN, YELLOW, ORANGE, RED, BLUE = "green", "yellow", "orange", "red", "blue"
SCHEMA_VERSION = 39
RUNBOOKS = "slotway-runbooks"


@dataclass
class Query:
    """An expression and what its lines are called; `{{label}}` stands for a label's value."""

    expression: str
    legend: str = "__auto"


@dataclass
class Panel:
    title: str
    description: str
    queries: list[Query]
    unit: str = "short"
    width: int = 8
    height: int = 8
    # From which value on it has which colour.
    steps: list[tuple[float, str]] = field(default_factory=list)
    # What to say instead of a value: value -> (text, colour).
    words: dict[int, tuple[str, str]] = field(default_factory=dict)
    # The alert whose runbook says more.
    runbook: str = ""
    # What the values can't exceed, where there is such a thing.
    ceiling: float | None = None

    kind = ""

    def json(self, number: int, place: dict, runbooks: dict[str, int]) -> dict:
        links = []
        if self.runbook:
            # A KeyError here is an alert that does not exist.
            links.append(link(
                "link", f"Runbook: {self.runbook}", targetBlank=True,
                url=f"/d/{RUNBOOKS}?viewPanel={runbooks[self.runbook]}",
            ))
        return {
            "id": number, "type": self.kind, "title": self.title,
            "description": self.description, "datasource": DATA_SOURCE, "gridPos": place,
            "links": links,
            "fieldConfig": {"defaults": self.defaults(), "overrides": self.overrides()},
            "options": self.options(), "targets": self.targets(),
        } | self.further()

    def defaults(self) -> dict:
        steps = [{"color": GREEN, "value": None}]
        steps += [{"color": color, "value": value} for value, color in self.steps]
        made = {
            "unit": self.unit, "min": 0, "noValue": "no data",
            "color": {"mode": "thresholds"},
            "thresholds": {"mode": "absolute", "steps": steps},
        }
        if self.words:
            said = {
                str(value): {"index": index, "text": text, "color": color}
                for index, (value, (text, color)) in enumerate(self.words.items())
            }
            made["mappings"] = [{"type": "value", "options": said}]
        if self.ceiling is not None:
            made["max"] = self.ceiling
        return made

    def targets(self) -> list[dict]:
        return [
            {
                "refId": chr(ord("A") + index), "datasource": DATA_SOURCE,
                "expr": query.expression, "legendFormat": query.legend,
            } | self.asking()
            for index, query in enumerate(self.queries)
        ]

    def asking(self) -> dict:
        return {"range": True, "instant": False}

    def options(self) -> dict:
        raise NotImplementedError

    def overrides(self) -> list:
        return []

    def further(self) -> dict:
        return {}


class Lines(Panel):
    """Values over time."""

    kind = "timeseries"

    def defaults(self) -> dict:
        return super().defaults() | {
            "color": {"mode": "palette-classic"},
            "custom": {
                "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": False,
                "thresholdsStyle": {"mode": "line" if self.steps else "off"},
                "stacking": {"mode": "none", "group": "A"},
            },
        }

    def options(self) -> dict:
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True,
                       "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }


class Stack(Lines):
    """Parts of a whole over time."""

    def defaults(self) -> dict:
        made = super().defaults()
        made["custom"] |= {"fillOpacity": 40, "stacking": {"mode": "normal", "group": "A"}}
        return made


class Now(Panel):
    """One number, as it is now, above its recent past."""

    kind = "stat"

    def options(self) -> dict:
        return {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "background" if self.steps or self.words else "value",
            "graphMode": "none" if self.words else "area",
            "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
            "wideLayout": True, "showPercentChange": False, "percentChangeColorMode": "standard",
        }


class Text(Now):
    """What a label says, as the query's legend has it."""

    def options(self) -> dict:
        return super().options() | {"textMode": "name", "graphMode": "none"}


class States(Panel):
    """For each line what state it was in, and since when."""

    kind = "state-timeline"

    def defaults(self) -> dict:
        return super().defaults() | {"custom": {"lineWidth": 0, "fillOpacity": 80}}

    def options(self) -> dict:
        return {
            "mergeValues": True, "showValue": "auto", "alignValue": "left", "rowHeight": 0.9,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False,
                       "calcs": []},
            "tooltip": {"mode": "single", "sort": "none"},
        }


@dataclass
class Column:
    """Of a table: the name that the data has, the title that it gets, and how it is shown."""

    name: str
    title: str
    settings: dict = field(default_factory=dict)


@dataclass
class Table(Panel):
    """The labels and values of one moment; the columns named are shown, in their order."""

    columns: list[Column] = field(default_factory=list)
    # What all queries have in common, by which their rows are put together.
    joined_by: str = ""

    kind = "table"

    def asking(self) -> dict:
        return {"range": False, "instant": True, "format": "table"}

    def defaults(self) -> dict:
        return super().defaults() | {
            # Grafana's own is 150 pixels: some columns would be to the right of what is seen.
            "custom": {"align": "left", "cellOptions": {"type": "auto"}, "inspect": False,
                       "minWidth": 50},
        }

    def overrides(self) -> list:
        return [
            {
                "matcher": {"id": "byName", "options": column.title},
                "properties": [{"id": id, "value": value} for id, value in column.settings.items()],
            }
            for column in self.columns if column.settings
        ]

    def options(self) -> dict:
        return {"showHeader": True, "cellHeight": "sm", "frameIndex": 0, "sortBy": []}

    def further(self) -> dict:
        steps = []
        if self.joined_by:
            steps.append({"id": "joinByField", "options": {"byField": self.joined_by,
                                                           "mode": "outer"}})
        steps.append({"id": "filterFieldsByName", "options": {
            "include": {"names": [column.name for column in self.columns]}}})
        steps.append({"id": "organize", "options": {
            "excludeByName": {},
            "indexByName": {column.name: index for index, column in enumerate(self.columns)},
            "renameByName": {column.name: column.title for column in self.columns},
        }})
        return {"transformations": steps}


@dataclass
class Note(Panel):
    """Markdown."""

    text: str = ""

    kind = "text"

    def json(self, number: int, place: dict, runbooks: dict[str, int]) -> dict:
        return {
            "id": number, "type": self.kind, "title": self.title,
            "description": self.description, "gridPos": place,
            "options": {"mode": "markdown", "content": self.text},
        }


@dataclass
class Dashboard:
    uid: str
    title: str
    description: str
    rows: list[tuple[str, list[Panel]]]
    # The metric by which proxies are found, or nodes.
    found_by: str = "slotway_build_info"
    # The job that is chosen at first, so that others with the same metrics stay away; "" for all.
    job: str = "slotway"
    # What links to the other dashboards with the same variables go by, and those with others.
    tag: str = "slotway"
    other: str = "slotway-nodes"
    # What is marked in the graphs beside alerts.
    marks: list[dict] = field(default_factory=list)

    def json(self, runbooks: dict[str, int]) -> dict:
        return {
            "uid": self.uid, "title": self.title, "description": self.description,
            "tags": [self.tag], "schemaVersion": SCHEMA_VERSION, "version": 1,
            "editable": False, "graphTooltip": 1, "refresh": "10s", "timezone": "browser",
            "time": {"from": "now-30m", "to": "now"},
            "annotations": {"list": (self.marks or proxy_marks()) + [alerts()]},
            "links": [
                link("dashboards", "Slotway", tags=[self.tag], includeVars=True, keepTime=True),
                link("dashboards", "More", tags=[self.other], keepTime=True),
            ],
            "templating": {"list": variables(self.found_by, self.job)},
            "panels": self.placed(runbooks),
        }

    def placed(self, runbooks: dict[str, int]) -> list[dict]:
        made, top, number = [], 0, 1
        for title, panels in self.rows:
            if title:
                made.append({
                    "id": number, "type": "row", "title": title, "collapsed": False, "panels": [],
                    "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": top},
                })
                top, number = top + 1, number + 1
            left, bottom = 0, top
            for panel in panels:
                if left + panel.width > COLUMNS:
                    left, top = 0, bottom
                place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
                made.append(panel.json(number, place, runbooks))
                left, number = left + panel.width, number + 1
                bottom = max(bottom, top + panel.height)
            top = bottom
        return made


def variables(found_by: str, chosen_job: str) -> list[dict]:
    source = {
        "name": "datasource", "label": "Data Source", "type": "datasource", "query": "prometheus",
        "current": {"text": "default", "value": "default"}, "refresh": 1, "hide": 0,
    }
    job = _variable("job", f"label_values({found_by}, job)")
    if chosen_job:
        job["current"] = {"text": [chosen_job], "value": [chosen_job]}
        # By up, so that a proxy which is down can be chosen.
        found_by = "up"
    instance = _variable("instance", f'label_values({found_by}{{job=~"$job"}}, instance)')
    return [source, job, instance]


def _variable(name: str, query: str) -> dict:
    return {
        "name": name, "label": name.capitalize(), "type": "query", "datasource": DATA_SOURCE,
        "query": query, "refresh": 2, "multi": True, "includeAll": True, "allValue": ".+",
        "current": {"text": "All", "value": "$__all"}, "sort": 1, "hide": 0,
    }


def proxy_marks() -> list[dict]:
    return [
        annotation("Topology changes", BLUE, "Topology", "{{instance}}",
                   f"changes(slotway_topology_changes_total{{{CHOSEN}}}[$__rate_interval]) > 0"),
        annotation("Starts", YELLOW, "Proxy started", "{{instance}}",
                   f"changes(process_start_time_seconds{{{CHOSEN}}}[$__rate_interval]) > 0"),
    ]


def alerts() -> dict:
    return annotation("Alerts", RED, "{{alertname}}", "{{instance}} {{node}}",
                      f'ALERTS{{{CHOSEN},alertname=~"Slotway.+",alertstate="firing"}}')


def annotation(name: str, color: str, title: str, text: str, expression: str) -> dict:
    return {
        "name": name, "datasource": DATA_SOURCE, "enable": True, "hide": False,
        "iconColor": color, "expr": expression, "step": "10s",
        "titleFormat": title, "textFormat": text,
    }


def link(kind: str, title: str, **settings) -> dict:
    return {
        "type": kind, "title": title, "tags": [], "asDropdown": False, "icon": "external link",
        "includeVars": False, "keepTime": False, "targetBlank": False, "tooltip": "", "url": "",
    } | settings
