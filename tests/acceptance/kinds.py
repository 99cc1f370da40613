"""Clusters of slotway-node and redis-server side by side, and what such nodes hold, compared."""

import argparse
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cluster import Cluster, own_key
from harness import HOST, ROOT, Machine, Program, expect, expect_equal, make_cluster, redis_cli
from harness import wait_until, wait_until_agreed
from resp import Connection, Error, command

OURS = "slotway-node"
REAL = "redis-server"
KINDS = {"slotway": OURS, "redis": REAL}
NODE_TIMEOUT_MS = 2000
START_SECONDS = 15
JOIN_SECONDS = 20
LOADING_SECONDS = 10
SYNC_SECONDS = 30
ALL_SLOTS = (0, 16_383)
# As long as the shortest time to live of the writes, and what a server takes to notice.
EXPIRY_SECONDS = 5
# Keys and differences that are looked at in one go, and named in a message.
READ_KEYS = 500
NAMED = 5


def parse_kinds(text: str) -> tuple[str, str]:
    """`slotway,redis`: a kind and the other one. Twice the same is for comparison."""
    kinds = tuple(KINDS.get(name, "") for name in text.split(","))
    if len(kinds) != 2 or not all(kinds):
        raise argparse.ArgumentTypeError(f"{text}: two of {', '.join(KINDS)} are needed")
    return kinds


