"""A9 to A11: slots that move under load."""

import re
import time

from cluster import move_slots
from harness import HOST, Proxy, expect_equal
from measure import cpu_seconds
from nodes import Nodes
from resp import Connection
from table import ms, worst
from trial import Trial

# Of each of the three primaries a third of its slots, which is a third of all.
SLOTS = 1820
KINDS = ("moved", "ask", "later")
# Slots of the storm, and how long they stay half moved.
HALF_MOVED = 1000
STORM_SECONDS = 30.0
# What can't be served while its keys are at two nodes gets an error after this time.
STORM_HOLD_MS = 2000
MONITOR_SECONDS = 3.0


def moved(trial: Trial) -> None:
    """A9: a third of the slots to other nodes and back, under everything the load does."""
    rounds = trial.rounds(1, 1)
    slots = 200 if trial.quick else SLOTS
    with trial.cluster(900 * rounds) as (machine, nodes):
        proxy = trial.proxy(machine, nodes)
        load = trial.load(machine, nodes, proxy, big_every=200)
        ports = nodes.primaries()
        pairs = [(ports[shard], ports[(shard + 1) % 3]) for shard in range(3)]
        with trial.direct(nodes) as direct:
            quiet = time.time()
            time.sleep(3.0)
            started = time.time()
            for _ in range(rounds):
                for source, target in pairs:
                    move_slots(source, target, slots, 10)
                for source, target in reversed(pairs):
                    move_slots(target, source, slots, 10)
            ended = time.time()
        load.window("before", quiet, started)
        load.window("moves", started, ended)
        least = [direct.latency_ms(part, *span) for part in (0.99, 1.0)
                 for span in ((quiet, started), (started, ended))]
        report = load.finish()
        report.show()
        nodes.check()
        redirects = [] if trial.peer else redirects_of(proxy)
    shards = report.window("moves")["shards"]
    growth = [now["p99_ms"] - before["p99_ms"]
              for now, before in zip(shards, report.window("before")["shards"])]
    what = f"{rounds} × {3 * slots} slots moved and moved back"
    clean = not report.error_count() and not report.faults
    trial.table.add("A9", what, "0 errors, 0 lost, 0 doubled",
                    f"errors: {report.all_errors()}; {report.verdict()}; redirects"
                    f" {', '.join(redirects)}", clean)
    own = report.own_growth("before", "moves")
    more = worst(growth) - max(0.0, least[1] - least[0]) - own
    trial.table.add_time(
        "A9", what, "p99 + 5 ms at most beside what a direct client and the load itself add",
        f"p99 {worst(growth):+.1f} ms; direct client {ms(least[0])} before, {ms(least[1])} then;"
        f" the load {own:+.1f} ms", more <= 5)
    longest = worst(one["max_ms"] for one in shards)
    trial.table.add_time("A9", what, "worst latency ≤ 250 ms",
                    f"{ms(longest)}; direct client {ms(least[2])} before, {ms(least[3])} then",
                    longest <= 250)


def redirects_of(proxy: Proxy) -> list[str]:
    names = [f'slotway_redirects_total{{kind="{kind}"}}' for kind in KINDS]
    return [f"{proxy.metric(name):.0f} {kind}" for name, kind in zip(names, KINDS)]


def half_moved(trial: Trial) -> None:
    """A10, A11: a thousand slots stay half moved, each key of a tag at one node or the other."""
    seconds = 8.0 if trial.quick else STORM_SECONDS
    with trial.cluster(600) as (machine, nodes):
        proxy = trial.proxy(machine, nodes, hold_timeout_ms=STORM_HOLD_MS)
        load = trial.load(machine, nodes, proxy, big_every=0)
        source, target = nodes.primaries()[:2]
        pids = nodes.pids()
        before, used = time.time(), cpu_seconds(pids)
        time.sleep(6.0)
        calm = (cpu_seconds(pids) - used) / 6.0
        slots = slots_with_keys_first(nodes, source)[:HALF_MOVED]
        split = open_slots(nodes, source, target, slots)
        started, used = time.time(), cpu_seconds(pids)
        asks = watch_asking(target)
        time.sleep(max(0.0, started + seconds - time.time()))
        stormy = (cpu_seconds(pids) - used) / (time.time() - started)
        load.window("before", before, before + 6)
        load.window("storm", started, time.time())
        close_slots(nodes, source, target, slots)
        at = time.time()
        time.sleep(3.0)
        load.window("after", at + 1, time.time())
        retries = [] if trial.peer else redirects_of(proxy)
        report = load.finish()
        report.show()
        nodes.check()
    what = f"{len(slots)} slots half moved for {seconds:.0f} s, {split} with keys at both nodes"
    judge_storm(trial, report, what, retries, (calm, stormy))
    adjacent, alone = asks
    trial.table.add("A11", "ASKING at the importing node", "each followed by its command",
                    f"{adjacent} were, {alone} were not", adjacent > 0 and not alone)


