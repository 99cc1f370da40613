"""What every scenario begins with: a cluster, a proxy and the load, as the options say."""

import contextlib
import time
from argparse import Namespace

from harness import Machine, Proxy
from load import Direct, Load, address, warm_up
from nodes import Nodes, start_proxy
from peers import Peer
from table import Table

# How long the load runs before the first fault.
WARM_SECONDS = 3.0


class Trial:
    """One run of some scenarios; their figures go into its table."""

    def __init__(self, options: Namespace, table: Table) -> None:
        self.options = options
        self.table = table
        self.quick = options.quick
        self.peer: Peer | None = options.peer

    def rounds(self, full: int, quick: int) -> int:
        return self.options.rounds or (quick if self.quick else full)

    def in_flight_max(self) -> int:
        """Operations of one shard that may be under way, with those across all."""
        return (self.options.clients // 3 + 1) * self.options.depth

    def name(self) -> str:
        return self.peer.name if self.peer else "slotway"

    @contextlib.contextmanager
    def cluster(self, seconds: int, node_timeout: int = 2000, *options, replicas: int = 1):
        """Nodes of their own for one scenario, which is over after so many seconds."""
        with Machine(seconds) as machine:
            yield machine, Nodes(machine, node_timeout, *options, replicas=replicas)

    def proxy(self, machine: Machine, nodes: Nodes, **settings) -> Proxy:
        if self.peer:
            return self.peer.start(machine, [address(port) for port in nodes.ports])
        settings.setdefault("seeds", [address(port) for port in nodes.alive()[:1]])
        return start_proxy(machine, workers=self.options.workers, **settings)

    def load(self, machine: Machine, nodes: Nodes, proxy: Proxy, warm: float = WARM_SECONDS,
             target: str | None = None, **settings) -> Load:
        settings.setdefault("clients", self.options.clients)
        settings.setdefault("rate", self.options.rate)
        settings.setdefault("depth", self.options.depth)
        if self.peer:
            settings["errors_unknown"] = True
            if self.peer.without:
                settings["without"] = self.peer.without
        load = Load(machine, target or address(proxy.port), address(nodes.seed()), **settings)
        started = time.time()
        warm_up(load, warm + 1)
        load.window("quiet", started + 1, time.time())
        return load

    @contextlib.contextmanager
    def direct(self, nodes: Nodes):
        direct = Direct(nodes)
        try:
            yield direct
        finally:
            direct.stop()
