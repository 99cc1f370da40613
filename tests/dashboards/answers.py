"""What each panel, variable and annotation gets from Prometheus, and whether that can be true."""

import math
import re

from harness import HOST, Failed, expect
from prometheus import filled
from rules import panels, variables
from scene import Scene

# Of a unit: the smallest and the largest value that make sense in these runs.
SANE = {
    "percentunit": (0, 1.0001), "s": (0, 3600), "bytes": (0, 1e12), "Bps": (0, 1e10),
    "reqps": (0, 1e6), "ops": (0, 1e6), "cps": (0, 1e5), "dateTimeFromNow": (0, 4e12),
    "none": (0, 1e6), "short": (0, 1e6), "binBps": (0, 1e10),
}
# What can't but be zero where there are no clients.
ZERO_AT_REST = {"reqps", "cps", "Bps"}
# Panels that must show something of the failover, the slots that moved and the load: from the title
# to what one of their values must reach.
TOLD = {
    "slotway-overview": {
        "What is wrong, and since when": 1, "Alerts: what, where, since when": 1e12,
        "Requests": 50, "Latency": 1e-6, "Redirects": 0.1, "Requests that wait for their slot": 0.1,
        "How long they waited": 0.001, "Requests sent again": 0.1, "Requests by node": 10,
    },
    "slotway-proxy": {
        "Requests": 50, "Latency seen by clients": 1e-6, "The nodes' part of it": 1e-6,
        "Clients": 20, "Bytes": 1000, "Connections": 2,
        "Redirects": 0.1, "Held": 0.1, "How long they were held": 0.001, "Processor": 0.001,
        "Topology: asked for": 0.1, "Memory": 1e6,
    },
    "slotway-cluster": {
        "Nodes": 2, "Nodes now": 2, "Slots with a node": 16_384, "Slots by node": 5000,
        "Requests by node": 10, "Mean latency by node": 1e-6, "Redirects": 0.1, "Epoch": 1, "Changes": 0.5,
    },
    "slotway-nodes": {
        "Roles": 2, "Nodes at present": 2, "Nodes that answer": 1, "Commands": 10, "Keys": 1,
        "Commands by node": 10, "Calls by command": 5, "Time by command": 1e-6, "Bytes": 1000,
        "Memory of keys by node": 1e5, "Keys by node": 1, "Clients by node": 1,
        "Changes that are not saved": 10,
        "Slots owned": 5000, "Epoch by node": 1, "Nodes known": 6, "Messages of the bus": 0.1,
    },
}


class Answers:
    """What is wrong with them, and how many there were."""

    def __init__(self, scene: Scene, admin_port: int, node: tuple[str, int],
                 at_rest: bool) -> None:
        """About a proxy; a node is its job and the port of its instance."""
        self.scene = scene
        self.prometheus = scene.prometheus
        self.proxy = "slotway", f"{HOST}:{admin_port}"
        self.node = node[0], f"{HOST}:{node[1]}"
        self.job, self.instance = self.proxy
        self.at_rest = at_rest
        self.asked = 0
        self.wrong: list[str] = []

    def look_at(self, dashboard: dict) -> None:
        is_of_nodes = dashboard["uid"] == "slotway-nodes"
        self.job, self.instance = self.node if is_of_nodes else self.proxy
        told = {} if self.at_rest else dict(TOLD.get(dashboard["uid"], {}))
        for panel in panels(dashboard):
            most = max((self.of_target(panel, target) for target in panel["targets"]),
                       default=0.0)
            wanted = told.pop(panel["title"], None)
            if wanted is not None and most < wanted:
                self.wrong.append(f"'{panel['title']}' never reached {wanted}, only {most}")
        self.wrong += [f"{dashboard['uid']} has no panel '{title}'" for title in told]
        self.of_variables(dashboard)
        self.of_annotations(dashboard)

    def of_target(self, panel: dict, target: dict) -> float:
        """The largest value, of the whole time or of the end of it."""
        where = f"'{panel['title']}', {target['legendFormat']}"
        expression = filled(target["expr"], self.instance, self.job)
        try:
            found = self.ask(expression, instant=target.get("instant", False))
        except Failed as error:
            self.wrong.append(f"{where}: {error}")
            return 0
        values = [value for _, series in found for value in series]
        if not values:
            self.wrong.append(f"{where}: no data for {expression}")
            return 0
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            if not all(labels.get(label) for labels, _ in found):
                self.wrong.append(f"{where}: lines without {label}, from {expression}")
        low, high = SANE[unit_of(panel, target)]
        if odd := [it for it in values if not math.isfinite(it) or not low <= it <= high]:
            self.wrong.append(f"{where}: {odd[:3]} of {len(values)}, from {expression}")
        if self.at_rest and unit_of(panel, target) in ZERO_AT_REST and any(values):
            self.wrong.append(f"{where}: {max(values)} without a client, from {expression}")
        return max((it for it in values if math.isfinite(it)), default=0.0)

    def ask(self, expression: str, instant: bool) -> list[tuple[dict, list[float]]]:
        """At the end there must be an answer, whatever the panel asks for."""
        self.asked += 1
        now = [(labels, [value])
               for labels, value in self.prometheus.at(expression, self.scene.end)]
        expect(now, f"no data at the end for {expression}")
        if instant:
            return now
        return self.prometheus.over(expression, self.scene.from_, self.scene.end)

    def of_variables(self, dashboard: dict) -> None:
        for variable in variables(dashboard):
            if variable["type"] != "query":
                continue
            self.asked += 1
            query = filled(variable["query"], ".+", self.job)
            selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", query).groups()
            found = self.prometheus.ask(f"label/{label}/values", **{"match[]": selector})
            wanted = self.job if label == "job" else self.instance
            if wanted not in found:
                self.wrong.append(f"variable {variable['name']}: {found} lacks {wanted}")

    def of_annotations(self, dashboard: dict) -> None:
        """Events may be absent; while something happens, the first kind is not."""
        for number, annotation in enumerate(dashboard["annotations"]["list"]):
            self.asked += 1
            expression = filled(annotation["expr"], self.instance, self.job)
            found = self.prometheus.over(expression, self.scene.from_, self.scene.end)
            if not found and number == 0 and not self.at_rest:
                self.wrong.append(f"annotation {annotation['name']}: nothing for {expression}")


def unit_of(panel: dict, target: dict) -> str:
    """Of a table's column, if it has one of its own."""
    settings = panel["fieldConfig"]
    if panel["type"] != "table":
        return settings["defaults"]["unit"]
    value = "Value" if len(panel["targets"]) == 1 else f"Value #{target['refId']}"
    names = next(it["options"]["renameByName"] for it in panel["transformations"]
                 if it["id"] == "organize")
    for override in settings["overrides"]:
        if override["matcher"]["options"] == names.get(value):
            for setting in override["properties"]:
                if setting["id"] == "unit":
                    return setting["value"]
    return settings["defaults"]["unit"]