def judge_storm(trial: Trial, report, what: str, retries: list[str],
                cpu: tuple[float, float]) -> None:
    leaked = {text: count for text, count in report.errors.items()
              if not re.search(r"write: (EVAL|EXEC|MSET): .*TRYAGAIN", text)}
    trial.table.add("A10", what, "no errors but TRYAGAIN for what stays split",
                    f"errors: {report.all_errors()}; redirects {', '.join(retries)}", not leaked)
    trial.table.add("A10", what, "0 lost, doubled, torn", report.verdict(), not report.faults)
    others = [(now["p99_ms"], before["p99_ms"]) for now, before in
              zip(report.others("storm", 0), report.others("before", 0))]
    trial.table.add_time("A10", "other shards meanwhile", "p99 + 5 ms at most",
                    ", ".join(f"{ms(before)} to {ms(now)}" for now, before in others),
                    all(now - before <= 5 + report.own_growth("before", "storm")
                        for now, before in others))
    trial.table.add_time("A10", "CPU of the nodes", "≤ 2 × what it was",
                    f"{cpu[0]:.2f} to {cpu[1]:.2f}", cpu[1] <= 2 * cpu[0])
    after = report.window("after")["shards"]
    errors = sum(shard["read_errors"] + shard["write_errors"] for shard in after)
    trial.table.add("A10", "when the moves are over", "0 errors", f"{errors}", not errors)


def slots_with_keys_first(nodes: Nodes, source: int) -> list[int]:
    owned = [slot for slot, owner in enumerate(nodes.owners()) if owner == source]
    node = nodes.nodes[source]
    counts = {slot: node.ask("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in owned}
    return sorted(owned, key=lambda slot: (-counts[slot], slot))


def open_slots(nodes: Nodes, source: int, target: int, slots: list[int]) -> int:
    """Moves every other key; returns in how many slots keys are at both nodes then."""
    ids = {port: nodes.id_of(port) for port in (source, target)}
    split = 0
    for slot in slots:
        done(nodes, target, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        done(nodes, source, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        keys = sorted(nodes.nodes[source].ask("CLUSTER", "GETKEYSINSLOT", slot, 1000))
        if keys[::2]:
            done(nodes, source, "MIGRATE", HOST, target, "", 0, 5000, "KEYS", *keys[::2])
        split += len(keys) > 1
    return split


def close_slots(nodes: Nodes, source: int, target: int, slots: list[int]) -> None:
    name = nodes.id_of(target)
    for slot in slots:
        while keys := nodes.nodes[source].ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            done(nodes, source, "MIGRATE", HOST, target, "", 0, 5000, "KEYS", *keys)
        for port in (target, source, *(set(nodes.primaries()) - {source, target})):
            done(nodes, port, "CLUSTER", "SETSLOT", slot, "NODE", name)


def done(nodes: Nodes, port: int, *words) -> None:
    answer = nodes.nodes[port].ask(*words)
    if answer != b"NOKEY":
        expect_equal(answer, b"OK", f"the reply of {port} to {words[:4]}")


def watch_asking(port: int) -> tuple[int, int]:
    """How many ASKING a node saw with another request behind them, and without, by connection."""
    last: dict[bytes, bool] = {}
    adjacent = alone = 0
    end = time.monotonic() + MONITOR_SECONDS
    with Connection(port) as node:
        node.send(b"MONITOR\r\n")
        node.reply()
        while time.monotonic() < end:
            found = re.match(rb"\S+ \[\d+ (\S+)\] \"(\w+)\"", node.reply())
            if not found or found[1] == b"lua":
                continue
            asking = found[2].lower() == b"asking"
            if last.get(found[1]):
                alone += asking
                adjacent += not asking
            last[found[1]] = asking
    return adjacent, alone
