"""A17, A18, A20 and A21: nobody there at the start, all nodes replaced, all gone for a minute, and
nodes that say no."""

import contextlib
import os
import re
import threading
import time

from cluster import own_key
from harness import HOST, Proxy, expect_equal, redis_cli, run, wait_until
from load import Load, address
from measure import cpu_seconds
from nodes import Nodes
from resp import Connection, Error
from table import ms, worst
from trial import Trial

KEPT = ("--appendonly", "yes")
DOWN_SECONDS = 60.0
HOLD_MS = 5000


def late(trial: Trial) -> None:
    """A17: the proxy starts while all nodes are down; they come later."""
    seconds = 6.0 if trial.quick else 25.0
    with trial.cluster(300, 2000, *KEPT) as (machine, nodes):
        primaries = nodes.primaries()
        for port in nodes.ports:
            nodes.stop(port)
        proxy = trial.proxy(machine, nodes, ready=False,
                            seeds=[address(port) for port in nodes.ports])
        time.sleep(seconds)
        ready = proxy.get("/ready")[0]
        lines = len(proxy.program.errors.splitlines())
        cpu = cpu_seconds([proxy.program.pid])
        for port in nodes.ports:
            nodes.start_again(port)
        up = wait_ok(primaries)
        wait_until("/ready", 30, lambda: proxy.get("/ready")[0] == 200)
        took = time.monotonic() - up
    trial.table.add("A17", f"all nodes down for {seconds:.0f} s at the start",
                    "not ready; a line of log in 10 s; CPU < 2 %",
                    f"/ready {ready}, {lines} lines, CPU {cpu / seconds:.1%}",
                    ready == 503 and lines <= 4 + seconds / 5 and cpu / seconds < 0.02)
    trial.table.add_time("A17", "the nodes come", "ready ≤ 1 s after the cluster is",
                    f"{took:+.2f} s", took <= 1)


def wait_ok(ports: list[int]) -> float:
    """When all of these nodes said that the cluster is whole."""
    for port in ports:
        wait_until("cluster_state:ok", 60,
                   lambda: "cluster_state:ok" in redis_cli(port, "cluster", "info"))
    return time.monotonic()


def replaced(trial: Trial) -> None:
    """A18: each of the six nodes is replaced by a new one at another port, under load."""
    with trial.cluster(900) as (machine, nodes):
        old = list(nodes.ports)
        proxy = trial.proxy(machine, nodes, seeds=[address(old[0])])
        load = trial.load(machine, nodes, proxy)
        started = time.time()
        primaries = nodes.primaries()
        for port in [port for port in old if port not in primaries] + primaries:
            replace(nodes, port)
        load.window("replacing", started, time.time())
        expect_equal(sorted(set(nodes.alive()) & set(old)), [], "old nodes that are left")
        # What the proxy knows now it can only have from new nodes.
        new = nodes.primaries()[0]
        at = time.time()
        nodes.hand_over(new)
        time.sleep(1.5)
        load.window("after", at, time.time())
        report = load.finish()
        report.show()
        nodes.check()
    longest = worst(shard["stall_ms"] for shard in report.window("replacing")["shards"])
    clean = not report.error_count() and not report.faults
    trial.table.add("A18", "all six nodes replaced, one by one; the seed is gone",
                    "0 errors, 0 lost", f"errors: {report.all_errors()}; {report.verdict()};"
                    f" longest stall {ms(longest)}", clean)
    after = report.shard("after", 0)
    trial.table.add_time("A18", "a failover among the new nodes", "worst latency ≤ 60 ms",
                    ms(after["max_ms"]), after["max_ms"] <= 60)


