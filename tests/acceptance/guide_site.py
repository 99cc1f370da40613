"""The machine of the cluster guide in small: its redis.conf, its services, its redis-cli lines."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from harness import HOST, ROOT, Machine, Program, expect, expect_equal, run, wait_until

SLOTS = 16_384
NODES = 6
# The two that the guide adds later.
SPARE = 2
COVERED = "[OK] All 16384 slots covered."
AGREED = "[OK] All nodes agree about slots configuration."
SERVERS = ("slotway-node", "redis-server")

# As the guide writes it for its first node. {data} and {log} are /var/lib/redis-cluster and
# /var/log/redis there, and the node timeout is 15000.
CONFIG = """\
# Cluster node configuration
port {port}
bind 0.0.0.0
cluster-enabled yes
cluster-config-file {data}/{port}/nodes.conf
cluster-node-timeout {node_timeout}
# Data directory
dir {data}/{port}
# Logging
logfile {log}/redis-{port}.log
loglevel notice
# Database
databases 16
save 900 1
save 300 10
save 60 10000
# Memory
maxmemory 1gb
maxmemory-policy allkeys-lru
# RDB snapshot
rdbcompression yes
rdbchecksum yes
# AOF
appendonly yes
appendfilename "appendonly.aof"
appendfsync everysec
# Cluster replication
min-replicas-to-write 1
min-replicas-max-lag 10
# Performance
tcp-backlog 511
timeout 0
tcp-keepalive 300
"""

# DEBUG OBJECT stands in the guide, and is switched off by default.
NEEDED = "enable-debug-command yes\n"
# With what the guide says, redis-server takes neither add-node nor reshard (no replica is there
# yet), and does not fail over a primary that stops within 5 s of its replica's coming.
NEEDED_BY_REDIS = "min-replicas-to-write 0\nrepl-diskless-sync-delay 0\n"


@dataclass
class Node:
    """A line of CLUSTER NODES."""

    id: str
    port: int
    flags: list[str]
    primary: str
    link: str
    slots: list[str]

    @property
    def is_primary(self) -> bool:
        return "master" in self.flags

    @property
    def is_well(self) -> bool:
        return not {"fail", "fail?", "handshake", "noaddr"} & set(self.flags)

    def ranges(self) -> list[tuple[int, int]]:
        ends = [part.split("-") for part in self.slots if not part.startswith("[")]
        return [(int(part[0]), int(part[-1])) for part in ends]

    def slot_count(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges())

    def owns(self, slot: int) -> bool:
        return any(first <= slot <= last for first, last in self.ranges())


class Site:
    """Where the nodes live. Ports stand for those of the guide, in its order."""

    def __init__(self, machine: Machine, server: str, node_timeout: int) -> None:
        self.machine = machine
        self.server = server
        self.node_timeout = node_timeout
        self.binary = server_binary(server)
        self.first = machine.ports(NODES + SPARE, bus=True)
        self.six = list(range(self.first, self.first + NODES))
        self.spare = list(range(self.first + NODES, self.first + NODES + SPARE))
        self.services: dict[int, Program] = {}
        self.etc = machine.folder / "etc"
        self.data = machine.folder / "lib"
        self.log = machine.folder / "log"

    # --- files and processes

    def config_file(self, port: int) -> Path:
        return self.etc / f"redis-{port}.conf"

    def log_file(self, port: int) -> Path:
        return self.log / f"redis-{port}.log"

    def configure(self) -> None:
        """What the guide does with an editor, sed and chmod."""
        self.etc.mkdir(exist_ok=True)
        if self.server == "redis-server":
            # It ends when the folder is not there; ours makes it.
            self.log.mkdir(exist_ok=True)
        text = CONFIG.format(port=self.first, data=self.data, log=self.log,
                             node_timeout=self.node_timeout)
        text += NEEDED + (NEEDED_BY_REDIS if self.server == "redis-server" else "")
        self.config_file(self.first).write_text(text)
        for port in [*self.six[1:], *self.spare]:
            made = run(["sed", f"s/{self.first}/{port}/g", self.config_file(self.first)], 10)
            self.config_file(port).write_text(made.stdout)
        for port in self.six + self.spare:
            self.config_file(port).chmod(0o600)
            (self.data / str(port)).mkdir(parents=True, exist_ok=True)

    def configure_spare(self) -> None:
        """Empty folders for the nodes that come later; the guide makes their files with sed."""
        for port in self.spare:
            shutil.rmtree(self.data / str(port), ignore_errors=True)
            (self.data / str(port)).mkdir(parents=True)

    def start(self, *ports: int) -> None:
        for port in ports:
            self.services[port] = self.machine.start(
                [self.binary, self.config_file(port)], f"node-{port}")
        for port in ports:
            wait_until(f"PONG of {port}", 20, lambda: self.answers(port))

    def answers(self, port: int) -> bool:
        program = self.services[port]
        expect(program.alive(), f"the node at {port} has ended: {program.output[-500:]}"
               f"{program.errors[-500:]}")
        return self.cli(port, "ping") == "PONG"

    def stop(self, port: int, number: int = signal.SIGTERM) -> float:
        """As systemctl stop; the seconds until it was gone."""
        program, started = self.services[port], time.monotonic()
        program.popen.send_signal(number)
        try:
            program.popen.wait(20)
        except subprocess.TimeoutExpired:
            program.popen.kill()
            program.popen.wait()
            expect(False, f"the node at {port} does not end within 20 s of SIGTERM")
        if number == signal.SIGTERM:
            expect_equal(program.popen.returncode, 0, f"the exit status of {port}")
        return time.monotonic() - started

    def rebuild(self) -> None:
        """A new cluster in the place of one that a failed step has left behind."""
        for program in self.services.values():
            program.popen.kill()
            program.popen.wait()
        self.services.clear()
        shutil.rmtree(self.data, ignore_errors=True)
        self.configure()
        self.start(*self.six)
        self.create()
        self.settle()

    def create(self) -> str:
        nodes = [address(port) for port in self.six]
        return self.manager("create", *nodes, "--cluster-replicas", 1, "--cluster-yes")

    # --- redis-cli

    def cli(self, port: int, *words, follow: bool = False) -> str:
        """What redis-cli prints, errors too."""
        follows = ["-c"] if follow else []
        done = run(["redis-cli", "-h", HOST, *follows, "-p", port, *words], 20)
        return (done.stdout + done.stderr).strip()

    def ok(self, port: int, *words) -> None:
        expect_equal(self.cli(port, *words), "OK", f"what {port} says to {words}")

    def manager(self, *words, seconds: float = 120) -> str:
        """What redis-cli --cluster prints, which must end with status 0. It is told yes."""
        line = shlex.join(["redis-cli", "--cluster", *map(str, words)])
        done = run(["bash", "-c", f"{line} <<<yes"], seconds)
        what = f"--cluster {words[0]} said {(done.stdout + done.stderr)[-600:]!r}: status"
        expect_equal(done.returncode, 0, what)
        return done.stdout + done.stderr

    def script(self, text: str) -> str:
        """What a script of the guide prints, with the address and port of this site in it."""
        text = text.replace("192.168.1.10", HOST).replace("7000", str(self.first))
        done = run(["bash", "-c", text], 60)
        expect_equal(done.stderr, "", "what the script says to stderr")
        return done.stdout

    # --- the cluster as its nodes see it

    def nodes(self, port: int) -> list[Node]:
        lines = self.cli(port, "CLUSTER", "NODES").splitlines()
        return [parsed(line) for line in lines]

    def alive(self) -> list[int]:
        return [port for port, program in self.services.items() if program.alive()]

    def find(self, port: int, entry: int | None = None) -> Node:
        """A node as another sees it, or as it sees itself."""
        for node in self.nodes(entry or port):
            if node.port == port:
                return node
        raise LookupError(f"{entry or port} does not know {port}")

    def id_of(self, port: int) -> str:
        return self.cli(port, "CLUSTER", "MYID")

    def primaries(self, entry: int | None = None) -> list[int]:
        """Those with slots, by their first slot."""
        owners = [node for node in self.nodes(entry or self.alive()[0])
                  if node.is_primary and node.slot_count() and node.is_well]
        return [node.port for node in
                sorted(owners, key=lambda node: int(node.slots[0].split("-")[0]))]

    def replicas_of(self, port: int, entry: int | None = None) -> list[int]:
        nodes = self.nodes(entry or port)
        ids = [node.id for node in nodes if node.port == port]
        return [node.port for node in nodes if node.primary in ids and node.is_well]

    def state(self, port: int) -> str:
        found = re.search(r"cluster_state:(\w+)", self.cli(port, "CLUSTER", "INFO"))
        return found[1] if found else "none"

    def replication(self, port: int) -> dict[str, str]:
        lines = self.cli(port, "INFO", "replication").splitlines()
        return dict(line.strip().split(":", 1) for line in lines if ":" in line)

    def follows(self, replica: int, primary: int) -> bool:
        """Whether a replica has the data of its primary and goes on receiving it."""
        told = self.replication(replica)
        return (told.get("role") == "slave" and told.get("master_port") == str(primary)
                and told.get("master_link_status") == "up")

    def settle(self, seconds: float = 30) -> None:
        """Until each node finds the cluster well, and each replica follows its primary."""
        deadline = time.monotonic() + seconds
        while fault := self.fault():
            expect(time.monotonic() < deadline, f"after {seconds:.0f} s still: {fault}")
            time.sleep(0.05)

    def fault(self) -> str:
        """What is not well yet, in words; nothing when all is."""
        alive = self.alive()
        for port in alive:
            if fault := self.fault_at(port, alive):
                return f"{port} {fault}"
        for port in self.primaries():
            if not self.replicas_of(port):
                return f"{port} has no replica: {self.cli(port, 'CLUSTER', 'NODES')}"
        done = run(["redis-cli", "--cluster", "check", address(self.alive()[0])], 30)
        if done.returncode == 0 and COVERED in done.stdout and AGREED in done.stdout:
            return ""
        return f"--cluster check says {done.stdout[-1500:]}{done.stderr}"

    def last_words(self) -> str:
        """What those had in their logs that run no more."""
        ended = [port for port, program in self.services.items() if not program.alive()]
        return str({port: (self.log / f"redis-{port}.log").read_text()[-1000:] for port in ended})

    def fault_at(self, port: int, alive: list[int]) -> str:
        """What one node finds wrong."""
        nodes = self.nodes(port)
        if (state := self.state(port)) != "ok":
            return f"says cluster_state:{state}"
        if (known := sorted(node.port for node in nodes)) != sorted(alive):
            return f"knows {known}, there are {alive}; {self.last_words()}"
        for node in nodes:
            if not node.is_well or (node.is_primary and not node.slots):
                return f"sees {node}"
        me = next(node for node in nodes if node.port == port)
        ids = {node.id: node.port for node in nodes}
        if not me.is_primary and not self.follows(port, ids[me.primary]):
            return f"should follow {ids[me.primary]}: {self.replication(port)}"
        return ""

    def check(self) -> None:
        told = self.manager("check", address(self.first))
        expect(COVERED in told and AGREED in told, told)

    def reshard(self, source: int, target: int, slots: int) -> int:
        """Returns how many slots have moved."""
        told = self.manager(
            "reshard", address(self.first), "--cluster-from", self.id_of(source), "--cluster-to",
            self.id_of(target), "--cluster-slots", slots, "--cluster-yes", seconds=300)
        return len(re.findall(r"(?m)^Moving slot ", told))


def address(port: int) -> str:
    return f"{HOST}:{port}"


def parsed(line: str) -> Node:
    words = line.split(" ")
    expect(len(words) >= 8, f"a line of CLUSTER NODES has 8 fields at least: {line!r}")
    found = re.fullmatch(r"[^ ]*:(\d+)@\d+(,.*)?", words[1])
    expect(found, f"the address in {line!r}")
    return Node(words[0], int(found[1]), words[2].split(","), words[3], words[7],
                [word for word in words[8:] if word])


def server_binary(server: str) -> Path:
    """The release build, unless SLOTWAY_NODE names another."""
    if server == "redis-server":
        return Path(shutil.which("redis-server") or sys.exit("no redis-server"))
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    binary = ROOT / os.environ.get("SLOTWAY_NODE", target / "release" / "slotway-node")
    if not binary.is_file():
        sys.exit(f"no {binary}; build it with: cargo build --release -p slotway-node")
    return binary
