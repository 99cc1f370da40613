"""A Prometheus of our own with the shipped configuration, at a pace for tests, and its answers."""

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request

from harness import HOST, ROOT, Failed, Machine, expect, http_get, wait_until

CONFIG = ROOT / "config" / "prometheus" / "prometheus.yml"
RULES = ROOT / "config" / "prometheus" / "slotway.rules.yml"
# What $__rate_interval and the interval of a graph's points are. Grafana would take four scrapes;
# more of them forgive a busy machine one that came late.
RATE_INTERVAL = "10s"
STEP_SECONDS = 1
# The jobs of nodes.
NODES, EMBEDDED_NODES = "slotway-nodes", "slotway-embedded-nodes"


class Prometheus:
    def __init__(self, machine: Machine, admin_ports: list[int],
                 alertmanager: int | None = None, node_ports: tuple = (),
                 with_nodes: tuple = ()) -> None:
        """With the ports of what it scrapes: of proxies, of nodes, and of proxies that have nodes
        inside; and of an Alertmanager if there is one."""
        self.port = machine.ports(1)
        self.targets = {job: [f"{HOST}:{port}" for port in ports] for job, ports in (
            ("slotway", admin_ports), (NODES, node_ports), (EMBEDDED_NODES, with_nodes))}
        folder = machine.folder / "prometheus"
        folder.mkdir()
        settings = folder / "prometheus.yml"
        settings.write_text(self._settings() + alerting(alertmanager))
        self.program = machine.start([
            "prometheus", f"--config.file={settings}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={HOST}:{self.port}", "--log.level=warn",
        ], "prometheus")
        wait_until("Prometheus", 30, lambda: http_get(f"{self.url}/-/ready")[0] == 200)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def _settings(self) -> str:
        text = CONFIG.read_text()
        for old, new in (
            (r"scrape_interval: 5s", "scrape_interval: 1s"),
            (r"evaluation_interval: 5s", "evaluation_interval: 1s"),
            (r"- slotway\.rules\.yml", f"- {RULES}"),
        ):
            text, count = re.subn(rf"(?m)^( *){old}$", rf"\g<1>{new}", text)
            expect(count == 1, f"{CONFIG.name} has {count} lines like {old}")
        for job, targets in self.targets.items():
            text, count = re.subn(
                rf"(?s)(job_name: {job}\n.*?- targets: )\[[^\]]*\]",
                lambda found: found[1] + json.dumps(targets), text, count=1)
            expect(count == 1, f"{CONFIG.name} has no targets of {job}")
        return text

    def ask(self, path: str, **arguments) -> object:
        """The data of an answer, which must be without warnings."""
        query = urllib.parse.urlencode(arguments, doseq=True)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=20) as answer:
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            raise Failed(f"{arguments}: {error.read().decode(errors='replace')[:300]}") from error
        expect(said["status"] == "success", said)
        noise = said.get("warnings", []) + said.get("infos", [])
        expect(not noise, f"{arguments}: {noise}")
        return said["data"]

    def at(self, expression: str, moment: float) -> list[tuple[dict, float]]:
        data = self.ask("query", query=expression, time=moment)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(it["metric"], float(it["value"][1])) for it in data["result"]]

    def over(self, expression: str, start: float, end: float) -> list[tuple[dict, list[float]]]:
        data = self.ask("query_range", query=expression, start=start, end=end, step=STEP_SECONDS)
        return [(it["metric"], [float(value) for _, value in it["values"]])
                for it in data["result"]]

    def rules(self) -> list[dict]:
        groups = self.ask("rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def scrapes(self, instance: str) -> int:
        """How often a proxy has been scraped."""
        found = self.at(f'count_over_time(up{{instance="{instance}"}}[2m])', time.time())
        return int(found[0][1]) if found else 0


def alerting(port: int | None) -> str:
    if port is None:
        return ""
    return f"""
alerting:
  alertmanagers:
    - static_configs:
        - targets: ["{HOST}:{port}"]
"""


def filled(expression: str, instance: str, job: str = "slotway") -> str:
    """As Grafana fills it in: for one proxy or node, or with .+ for all."""
    value = instance if instance == ".+" else re.escape(instance).replace("\\", "\\\\")
    for name, text in (("$__rate_interval", RATE_INTERVAL), ("$instance", value),
                       ("$job", job)):
        expression = expression.replace(name, text)
    expect("$" not in expression, f"a variable is left in {expression}")
    return expression