def replace(nodes: Nodes, port: int) -> None:
    """A new node joins, copies what the old one has, takes its place, and the old one goes."""
    machine = nodes.machine
    fresh = machine.redis_servers(machine.ports(1, bus=True), 1, "--cluster-node-timeout",
                                  nodes.node_timeout, "--enable-debug-command", "yes",
                                  "--repl-diskless-sync-delay", "0", "--maxclients", "20000")[0]
    nodes.nodes[fresh] = Connection(fresh)
    gone = nodes.id_of(port)
    primary = port if not nodes.is_replica(port) else primary_of(nodes, port)
    nodes.nodes[fresh].ask("CLUSTER", "MEET", HOST, primary)
    nodes.ports.append(fresh)
    wait_until("the new node to be known", 30, lambda: knows(nodes, fresh))
    expect_equal(nodes.nodes[fresh].ask("CLUSTER", "REPLICATE", nodes.id_of(primary)), b"OK",
                 "CLUSTER REPLICATE")
    wait_until("the copy", 30, lambda: "master_link_status:up" in
               redis_cli(fresh, "info", "replication"))
    if primary == port:
        wait_until("all to know whose replica it is", 30, lambda: follows(nodes, fresh, primary))
        expect_equal(nodes.nodes[fresh].ask("CLUSTER", "FAILOVER"), b"OK", "CLUSTER FAILOVER")
        nodes.wait_for_owner(fresh)
    # All must forget within a minute, or gossip brings the node back.
    for other in nodes.ports:
        if other != port:
            nodes.nodes[other].ask("CLUSTER", "FORGET", gone)
    nodes.stop(port)
    nodes.ports.remove(port)
    wait_until("agreement", 30, lambda: run(
        ["redis-cli", "--cluster", "check", address(fresh)], 30).returncode == 0)


def knows(nodes: Nodes, fresh: int) -> bool:
    """Whether the new node and all others know each other."""
    name = nodes.id_of(fresh).encode()
    count = len(nodes.alive())
    return all(name in nodes.nodes[port].ask("CLUSTER", "NODES") for port in nodes.alive()) and (
        nodes.nodes[fresh].ask("CLUSTER", "NODES").count(b"connected") >= count)


def follows(nodes: Nodes, fresh: int, primary: int) -> bool:
    """Whether all nodes see one as the replica of another."""
    line = re.compile(f"{nodes.id_of(fresh)} .*slave {nodes.id_of(primary)} .* connected")
    return all(line.search(nodes.nodes[port].ask("CLUSTER", "NODES").decode())
               for port in nodes.alive())


def primary_of(nodes: Nodes, replica: int) -> int:
    found = re.search(r"master_port:(\d+)", redis_cli(replica, "info", "replication"))
    return int(found[1])


def all_down(trial: Trial) -> None:
    """A20: all nodes are down for a minute, and come back with their data."""
    down = 15.0 if trial.quick else DOWN_SECONDS
    with trial.cluster(400, 2000, *KEPT) as (machine, nodes):
        proxy = trial.proxy(machine, nodes, hold_timeout_ms=HOLD_MS)
        load = trial.load(machine, nodes, proxy)
        primaries = nodes.primaries()
        before = rss_mib(proxy)
        at = time.time()
        for port in nodes.ports:
            machine.servers[port].popen.terminate()
        for port in nodes.ports:
            nodes.stop(port)
        failed = proxy.metric("slotway_backend_connects_failed_total")
        gone = time.time()
        time.sleep(down)
        attempts = proxy.metric("slotway_backend_connects_failed_total") - failed
        most = rss_mib(proxy)
        for port in nodes.ports:
            nodes.start_again(port)
        wait_ok(primaries)
        ok = time.time()
        time.sleep(4.0)
        load.window("down", at, gone + down)
        load.window("later", gone + HOLD_MS / 1000 + 1, gone + down)
        load.window("back", ok, ok + 4)
        report = load.finish()
        report.show()
    judge_down(trial, report, down, attempts, (before, most))


def judge_down(trial: Trial, report, down: float, attempts: float,
               memory: tuple[float, float]) -> None:
    what = f"all six nodes down for {down:.0f} s"
    later = report.window("later")["shards"]
    refused = sum(shard["read_errors"] + shard["write_errors"] for shard in later)
    longest = worst(shard["stall_ms"] for shard in report.window("down")["shards"])
    first = [shard["first_ms"] for shard in report.window("back")["shards"]]
    trial.table.add("A20", what, "memory stays bounded", f"{memory[0]:.0f} to {memory[1]:.0f} MiB",
                    memory[1] <= memory[0] + 64)
    trial.table.add("A20", what, "errors, not silence, after the hold limit",
                    f"{refused} errors after it; without success {ms(longest)}", refused > 0)
    rate = attempts / down / 6 / trial.options.workers
    trial.table.add("A20", what, "≤ 1 connect attempt per second, node and worker",
                    f"{rate:.2f} ({attempts:.0f} in all)", rate <= 1)
    trial.table.add("A20", what, "full service ≤ 1 s after cluster_state:ok",
                    ", ".join("never" if one is None else ms(one) for one in first),
                    all(one is not None and one <= 1000 for one in first))
    trial.table.add("A20", what, "0 lost, doubled, stale", report.verdict(), not report.faults)


