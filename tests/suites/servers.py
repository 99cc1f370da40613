"""The servers that a suite runs against, on ports of their own."""

import os

import harness
from harness import HOST, Failed, Machine, Proxy, is_free, redis_cli, wait_until

FIRST_PORT = 23_000
PORTS = 1000


class Servers(Machine):
    """A machine whose cluster nodes get their bus ports from the same row of ports."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.first = int(os.environ.get("SLOTWAY_SUITES_PORTS", FIRST_PORT))
        self.next_port = self.first

    def ports(self, count: int, bus: bool = False) -> int:
        first = self.next_port
        while first + count <= self.first + PORTS:
            taken = [port for port in range(first, first + count) if not is_free(port, False)]
            if not taken:
                self.next_port = first + count
                return first
            first = taken[-1] + 1
        raise Failed(f"no {count} free ports in a row")

    def redis_server(self, *options) -> int:
        """Starts a server and returns its port."""
        port = self.ports(1)
        folder = self.folder / f"redis-{port}"
        folder.mkdir()
        self.start(["redis-server", "--port", port, "--bind", HOST, "--dir", folder, "--save", "",
                    "--loglevel", "warning", *options], f"redis-{port}")
        wait_until(f"redis-server on {port}", 20, lambda: "PONG" in redis_cli(port, "ping"))
        return port

    def redis_cluster(self, primaries: int = 3, replicas: int = 0) -> list[int]:
        nodes = [
            self.redis_server("--cluster-enabled", "yes", "--cluster-port", self.ports(1))
            for _ in range(primaries * (1 + replicas))
        ]
        harness.make_cluster(nodes, replicas)
        self.seed = f"{HOST}:{nodes[0]}"
        return nodes

    def proxy(self) -> Proxy:
        """A proxy in front of the cluster, with all that the tests use switched on."""
        config = self.folder / "proxy.toml"
        config.write_text("[proxy]\nmonitor = true\n")
        return self.slotway("--config", config, "--seed", self.seed)
