"""A cluster in network namespaces: each node, proxy and client has one of its own, with one cable
to a bridge, so that packets between any two can be lost while all others pass.

Everything is inside of one network namespace and one mount namespace that the run makes for
itself, and is gone with its last process.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from faulty import Faulty
from harness import HOST, Failed, Machine, Proxy, expect_equal, run, slotway_binary, wait_until
from load import Load, warm_up
from nodes import Nodes
from resp import Connection
from table import Row, Table

NETWORK = "10.77.0"
OWN_ADDRESS = f"{NETWORK}.254"
FIRST_PORT = 7000
NODES = 6
INSIDE = "SLOTWAY_CHAOS_INSIDE"


def missing() -> str:
    """Why there can be no namespaces here; empty when there can."""
    try:
        done = subprocess.run(
            ["unshare", "--net", "--mount", "sh", "-c", SETUP + "\nip netns add probe && "
             "ip netns exec probe nft list ruleset"],
            capture_output=True, text=True, timeout=20, check=False)
    except OSError as error:
        return str(error)
    return done.stderr.strip()[-200:] or "unshare failed" if done.returncode else ""


# Names of namespaces are files; those of this run are seen by nobody else.
SETUP = """set -e
mkdir -p /run/netns
mount -t tmpfs tmpfs /run/netns
ip link set lo up
ip link add chaos type bridge
ip link set chaos up
ip address add %s/24 dev chaos
""" % OWN_ADDRESS


def run_inside(names: list[str], table: Table) -> None:
    """Runs scenarios of this program in namespaces, and takes over the rows of their table."""
    with tempfile.NamedTemporaryFile(prefix="slotway-chaos-") as file:
        words = [word for word in sys.argv[1:] if not re.fullmatch(r"A\d+(-\w+)?", word)]
        command = ["unshare", "--net", "--mount", "sh", "-c", SETUP + '\nexec "$@"', "chaos",
                   sys.executable, sys.argv[0], *words, *names]
        environment = {**os.environ, INSIDE: file.name}
        subprocess.run(command, env=environment, check=False)
        rows = json.loads(Path(file.name).read_text() or "[]")
    if not rows:
        table.add(names[0], "in network namespaces", "that it runs", "it ended early", False)
    table.rows += [Row(**row) for row in rows]


def save(table: Table) -> None:
    rows = [row.__dict__ for row in table.rows]
    Path(os.environ[INSIDE]).write_text(json.dumps(rows))


class Network:
    """The bridge and the members on it, by name."""

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}

    def add(self, name: str, number: int) -> str:
        """Gives a member its namespace, and returns its address."""
        address = f"{NETWORK}.{number}"
        self.addresses[name] = address
        for line in (
            f"ip netns add {name}",
            f"ip link add v-{name} type veth peer name eth0 netns {name}",
            f"ip link set v-{name} master chaos up",
            f"ip -n {name} address add {address}/24 dev eth0",
            f"ip -n {name} link set eth0 up",
            f"ip -n {name} link set lo up",
        ):
            command(line)
        self.nft(name, "add table inet chaos",
                 "add chain inet chaos in { type filter hook input priority 0; }",
                 "add chain inet chaos out { type filter hook output priority 0; }")
        return address

    def nft(self, name: str, *lines: str) -> None:
        command(f"ip netns exec {name} nft -f -", "\n".join(lines) + "\n")

    def cut(self, one: list[str], other: list[str]) -> None:
        """Nothing passes between two groups."""
        far = ", ".join(self.addresses[name] for name in other)
        for name in one:
            self.nft(name, f"add rule inet chaos in ip saddr {{ {far} }} drop",
                     f"add rule inet chaos out ip daddr {{ {far} }} drop")

    def lose(self, name: str, percent: int) -> None:
        """Packets between a member and nodes are lost, each way."""
        nodes = f"{NETWORK}.1-{NETWORK}.{NODES}"
        self.nft(name,
                 f"add rule inet chaos in ip saddr {nodes} numgen random mod 100 < {percent} drop",
                 f"add rule inet chaos out ip daddr {nodes} numgen random mod 100 < {percent} drop")

    def drop_connection(self, name: str, own_port: int, far: str, far_port: int) -> None:
        """One TCP connection of a member goes silent."""
        self.nft(name,
                 f"add rule inet chaos in ip saddr {far} tcp sport {far_port} tcp dport {own_port}"
                 " drop",
                 f"add rule inet chaos out ip daddr {far} tcp dport {far_port} tcp sport {own_port}"
                 " drop")

    def heal(self, *names: str) -> None:
        for name in names:
            self.nft(name, "flush chain inet chaos in", "flush chain inet chaos out")

    def connections(self, name: str, far: str, far_port: int) -> list[int]:
        """The member's own ports of its connections to a place."""
        lines = run(["ip", "netns", "exec", name, "ss", "-Htn", "state", "established", "dst",
                     f"{far}:{far_port}"], 10).stdout.splitlines()
        return [int(line.split()[2].rpartition(":")[2]) for line in lines]

    def exec(self, name: str) -> list[str]:
        return ["ip", "netns", "exec", name]


