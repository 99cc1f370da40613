"""Connections to one primary that break, stall and crumble in every way, while its node is well."""

import time
from dataclasses import dataclass

from faulty import front
from load import Report, address
from table import ms, worst
from trial import Trial

# The node itself never fails here, so nobody may take it for dead.
NODE_TIMEOUT = 30_000
AFTER_SECONDS = 2.5
# What a fault may cost besides the time that it lasts: a node that could not be reached again and
# again is tried once in a second.
MORE_MS = 1100


@dataclass(frozen=True)
class Fault:
    name: str
    line: str
    seconds: float
    # Whether requests may be lost on their way, so that writes may end as 'result unknown'.
    loses: bool
    # Whether nothing passes while it lasts.
    stops: bool = False


FAULTS = (
    Fault("replies 20 to 40 ms late", "latency 20 20 down", 2, False),
    Fault("one byte at a time, both ways", "split 1", 2, False),
    Fault("200 KB in a second", "rate 200000", 2, False),
    Fault("stalled for 2 s", "stall", 2, False, stops=True),
    Fault("replies stalled for 2 s", "stall down", 2, False, stops=True),
    Fault("all connections reset", "reset", 0, True),
    # Not for long: what is longer than that can't get through, nor what waits behind it.
    Fault("reset after 5000 bytes of replies", "cut 5000 down", 0.2, True, stops=True),
    Fault("reset after 700 bytes of requests", "cut 700 up", 0.2, True, stops=True),
    Fault("the node's side ends", "half-close down", 0, True),
    Fault("the proxy's side ends", "half-close up", 0, True),
    Fault("replies that are none", "corrupt 0 down", 1, True, stops=True),
    Fault("refused for 2 s", "refuse", 2, True, stops=True),
    Fault("taken and never answered, for 3 s", "blackhole", 3, True, stops=True),
)


def broken(trial: Trial) -> None:
    """Links: each way in which a connection can break, one after the other."""
    with trial.cluster(400, NODE_TIMEOUT, replicas=0) as (machine, nodes):
        victim = nodes.primaries()[0]
        faulty, known = front(machine, nodes)
        proxy = trial.proxy(machine, nodes, seeds=[address(known[victim])])
        load = trial.load(machine, nodes, proxy)
        for number, fault in enumerate(FAULTS):
            at = time.time()
            faulty.say(f"{victim} {fault.line}")
            time.sleep(fault.seconds)
            if fault.seconds:
                faulty.say(f"{victim} pass")
            over = time.time()
            time.sleep(AFTER_SECONDS)
            faulty.say(f"{victim} pass")
            load.window(f"l{number}", at, time.time())
            load.window(f"o{number}", over, time.time())
        report = load.finish()
        report.show()
    for number, fault in enumerate(FAULTS):
        judge(trial, report, fault, number)
    trial.table.add("links", "all of them", "0 lost, doubled, reordered, stale, wrong",
                    report.verdict(), not report.faults)


def judge(trial: Trial, report: Report, fault: Fault, number: int) -> None:
    shard = report.shard(f"l{number}", 0)
    writes, unknown, reads = (shard[name] for name in
                              ("write_errors", "writes_unknown", "read_errors"))
    others = report.others(f"l{number}", 0)
    healthy = sum(one["read_errors"] + one["write_errors"] for one in others)
    most = trial.in_flight_max() if fault.loses else 0
    wanted = "0 errors" if not most else f"0 read errors, up to {most} writes 'result unknown'"
    trial.table.add("links", fault.name, f"{wanted}; other shards 0",
                    f"{reads} reads, {writes} writes, {unknown} of them unknown; other shards"
                    f" {healthy}",
                    not reads and not healthy and writes == unknown <= most)
    first = report.shard(f"o{number}", 0)["first_ms"]
    lasts = fault.seconds * 1000 if fault.stops else 0
    trial.table.add_time(
        "links", fault.name, f"stall ≤ {ms(lasts + MORE_MS)}; other shards ≤ 250 ms",
        f"{ms(shard['stall_ms'])}; other shards {ms(worst(one['stall_ms'] for one in others))};"
        f" served {'never' if first is None else ms(first)} after the fault",
        shard["stall_ms"] <= lasts + MORE_MS and all(one["stall_ms"] <= 250 for one in others),
        first is not None)
