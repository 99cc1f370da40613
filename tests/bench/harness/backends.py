"""The redis-servers behind the targets: a cluster of three primaries and up to three standalone servers."""

import re
import subprocess

from .processes import BenchError, Process, Supervisor, wait_until
from .resp import Connection, slot_of
from .workloads import KEYS, LARGE, Workload, key_name, run_benchmark

PRIMARIES = 3
START_SECONDS = 10
CLUSTER_SECONDS = 30
CLUSTER_LOAD = {64: 400_000, LARGE: 180_000}


class Servers:
    """A group of redis-servers that answers for one kind of target."""

    def __init__(self, processes: list[Process], ports: list[int]):
        self.processes = processes
        self.ports = ports

    @property
    def addresses(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port in self.ports]

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.processes]

    def first(self) -> "Servers":
        return Servers(self.processes[:1], self.ports[:1])

    def counters(self) -> dict[str, int]:
        """Key hits, key misses, SET calls and redirects since start, over all servers."""
        total = {"hits": 0, "misses": 0, "sets": 0, "redirects": 0}
        patterns = {
            "hits": rb"keyspace_hits:(\d+)",
            "misses": rb"keyspace_misses:(\d+)",
            "sets": rb"cmdstat_set:calls=(\d+)",
            "redirects": rb"errorstat_MOVED:count=(\d+)",
        }
        for port in self.ports:
            with Connection(port) as connection:
                info = connection.command("INFO", "everything")
            for name, pattern in patterns.items():
                found = re.search(pattern, info)
                total[name] += int(found.group(1)) if found else 0
        return total


class Backends:
    """Both groups of servers and the size of the values they hold at the moment."""

    def __init__(self, supervisor: Supervisor, standalone: int, max_clients: int, tagged_keys: bool):
        self._supervisor = supervisor
        self._max_clients = max_clients
        self._tagged_keys = tagged_keys
        self._size = 0
        self.cluster = self._start_cluster()
        self.standalone = self._start_servers("redis-standalone", standalone, clustered=False)

    def load(self, size: int) -> None:
        """Stores every key of the workloads on every server that may be asked for it, unless already so."""
        if size == self._size:
            return
        keys = [key_name(number) for number in range(KEYS)]
        owners = self._slot_owners()
        for port in self.cluster.ports:
            with Connection(port, timeout=20) as connection:
                connection.store_all([key for key in keys if owners[slot_of(key)] == port], b"x" * size)
        for port in self.standalone.ports:
            with Connection(port, timeout=20) as connection:
                connection.store_all(keys, b"x" * size)
        if self._tagged_keys:
            self._load_tagged_keys(size)
        self._size = size

    def _load_tagged_keys(self, size: int) -> None:
        """Lets redis-benchmark itself store the one key per slot that it asks for in cluster mode."""
        pipeline = 16 if size < LARGE else 1
        workload = Workload("load", "set", size, 50, pipeline, CLUSTER_LOAD[size])
        run_benchmark(workload, self.cluster.ports[0], cluster=True)

    def _slot_owners(self) -> dict[int, int]:
        with Connection(self.cluster.ports[0]) as connection:
            ranges = connection.command("CLUSTER", "SLOTS")
        return {slot: entry[2][1] for entry in ranges for slot in range(entry[0], entry[1] + 1)}

    def _start_cluster(self) -> Servers:
        bus_ports = [self._supervisor.free_port() for _ in range(PRIMARIES)]
        servers = self._start_servers("redis-cluster", PRIMARIES, clustered=True, bus_ports=bus_ports)
        nodes = [f"{address}@{bus}" for address, bus in zip(servers.addresses, bus_ports)]
        create = ["redis-cli", "--cluster", "create", *nodes, "--cluster-replicas", "0", "--cluster-yes"]
        try:
            done = subprocess.run(create, capture_output=True, text=True, timeout=CLUSTER_SECONDS)
        except subprocess.TimeoutExpired:
            raise BenchError(f"redis-cli --cluster create: not within {CLUSTER_SECONDS} s") from None
        if done.returncode != 0:
            raise BenchError(f"redis-cli --cluster create failed:\n{done.stdout}{done.stderr}")
        for port in servers.ports:
            wait_until(f"cluster node {port} up", CLUSTER_SECONDS, lambda: cluster_is_up(port))
        return servers

    def _start_servers(self, name: str, count: int, clustered: bool, bus_ports: list[int] = ()) -> Servers:
        processes, ports = [], []
        for index in range(count):
            port = self._supervisor.free_port()
            folder = self._supervisor.folder / f"{name}-{index}"
            folder.mkdir()
            command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--daemonize", "no"]
            command += ["--save", "", "--appendonly", "no", "--maxclients", str(self._max_clients)]
            if clustered:
                command += ["--cluster-enabled", "yes", "--cluster-port", str(bus_ports[index])]
            processes.append(self._supervisor.start(f"{name}-{index}", command, folder))
            ports.append(port)
        for process, port in zip(processes, ports):
            wait_until(f"{process.name} listening", START_SECONDS, lambda: answers_ping(port), process)
        return Servers(processes, ports)


def answers_ping(port: int) -> bool:
    try:
        with Connection(port, timeout=1) as connection:
            return connection.command("PING") == b"PONG"
    except OSError:
        return False


def cluster_is_up(port: int) -> bool:
    with Connection(port, timeout=2) as connection:
        return b"cluster_state:ok" in connection.command("CLUSTER", "INFO")
