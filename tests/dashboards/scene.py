"""Two proxies that Prometheus looks at: one that nobody uses, and one whose cluster loses a primary
and has slots moved while clients write through it."""

import time

from cluster import move_slots
from harness import HOST, Machine, Program, slotway_binary, wait_until
from kinds import OURS, MixedCluster
from prometheus import Prometheus

SLOTS_TO_MOVE = 200
LOAD_SECONDS = 600
# So many scrapes after the last event let every rate and every alert see it.
SCRAPES = 3


class WatchedCluster(MixedCluster):
    """Each node shows its metrics."""

    def __init__(self, *words) -> None:
        self.metrics_ports: dict[int, int] = {}
        super().__init__(*words)

    def start(self, kind: str, *options) -> int:
        metrics_port = self.machine.ports(1)
        port = super().start(kind, "--metrics-port", metrics_port, *options)
        self.metrics_ports[port] = metrics_port
        return port


class Scene:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.embedded = machine.ports(6, bus=True)
        self.idle = machine.slotway("--embedded", "--node-port", self.embedded, "--workers", 2)
        self.cluster = WatchedCluster(machine, [(OURS, OURS)] * 3)
        settings = machine.folder / "busy.toml"
        settings.write_text(f'[cluster]\nseeds = ["{HOST}:{self.cluster.ports[0]}"]\n')
        self.busy = machine.slotway("--config", settings, "--workers", 2)
        self.prometheus = Prometheus(machine, [self.idle.admin, self.busy.admin],
                                     node_ports=tuple(self.cluster.metrics_ports.values()),
                                     with_nodes=(self.idle.admin,))
        self.from_ = time.time()

    def live_through_it(self) -> None:
        """A load, in it a primary that is killed and slots that move, and a rest after it."""
        load = self.load()
        wait_until("requests of the load", 30, lambda: self.requests() > 200)
        self.wait_for_scrapes(2)
        before = self.cluster.primaries()
        self.cluster.kill(before[0]).wait()
        move_slots(*self.cluster.primaries()[:2], SLOTS_TO_MOVE, 10)
        # The node of which there is most to tell: it has taken over.
        self.heir = next(it for it in self.cluster.primaries() if it not in before)
        self.wait_for_scrapes(SCRAPES)
        load.end()
        self.end = time.time()

    def load(self) -> Program:
        program = slotway_binary().with_name("slotway-load")
        return self.machine.start([
            program, "--port", self.busy.port, "--workload", "churn", "--clients", 20,
            "--pause-ms", 2, "--seconds", LOAD_SECONDS, "--value-bytes", 200,
        ], "load")

    def requests(self) -> float:
        return self.busy.metric("slotway_client_request_duration_seconds_count")

    def wait_for_scrapes(self, more: int) -> None:
        """Of both proxies, from now on."""
        instances = [f"{HOST}:{proxy.admin}" for proxy in (self.idle, self.busy)]
        wanted = {it: self.prometheus.scrapes(it) + more for it in instances}
        wait_until(f"{more} scrapes", 60, lambda: all(
            self.prometheus.scrapes(it) >= count for it, count in wanted.items()))