def node_binary() -> Path:
    """The release build, unless SLOTWAY_NODE_BINARY names another."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    binary = ROOT / os.environ.get("SLOTWAY_NODE_BINARY", target / "release" / "slotway-node")
    if not binary.is_file():
        sys.exit(f"no {binary}; build it with: cargo build --release -p slotway-node")
    return binary


class Patient(Connection):
    """A node that loads what it got from its primary is asked again."""

    def ask(self, *words: bytes | str | int):
        deadline = time.monotonic() + LOADING_SECONDS
        while True:
            reply = super().ask(*words)
            loading = isinstance(reply, Error) and reply.startswith("LOADING")
            if not loading or time.monotonic() > deadline:
                return reply
            time.sleep(0.01)


class MixedCluster(Cluster):
    """Some shards, each node of a kind that is asked for."""

    def __init__(self, machine: Machine, shards: list[tuple[str, ...]],
                 node_timeout_ms: int = NODE_TIMEOUT_MS, options: tuple = ()) -> None:
        """A shard is the kind of its primary and those of its replicas. Options are for all nodes.
        With less than three shards the first has all slots, as redis-cli makes no such cluster."""
        self.machine = machine
        self.node_timeout_ms = node_timeout_ms
        self.options = options
        self.kinds: dict[int, str] = {}
        self.nodes: dict[int, Connection] = {}
        self.ports: list[int] = []
        primaries = [self.start(shard[0]) for shard in shards]
        replicas = [(self.start(kind), primary) for shard, primary in zip(shards, primaries)
                    for kind in shard[1:]]
        if len(primaries) >= 3:
            make_cluster(primaries, 0)
        else:
            self.done(primaries[0], "CLUSTER", "ADDSLOTSRANGE", *ALL_SLOTS)
            for other in primaries[1:]:
                self.join(other)
            wait_until("the first node to serve", JOIN_SECONDS,
                       lambda: "cluster_state:ok" in redis_cli(primaries[0], "cluster", "info"))
        for replica, primary in replicas:
            self.join(replica)
            self.replicate(replica, primary)
        if replicas:
            self.settle()

    def start(self, kind: str, *options) -> int:
        """A node of its own; the port."""
        port = self.machine.ports(1, bus=True)
        folder = self.machine.folder / f"node-{port}"
        folder.mkdir()
        binary = node_binary() if kind == OURS else "redis-server"
        program = self.machine.start([
            binary, "--port", port, "--bind", HOST, "--dir", folder, "--save", "",
            "--cluster-enabled", "yes", "--cluster-node-timeout", self.node_timeout_ms,
            "--enable-debug-command", "yes", "--repl-diskless-sync-delay", 0,
            "--maxclients", 5000, *self.options, *options,
        ], f"{kind}-{port}")
        self.machine.servers[port] = program
        self.kinds[port] = kind
        self.ports.append(port)
        self.wait_started(port)
        return port

    def wait_started(self, port: int) -> None:
        def started() -> bool:
            program = self.machine.servers[port]
            expect(program.alive(), f"{self.kinds[port]} has ended: {log_end(program, 3)}")
            return "PONG" in redis_cli(port, "ping")

        wait_until(f"{self.kinds[port]} on {port}", START_SECONDS, started)
        self.nodes[port] = Patient(port)

    def restart(self, port: int) -> None:
        words = self.machine.servers[port].popen.args
        self.machine.servers[port] = self.machine.start(words, f"{self.kinds[port]}-{port}")
        self.wait_started(port)

    def settle(self) -> None:
        """CLUSTER SLOTS names a replica only once it has processed something."""
        wait_until("all primaries to take a write", SYNC_SECONDS, self.primaries_write)
        super().settle()

    def primaries_write(self) -> bool:
        """A primary that was restarted may have been replaced, and hear of it at any moment."""
        with contextlib.suppress(LookupError):
            return not any(isinstance(self.write_own(port), Error) for port in self.primaries())
        return False

    def write_own(self, port: int) -> object:
        return self.nodes[port].ask("SET", own_key(self.owners(port), port), "x")

    def done(self, port: int, *words) -> None:
        answer = self.nodes[port].ask(*words)
        expect_equal(answer, b"OK", f"the reply of {self.name(port)} to {words[:4]}")

    def name(self, port: int) -> str:
        return f"{self.kinds[port]} {port}"

    def of_kind(self, kind: str, ports: list[int]) -> int:
        """The first of some nodes that is of a kind."""
        found = [port for port in ports if self.kinds[port] == kind]
        expect(found, f"none of {ports} is {kind}")
        return found[0]

    def join(self, port: int) -> None:
        """Until all know it, and it knows all."""
        members = [other for other in self.alive() if other != port and self.knows(other) > 1]
        members = members or self.alive()[:1]
        for other in members:
            self.done(other, "CLUSTER", "MEET", HOST, port)
        count = len(members) + 1
        wait_until(f"{self.name(port)} to be one of {count} nodes", JOIN_SECONDS,
                   lambda: all(self.knows(other) >= count for other in (port, *members)))

    def knows(self, port: int) -> int:
        """How many nodes it is linked with, itself counted."""
        lines = self.nodes[port].ask("CLUSTER", "NODES").decode().splitlines()
        return sum(" connected" in line and "handshake" not in line for line in lines)

    def replicate(self, replica: int, primary: int) -> None:
        self.done(replica, "CLUSTER", "REPLICATE", self.id_of(primary))

    def wait_known(self, replica: int, primary: int) -> None:
        """Until all know whom a replica follows: a primary hands over only to its own replicas."""
        line = re.compile(rf":{replica}@\S+ \S*slave {self.id_of(primary)} ")
        wait_until(f"all to know that {self.name(replica)} follows {primary}", JOIN_SECONDS,
                   lambda: all(line.search(self.nodes[port].ask("CLUSTER", "NODES").decode())
                               for port in self.alive()))

    def forget(self, gone: int) -> None:
        """Lets the others forget a node."""
        name = self.id_of(gone)
        self.ports.remove(gone)
        for port in self.alive():
            self.done(port, "CLUSTER", "FORGET", name)

    def link_is_up(self, replica: int) -> bool:
        return "master_link_status:up" in self.nodes[replica].ask("INFO", "replication").decode()

    def wait_synced(self, replica: int, primary: int) -> None:
        """Until a replica has processed what its primary has produced; nothing is written now."""
        def synced() -> bool:
            offsets = [self.figure(primary, "replication", "master_repl_offset"),
                       self.figure(replica, "replication", "slave_repl_offset")]
            return self.link_is_up(replica) and offsets[0] == offsets[1]

        wait_until(f"{self.name(replica)} to have all of {self.name(primary)}", SYNC_SECONDS,
                   synced)

    def compare(self, primary: int, replica: int) -> str:
        """Whether two nodes hold the same, key by key and by their own sums."""
        deadline = time.monotonic() + EXPIRY_SECONDS
        while True:
            self.wait_synced(replica, primary)
            held = contents(self.nodes[primary])
            found = differences(held, contents(self.nodes[replica]))
            sums = [self.nodes[port].ask("DEBUG", "DIGEST") for port in (primary, replica)]
            # A key may expire between the looks at it, and counts until it is deleted.
            if not found and sums[0] == sums[1] or time.monotonic() > deadline:
                break
            time.sleep(0.3)
        expect(not found, f"{self.name(replica)} has not what {self.name(primary)} has: {found}")
        expect(not isinstance(sums[0], Error), f"DEBUG DIGEST: {sums[0]}")
        expect_equal(sums[1], sums[0], f"DEBUG DIGEST of {self.name(replica)}")
        return f"{len(held)} keys"

    def agree(self) -> None:
        """Until all nodes have the same view of roles, owners and epochs."""
        wait_until("all nodes to have one view", JOIN_SECONDS,
                   lambda: len({self.view(port) for port in self.alive()}) == 1)
        wait_until_agreed(self.alive()[0])

    def view(self, port: int) -> tuple:
        lines = [line.split() for line in
                 self.nodes[port].ask("CLUSTER", "NODES").decode().splitlines()]
        return tuple(sorted((line[0], line[1], line[2].replace("myself,", ""), line[3],
                             *[word for word in line[8:] if not word.startswith("[")])
                            for line in lines))

    @contextlib.contextmanager
    def paused(self, port: int) -> Iterator[None]:
        process = self.machine.servers[port].popen
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def stop_all(self) -> None:
        self.machine.stop(*(self.machine.servers[port] for port in self.kinds))


READS = {
    b"string": ("GET",), b"list": ("LRANGE", 0, -1), b"set": ("SMEMBERS",),
    b"hash": ("HGETALL",), b"zset": ("ZRANGE", 0, -1, "WITHSCORES"),
}


def contents(node: Connection) -> dict[bytes, tuple]:
    """Of all keys of a node the type, the value, and when it expires."""
    held: dict[bytes, tuple] = {}
    # A replica answers only to those who say this.
    expect_equal(node.ask("READONLY"), b"OK", "the reply to READONLY")
    keys = sorted(all_keys(node))
    for first in range(0, len(keys), READ_KEYS):
        part = keys[first:first + READ_KEYS]
        types = many(node, [("TYPE", key) for key in part])
        values = many(node, [read_of(kind, key) for kind, key in zip(types, part)])
        expiries = many(node, [("PEXPIRETIME", key) for key in part])
        for key, *found in zip(part, types, map(in_order, types, values), expiries):
            if found[0] != b"none":
                held[key] = tuple(found)
    return held


def all_keys(node: Connection) -> set[bytes]:
    keys: set[bytes] = set()
    cursor = b"0"
    while True:
        cursor, part = node.ask("SCAN", cursor, "COUNT", 1000)
        keys.update(part)
        if cursor == b"0":
            return keys


def many(node: Connection, requests: list[tuple]) -> list:
    node.send(b"".join(command(*words) for words in requests))
    return [node.reply() for _ in requests]


def read_of(kind: bytes, key: bytes) -> tuple:
    name, *rest = READS.get(kind, ("EXISTS",))
    return (name, key, *rest)


def in_order(kind: bytes, value):
    """What has no order of its own is put into one."""
    if kind == b"set":
        return sorted(value)
    if kind == b"hash":
        return sorted(zip(value[::2], value[1::2]))
    return value


def differences(one: dict[bytes, tuple], other: dict[bytes, tuple]) -> str:
    """Some keys that are not the same, and how many; nothing if there are none."""
    differ = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    shown = [f"{key.decode()}: {one.get(key)!r:.80} and {other.get(key)!r:.80}"
             for key in differ[:NAMED]]
    return f"{len(differ)} keys differ: {'; '.join(shown)}" if differ else ""


def log_end(program: Program, lines: int = 12) -> str:
    text = program.output + program.errors
    return " | ".join(text.strip().splitlines()[-lines:])
