"""What happens to a Redis Cluster under test: keys at their nodes, slots that move, failovers."""

import binascii
import contextlib
import re
import signal
import subprocess
import time

from harness import HOST, Machine, Program, expect, expect_equal, redis_cli, run, wait_until
from harness import wait_until_agreed
from resp import Connection, command

SLOTS = 16_384
# A primary that is gone must be replaced within this time.
FAILOVER_SECONDS = 30
MIGRATE_KEYS = 100


class Cluster:
    """The nodes of one run; answers are the nodes' own, asked at the time."""

    def __init__(self, machine: Machine, replicas: int = 1, *options) -> None:
        """With further options for redis-server, as on its command line."""
        self.machine = machine
        self.ports = machine.redis_cluster(
            3, replicas, "--cluster-node-timeout", "2000", "--maxclients", "20000",
            "--repl-diskless-sync-delay", "0", *options,
        )
        self.nodes = {port: Connection(port) for port in self.ports}

    def alive(self) -> list[int]:
        return [port for port in self.ports if self.machine.servers[port].alive()]

    def pids(self) -> list[int]:
        return [self.machine.servers[port].pid for port in self.alive()]

    def owners(self, port: int | None = None) -> list[int]:
        """The port that serves each slot, as one node sees it."""
        owners = [0] * SLOTS
        for first, last, primary, *_ in self.nodes[port or self.alive()[0]].ask("CLUSTER", "SLOTS"):
            owners[first:last + 1] = [primary[1]] * (last + 1 - first)
        return owners

    def primaries(self) -> list[int]:
        """In the order of their first slots."""
        return list(dict.fromkeys(port for port in self.owners() if port))

    def replica_of(self, primary: int) -> int:
        for _first, _last, owner, *replicas in self.nodes[primary].ask("CLUSTER", "SLOTS"):
            if owner[1] == primary and replicas:
                return replicas[0][1]
        return expect(False, f"{primary} has no replica") or 0

    def id_of(self, port: int) -> str:
        return self.nodes[port].ask("CLUSTER", "MYID").decode()

    def figure(self, port: int, section: str, name: str) -> int:
        """A number of INFO; 0 where it is not there."""
        text = self.nodes[port].ask("INFO", section).decode()
        found = re.search(rf"^{re.escape(name)}[:=](?:calls=)?(\d+)", text, re.MULTILINE)
        return int(found[1]) if found else 0

    def figures(self, section: str, name: str) -> dict[int, int]:
        return {port: self.figure(port, section, name) for port in self.alive()}

    def wait_for_replicas(self) -> None:
        """Until every replica holds what its primary does."""
        self.settle()
        for port in self.primaries():
            self.nodes[port].ask("SET", own_key(self.owners(), port), "x")
            expect(self.nodes[port].ask("WAIT", 1, 30_000) >= 1, f"{port} has no replica in time")

    def settle(self) -> None:
        """Until every primary has a replica that follows it, and all nodes agree on that."""
        def settled() -> bool:
            return all(self.has_replica(port) for port in self.primaries())

        wait_until("a replica for each primary", FAILOVER_SECONDS, settled)
        wait_until_agreed(self.alive()[0])

    def has_replica(self, primary: int) -> bool:
        lines = self.nodes[primary].ask("CLUSTER", "SLOTS")
        return (any(owner[1] == primary and replicas for _, _, owner, *replicas in lines)
                and "state=online" in self.nodes[primary].ask("INFO", "replication").decode())

    def fail_over(self, primary: int) -> float:
        """Lets its replica take over, nothing lost; the seconds until all nodes know."""
        replica, started = self.replica_of(primary), time.monotonic()
        expect_equal(self.nodes[replica].ask("CLUSTER", "FAILOVER"), b"OK", "CLUSTER FAILOVER")
        self.wait_for_owner(replica)
        return time.monotonic() - started

    def kill(self, primary: int) -> "Kill":
        replica = self.replica_of(primary)
        self.machine.servers[primary].popen.send_signal(signal.SIGKILL)
        self.machine.servers[primary].popen.wait()
        return Kill(self, primary, replica, time.monotonic())

    def restart(self, port: int) -> None:
        """Starts a node again that has ended, with its files."""
        words = self.machine.servers[port].popen.args
        self.machine.servers[port] = self.machine.start(words, f"redis-{port}")
        wait_until(f"redis-server on {port}", 20, lambda: "PONG" in redis_cli(port, "ping"))
        self.nodes[port] = Connection(port)

    def wait_for_owner(self, primary: int) -> None:
        wait_until(f"{primary} to have slots in the eyes of all", FAILOVER_SECONDS,
                   lambda: all(primary in self.owners(port) for port in self.alive()))

    def move_slot(self, slot: int, source: int, target: int, between=lambda: None) -> float:
        """As redis-cli does it; returns when the last of the nodes that matter was told. Calls
        `between` between the steps."""
        ids = {port: self.id_of(port) for port in (source, target)}

        def done(port: int, *words) -> None:
            expect_equal(self.nodes[port].ask(*words), b"OK", f"the reply of {port} to {words}")
            between()

        done(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        done(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        while keys := self.nodes[source].ask("CLUSTER", "GETKEYSINSLOT", slot, MIGRATE_KEYS):
            done(source, "MIGRATE", HOST, target, "", 0, 5000, "KEYS", *keys)
        done(target, "CLUSTER", "SETSLOT", slot, "NODE", ids[target])
        expect_equal(self.nodes[source].ask("CLUSTER", "SETSLOT", slot, "NODE", ids[target]), b"OK",
                     "the end of the move")
        moved = time.monotonic()
        for port in set(self.primaries()) - {source, target}:
            done(port, "CLUSTER", "SETSLOT", slot, "NODE", ids[target])
        return moved

    def start_reshard(self, source: int, target: int, slots: int) -> Program:
        """redis-cli moving slots, under way."""
        wait_until_agreed(source)
        return self.machine.start(reshard_command(
            source, self.id_of(source), self.id_of(target), slots, MIGRATE_KEYS), "reshard")


class Kill:
    """A primary that was killed, and the replica that is to follow it."""

    def __init__(self, cluster: Cluster, primary: int, replica: int, at: float) -> None:
        self.cluster = cluster
        self.primary = primary
        self.replica = replica
        self.at = at

    def over(self) -> bool:
        """Whether every node knows of the new primary."""
        with contextlib.suppress(LookupError):
            return all(self.replica in self.cluster.owners(port) for port in self.cluster.alive())
        return False

    def wait(self) -> float:
        """The seconds that it took."""
        wait_until("the failover", FAILOVER_SECONDS, self.over)
        return time.monotonic() - self.at


def move_slots(source: int, target: int, slots: int, pipeline: int) -> None:
    wait_until_agreed(source)
    ids = [redis_cli(port, "cluster", "myid") for port in (source, target)]
    moved = run(reshard_command(source, *ids, slots, pipeline), 300)
    check_reshard(moved.returncode, moved.stdout, moved.stderr, slots)


def reshard_command(entry: int, source: str, target: str, slots: int, pipeline: int) -> list:
    return [
        "redis-cli", "--cluster", "reshard", f"{HOST}:{entry}", "--cluster-from", source,
        "--cluster-to", target, "--cluster-slots", slots, "--cluster-pipeline", pipeline,
        "--cluster-yes",
    ]


def check_reshard(status: int, output: str, errors: str, slots: int) -> None:
    expect_equal(status, 0, f"{output[-300:]}{errors}: status of reshard")
    count = output.count("Moving slot ")
    expect(count >= slots, f"{count} slots moved, {slots} were asked for")


def slot_of(key: bytes) -> int:
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1:end]
    return binascii.crc_hqx(key, 0) % SLOTS


def own_key(owners: list[int], port: int) -> bytes:
    """A key whose slot a node serves."""
    for number in range(1_000_000):
        key = b"own:%d" % number
        if owners[slot_of(key)] == port:
            return key
    raise LookupError(f"{port} has no slots")


def store(cluster: Cluster, keys: list[bytes], value: bytes = b"x") -> None:
    """Stores keys directly at their nodes, many in one write."""
    owners = cluster.owners()
    requests: dict[int, list[bytes]] = {port: [] for port in cluster.primaries()}
    for key in keys:
        requests[owners[slot_of(key)]].append(command(b"SET", key, value))
    for port, lines in requests.items():
        node = cluster.nodes[port]
        for first in range(0, len(lines), 10_000):
            part = lines[first:first + 10_000]
            node.send(b"".join(part))
            expect_equal(node.reader.read(5 * len(part)), b"+OK\r\n" * len(part), "replies to SET")


def stopped(program: Program, seconds: float) -> int:
    """The exit status of what ends by itself."""
    try:
        return program.wait(seconds)
    except subprocess.TimeoutExpired:
        return program.end()
