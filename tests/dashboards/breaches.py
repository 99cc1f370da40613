"""For each rule a dashboard that breaks it, so that no rule is there in vain."""

import copy
from collections.abc import Callable

from rules import RULES, panels


def unnoticed(dashboard: dict) -> list[str]:
    """The rules that do not see their breach in an otherwise good dashboard, or have none."""
    missed = []
    for name, check in RULES.items():
        broken = copy.deepcopy(dashboard)
        if name not in BREACHES:
            missed.append(f"{name} has no breach")
            continue
        BREACHES[name](broken)
        if not list(check(broken)):
            missed.append(name)
    return missed


def _set(place: Callable[[dict], dict], **values) -> Callable[[dict], None]:
    return lambda dashboard: place(dashboard).update(values)


def _variable(name: str) -> Callable[[dict], dict]:
    def find(dashboard: dict) -> dict:
        return next(it for it in dashboard["templating"]["list"] if it["name"] == name)
    return find


def _panel(dashboard: dict) -> dict:
    return next(it for it in panels(dashboard) if it["type"] == "timeseries")


def _target(dashboard: dict) -> dict:
    return _panel(dashboard)["targets"][0]


def _expression(text: str) -> Callable[[dict], None]:
    return _set(_target, expr=text, legendFormat="")


CHOSEN = 'job=~"$job",instance=~"$instance"'
BREACHES = {
    "template-datasource-rule": _set(_variable("datasource"), label="Source"),
    "template-job-rule": _set(_variable("job"), multi=False),
    "template-instance-rule": _set(_variable("instance"), allValue=".*"),
    "template-label-promql-rule": _set(_variable("job"), query="up"),
    "template-on-time-change-reload-rule": _set(_variable("instance"), refresh=1),
    "panel-datasource-rule": _set(_target, datasource={"type": "prometheus", "uid": "mine"}),
    "panel-title-description-rule": _set(_panel, description=""),
    "panel-units-rule": lambda dashboard: (
        _panel(dashboard)["fieldConfig"]["defaults"].update(unit="seconds")),
    "panel-no-targets-rule": _set(_panel, targets=[]),
    "target-rate-interval-rule": _expression(f"rate(a_total{{{CHOSEN}}}[5m])"),
    "target-job-rule": _expression('a{instance=~"$instance"} / a{' + CHOSEN + "}"),
    "target-instance-rule": _expression('sum(a{job=~"$job",instance="$instance"})'),
    "target-counter-agg-rule": _expression(f"sum by (x) (a_total{{{CHOSEN}}})"),
    "uneditable-dashboard": lambda dashboard: dashboard.update(editable=True),
    "panel-kind": _set(_panel, type="graph"),
    "panel-titles": lambda dashboard: [panel.update(title="x") for panel in panels(dashboard)],
    "panel-place": lambda dashboard: _panel(dashboard)["gridPos"].update(x=20, w=8),
    "legend-labels": _set(_target, legendFormat="{{kind}}", expr=f"sum by (le) (a{{{CHOSEN}}})"),
    "links": lambda dashboard: dashboard.update(links=[]),
}
