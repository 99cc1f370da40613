"""A7 and A8: all nodes are restarted one after the other."""

import time

from load import Load
from nodes import Nodes
from table import ms, worst
from trial import Trial

SPACING = 4.4


def rolling(trial: Trial) -> None:
    """A7: replicas first, then each primary after it has handed over."""
    with trial.cluster(600) as (machine, nodes):
        proxy = trial.proxy(machine, nodes)
        load = trial.load(machine, nodes, proxy)
        primaries = nodes.primaries()
        started = time.time()
        for port in list(nodes.ports):
            if port not in primaries:
                restart(nodes, port)
        for shard, port in enumerate(primaries):
            at = time.time()
            nodes.hand_over(port)
            time.sleep(1.0)
            load.window(f"f{shard}", at, time.time())
            nodes.settle()
            restart(nodes, port)
        load.window("rolling", started, time.time())
        report = load.finish()
        report.show()
        nodes.check()
    stalls = [report.shard(f"f{shard}", shard)["stall_ms"] for shard in range(3)]
    longest = [shard["stall_ms"] for shard in report.window("rolling")["shards"]]
    clean = not report.error_count() and not report.faults
    what = "rolling restart of all six nodes"
    trial.table.add("A7", what, "0 errors, 0 lost",
                    f"errors: {report.all_errors()}; {report.verdict()}", clean)
    trial.table.add_time("A7", what, "stall at the three failovers together ≤ 180 ms",
                    f"{ms(sum(stalls))} ({', '.join(ms(stall) for stall in stalls)}); longest of"
                    f" all {ms(worst(longest))}", sum(stalls) <= 180)


def terminated(trial: Trial) -> None:
    """A8: SIGTERM without a failover; each primary's death is as a kill."""
    with trial.cluster(900) as (machine, nodes):
        proxy = trial.proxy(machine, nodes)
        load = trial.load(machine, nodes, proxy)
        with trial.direct(nodes) as direct:
            rounds = [terminate(nodes, load, direct, shard)
                      for shard in range(1 if trial.quick else 3)]
        report = load.finish()
        report.show()
        nodes.check()
    shards = [report.shard(f"t{shard}", shard) for shard, _ in rounds]
    errors = [(one["read_errors"], one["write_errors"], one["writes_unknown"]) for one in shards]
    # A server that ends lets writes wait for its replica before it goes.
    most = trial.in_flight_max()
    more = [one["write_stall_ms"] - direct for one, (_, direct) in zip(shards, rounds)]
    healthy = sum(one["read_errors"] + one["write_errors"] for shard, _ in rounds
                  for one in report.others(f"t{shard}", shard))
    what = f"{len(rounds)} × SIGTERM of a primary"
    trial.table.add(
        "A8", what, f"0 read errors; of writes only those under way ({most} at most, each time),"
        " as 'result unknown'; healthy shards 0",
        f"{sum(one[0] for one in errors)} read errors; {sum(one[1] for one in errors)} write"
        f" errors, {sum(one[2] for one in errors)} of them unknown; {healthy} at healthy shards",
        not healthy and all(not one[0] and one[1] == one[2] <= most for one in errors))
    trial.table.add_time("A8", what, "stall ≤ direct client + 100 ms",
                    f"{ms(worst(one['write_stall_ms'] for one in shards))}, direct client"
                    f" {ms(worst(direct for _, direct in rounds))}", worst(more) <= 100)
    trial.table.add("A8", what, "0 lost", report.verdict(), not report.faults)


def terminate(nodes: Nodes, load: Load, direct, shard: int) -> tuple[int, float]:
    port = nodes.primaries()[shard]
    replica = nodes.replica_of(port)
    at = time.time()
    nodes.stop(port)
    nodes.wait_replaced(port, replica)
    time.sleep(1.0)
    end = time.time()
    load.window(f"t{shard}", at, end)
    load.loss(shard, at)
    stall = direct.stall_ms(shard, at, end)
    restart(nodes, port, stop=False)
    time.sleep(SPACING * nodes.node_timeout / 1000 / 3)
    return shard, stall


def restart(nodes: Nodes, port: int, stop: bool = True) -> None:
    if stop:
        nodes.stop(port)
    nodes.restart(port)
    nodes.wait_whole()