class FarNodes(Nodes):
    """Nodes in namespaces n1 to n6, or others. Their ports are 7001 to 7006, all different, and a
    `faulty` makes them reachable as ports of 127.0.0.1, where the rest of the program looks for
    nodes."""

    def __init__(self, machine: Machine, network: Network, node_timeout: int = 2000,
                 first: int = 1, replicas: int = 1) -> None:
        self.machine = machine
        self.network = network
        self.node_timeout = node_timeout
        self.replicas = replicas
        self.ports = [FIRST_PORT + first + number for number in range(3 * (1 + replicas))]
        for port in self.ports:
            self.start_node(port)
        links = {f"n{port}": (f"{HOST}:{port}", self.address(port)) for port in self.ports}
        Faulty(machine, links)
        self.nodes = {}
        for port in self.ports:
            wait_until(f"node {port}", 20, lambda: self.connects(port))
        self.join()
        if replicas:
            self.wait_for_replicas()

    def member(self, port: int) -> str:
        return f"n{port - FIRST_PORT}"

    def address(self, port: int) -> str:
        return f"{self.network.addresses[self.member(port)]}:{port}"

    def start_node(self, port: int) -> None:
        own = self.network.add(self.member(port), port - FIRST_PORT)
        folder = self.machine.folder / f"redis-{port}"
        folder.mkdir()
        self.machine.servers[port] = self.machine.start([
            *self.network.exec(self.member(port)), "redis-server", "--port", port, "--bind", own,
            HOST, "--protected-mode", "no", "--dir", folder, "--save", "", "--cluster-enabled",
            "yes", "--cluster-node-timeout", self.node_timeout, "--loglevel", "warning",
            "--repl-diskless-sync-delay", "0", "--enable-debug-command", "yes",
        ], f"redis-{port}")

    def connects(self, port: int) -> bool:
        with contextlib.suppress(OSError, Failed):
            self.nodes[port] = Connection(port)
            return self.nodes[port].ask("PING") == b"PONG"
        return False

    def join(self) -> None:
        made = run(["redis-cli", "--cluster", "create", *map(self.address, self.ports),
                    "--cluster-replicas", self.replicas, "--cluster-yes"], 60)
        expect_equal(made.returncode, 0, f"redis-cli --cluster create said {made.stdout}: status")
        wait_until("the cluster", 30, lambda: all(
            b"cluster_state:ok" in self.nodes[port].ask("CLUSTER", "INFO") for port in self.ports))
        wait_until("agreement", 30, lambda: run(
            ["redis-cli", "--cluster", "check", self.address(self.ports[0])], 30).returncode == 0)


class Place:
    """A namespace with a proxy and its clients."""

    def __init__(self, machine: Machine, network: Network, name: str, number: int) -> None:
        self.machine = machine
        self.network = network
        self.name = name
        network.add(name, number)

    def proxy(self, seeds: list[str], workers: int, prefix: tuple[str, ...] = (),
              ready: bool = True, **cluster) -> "FarProxy":
        settings = self.machine.folder / f"proxy-{self.name}.toml"
        values = {"hold_timeout_ms": 10_000, "seeds": seeds, **cluster}
        lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
        settings.write_text("[cluster]\n" + "\n".join(lines) + "\n")
        program = self.machine.start([
            *self.network.exec(self.name), *prefix, slotway_binary(), "--config", settings,
            "--workers", workers, "--listen", f"{HOST}:6379", "--admin", f"{HOST}:9379",
        ], f"slotway-{self.name}")
        proxy = FarProxy(program, 6379, 9379)
        proxy.where = self.network.exec(self.name)
        if ready:
            wait_until("/ready", 30, lambda: proxy.get("/ready")[0] == 200)
        return proxy

    def load(self, nodes: FarNodes, warm: float = 3.0, **settings) -> Load:
        words = self.network.exec(self.name)
        load = Load(self.machine, f"{HOST}:6379", nodes.address(nodes.ports[0]), prefix_words=words,
                    **settings)
        started = time.time()
        warm_up(load, warm + 1)
        load.window("quiet", started + 1, time.time())
        return load


class FarProxy(Proxy):
    """A slotway in a namespace."""

    where: list[str]

    def get(self, path: str) -> tuple[int, str]:
        done = run([*self.where, "curl", "-s", "-m", "5", "-w", "\n%{http_code}",
                    f"http://{HOST}:{self.admin}{path}"], 10)
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body


def command(line: str, text: str | None = None) -> None:
    done = subprocess.run(line.split(), input=text, text=True, capture_output=True, timeout=20,
                          check=False)
    expect_equal(done.returncode, 0, f"{line}: {done.stderr.strip()}: status")