def rss_mib(proxy: Proxy) -> float:
    with open(f"/proc/{proxy.program.pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE") / (1 << 20)


def says_no(trial: Trial) -> None:
    """A21: what a node may answer instead of serving: some is waited for, the rest passed on."""
    with trial.cluster(300) as (machine, nodes):
        proxy = trial.proxy(machine, nodes)
        primary = nodes.primaries()[0]
        key = own_key(nodes.owners(), primary)
        with Connection(proxy.port) as client:
            client.ask("SET", key, "x")
            for name, begin, words, end in REFUSALS:
                compare(trial, nodes, primary, client, key, (name, begin, words, end))
            loading(trial, nodes, primary, client, key)
            busy(trial, nodes, primary, client, key)


# name | what makes the node refuse | a command, KEY stands for the key | what ends it
REFUSALS = (
    ("OOM", ("CONFIG", "SET", "maxmemory", "1"), ("SET", "KEY", "y"),
     ("CONFIG", "SET", "maxmemory", "0")),
    ("NOREPLICAS", ("CONFIG", "SET", "min-replicas-to-write", "5"), ("SET", "KEY", "y"),
     ("CONFIG", "SET", "min-replicas-to-write", "0")),
    ("NOPERM", ("ACL", "SETUSER", "default", "-append"), ("APPEND", "KEY", "y"),
     ("ACL", "SETUSER", "default", "+append")),
)


def compare(trial: Trial, nodes: Nodes, primary: int, client: Connection, key: bytes,
            case: tuple) -> None:
    """The proxy's answer must be the node's, byte for byte."""
    name, begin, words, end = case
    node = nodes.nodes[primary]
    words = [key if word == "KEY" else word for word in words]
    node.ask(*begin)
    try:
        got, expected = client.ask(*words), node.ask(*words)
    finally:
        node.ask(*end)
    trial.table.add("A21", name, f"passed on: {expected}", str(got),
                    isinstance(expected, Error) and expected.startswith(name) and got == expected)


def loading(trial: Trial, nodes: Nodes, primary: int, client: Connection, key: bytes) -> None:
    """A node that loads its data: waited for."""
    with Connection(primary) as other, Connection(primary) as looking:
        for number in range(200):
            nodes.nodes[primary].ask("SET", b"{%s}%d" % (key, number), "x" * 100)
        other.ask("CONFIG", "SET", "loading-process-events-interval-bytes", "1024")
        other.ask("CONFIG", "SET", "key-load-delay", "5000")
        thread = threading.Thread(target=lambda: other.ask("DEBUG", "RELOAD"), daemon=True)
        thread.start()
        wait_until("LOADING", 10, lambda: str(looking.ask("GET", key)).startswith("LOADING"))
        at = time.monotonic()
        got = [client.ask("GET", key), client.ask("SET", key, "z"), client.ask("GET", key)]
        took = time.monotonic() - at
        thread.join(20)
        other.ask("CONFIG", "SET", "key-load-delay", "0")
    trial.table.add("A21", "LOADING", "waited for: the value, OK, the new value",
                    f"{got} after {took:.2f} s",
                    got[1:] == [b"OK", b"z"] and not isinstance(got[0], Error) and took > 0.1)


def busy(trial: Trial, nodes: Nodes, primary: int, client: Connection, key: bytes) -> None:
    """A node busy with a script: its answer is passed on, as it may stay so."""
    node = nodes.nodes[primary]
    limit = redis_cli(primary, "config", "get", "busy-reply-threshold").split()[-1]
    node.ask("CONFIG", "SET", "busy-reply-threshold", "50")
    script = "while true do redis.call('GET', KEYS[1]) end"
    with Connection(primary) as running, Connection(primary) as looking:
        thread = threading.Thread(target=lambda: running.ask("EVAL", script, 1, key), daemon=True)
        thread.start()
        try:
            wait_until("BUSY", 10, lambda: str(looking.ask("GET", key)).startswith("BUSY"))
            got, expected = client.ask("GET", key), looking.ask("GET", key)
        finally:
            with contextlib.suppress(OSError):
                looking.ask("SCRIPT", "KILL")
        thread.join(10)
        looking.ask("CONFIG", "SET", "busy-reply-threshold", limit)
    trial.table.add("A21", "BUSY", f"passed on: {expected}", str(got), got == expected)
