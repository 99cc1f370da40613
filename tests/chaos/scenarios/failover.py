"""A1 to A5: primaries that hand over, die or stand still."""

import time

from load import Direct, Load, Report
from measure import median
from nodes import Nodes, knows_setting
from table import ms, worst
from trial import Trial

# Redis 7.0 refuses a second election of one shard within four node timeouts.
SPACING = 4.4
FAILOVER_WINDOW = 2.0
WORST_PLANNED_MS = 60
STOPPED_MS = 4200
# How much longer than a direct client's a pause may be on a machine that is busy with other things.
MORE_THAN_DIRECT_MS = 15
# How long after the kill of a primary figures are still of its failover, besides what the nodes
# take to notice.
AFTER_KILL = 4.0


def planned(trial: Trial) -> None:
    """A1: CLUSTER FAILOVER, spaced so that each election may succeed at once."""
    rounds = trial.rounds(20, 3)
    with trial.cluster(900) as (machine, nodes):
        proxy = trial.proxy(machine, nodes)
        load = trial.load(machine, nodes, proxy)
        primaries = nodes.primaries()
        last = [0.0] * len(primaries)
        with trial.direct(nodes) as direct:
            stalls = []
            for number in range(rounds):
                shard = number % len(primaries)
                rest(last[shard] + SPACING * nodes.node_timeout / 1000)
                last[shard] = time.time()
                stalls.append(hand_over(nodes, load, direct, primaries, shard, f"f{number}"))
        report = load.finish()
        report.show()
        nodes.wait_whole()
        nodes.check()
        judge_planned(trial, report, stalls)


def hand_over(nodes: Nodes, load: Load, direct: Direct, primaries: list[int], shard: int,
              name: str) -> dict:
    time.sleep(FAILOVER_WINDOW)
    started = time.time()
    load.window(f"before-{name}", started - FAILOVER_WINDOW, started)
    primaries[shard] = nodes.hand_over(primaries[shard])
    time.sleep(max(0.0, started + FAILOVER_WINDOW - time.time()))
    ended = started + FAILOVER_WINDOW
    load.window(name, started, ended)
    others = [other for other in range(len(primaries)) if other != shard]
    before = direct.latency_ms(0.99, started - FAILOVER_WINDOW, started, others)
    return {"name": name, "shard": shard, "direct": direct.stall_ms(shard, started, ended),
            "others": direct.latency_ms(0.99, started, ended, others) - before}


def judge_planned(trial: Trial, report: Report, rounds: list[dict]) -> None:
    latencies = [report.shard(one["name"], one["shard"])["max_ms"] for one in rounds]
    stalls = [report.shard(one["name"], one["shard"])["stall_ms"] for one in rounds]
    delays = [report.window(one["name"])["own_delay_ms"] for one in rounds]
    direct = [one["direct"] for one in rounds]
    more = [latency - max(WORST_PLANNED_MS, least + MORE_THAN_DIRECT_MS)
            for latency, least in zip(latencies, direct)]
    growth = [now["p99_ms"] - before["p99_ms"] for one in rounds
              for now, before in zip(report.others(one["name"], one["shard"]),
                                     report.others(f"before-{one['name']}", one["shard"]))]
    least = median([one["others"] for one in rounds])
    own = median([report.own_growth(f"before-{one['name']}", one["name"]) for one in rounds])
    what = f"{len(rounds)} × CLUSTER FAILOVER"
    clean = not report.error_count() and not report.faults
    trial.table.add("A1", what, "0 errors, 0 lost",
                    f"errors: {report.all_errors()}; {report.verdict()}", clean)
    trial.table.add_time(
        "A1", what, f"worst latency ≤ {WORST_PLANNED_MS} ms, or a direct client's"
        f" + {MORE_THAN_DIRECT_MS} ms",
        f"median {ms(median(latencies))}, worst {ms(worst(latencies))} (stall {ms(worst(stalls))});"
        f" direct client median {ms(median(direct))}, worst {ms(worst(direct))}; the load was late"
        f" by up to {ms(worst(delays))}", worst(more) <= 0)
    trial.table.add_time("A1", "the other shards meanwhile",
                    "p99 + 1 ms at most beside what a direct client and the load itself add",
                    f"median {median(growth):+.2f} ms, {min(growth):+.2f} to"
                    f" {worst(growth):+.2f} ms; direct client {least:+.2f} ms, the load"
                    f" {own:+.2f} ms", median(growth) <= 1 + max(0.0, least) + own)


def hurried(trial: Trial) -> None:
    """A2: the same shard again before its nodes allow it."""
    rounds = trial.rounds(10, 2)
    with trial.cluster(600) as (machine, nodes):
        proxy = trial.proxy(machine, nodes)
        load = trial.load(machine, nodes, proxy)
        primaries = nodes.primaries()
        with trial.direct(nodes) as direct:
            stalls = [hand_over(nodes, load, direct, primaries, 0, f"f{number}")
                      for number in range(rounds)]
        report = load.finish()
        report.show()
        nodes.wait_whole()
        latencies = [report.shard(one["name"], one["shard"])["max_ms"] for one in stalls]
        clean = not report.error_count() and not report.faults
        trial.table.add(
            "A2", f"{rounds} × CLUSTER FAILOVER of one shard, {FAILOVER_WINDOW} s apart",
            "0 errors, 0 lost",
            f"errors: {report.all_errors()}; {report.verdict()}; worst latency"
            f" {ms(worst(latencies))}, direct client {ms(worst(one['direct'] for one in stalls))}",
            clean)


def killed(trial: Trial) -> None:
    """A3: kill -9 of primaries, as often and with as many node timeouts as the options say."""
    for node_timeout in trial.options.node_timeouts or [2000]:
        crash(trial, "A3", node_timeout, rounds=trial.rounds(10, 1))


def killed_partial(trial: Trial) -> None:
    """A4: the same where the nodes serve what slots they have."""
    crash(trial, "A4", 2000, "--cluster-require-full-coverage", "no",
          rounds=trial.rounds(5, 1))


def killed_assisted(trial: Trial) -> None:
    """A3 with the proxy asking the replica to take over."""
    if trial.peer or not knows_setting("assist_failover = true"):
        trial.table.not_run("A3", "assisted failover", "no setting assist_failover")
        return
    for node_timeout in trial.options.node_timeouts or ([15_000] if trial.quick
                                                        else [2000, 15_000]):
        crash(trial, "A3", node_timeout, rounds=trial.rounds(10, 1), assist=True)


def crash(trial: Trial, test: str, node_timeout: int, *options, rounds: int,
          assist: bool = False) -> None:
    settle = node_timeout / 1000
    with trial.cluster(int(200 + rounds * (60 + 8 * settle)), node_timeout, *options) as (
            machine, nodes):
        settings = {"assist_failover": True} if assist else {}
        settings["hold_timeout_ms"] = max(10_000, 2 * node_timeout + 3000)
        proxy = trial.proxy(machine, nodes, **settings)
        load = trial.load(machine, nodes, proxy)
        kills = []
        with trial.direct(nodes) as direct:
            for number in range(rounds):
                kills.append(kill_one(nodes, load, direct, number, assist))
        report = load.finish()
        report.show()
        nodes.check()
        what = f"{rounds} × kill -9, node timeout {settle:g} s"
        if assist:
            what += ", assisted"
        judge_kills(trial, test, what, report, kills, assist)


def kill_one(nodes: Nodes, load: Load, direct: Direct, number: int, assist: bool) -> dict:
    """Kills the primary of a shard, waits for another, and starts it again as a replica."""
    shard = number % 3
    port = nodes.primaries()[shard]
    replica = nodes.replica_of(port)
    at = time.time()
    gone = nodes.kill_now(port)
    nodes.wait_replaced(port, replica, 30 + 3 * nodes.node_timeout / 1000)
    end = max(time.time() + 1.0, at + (AFTER_KILL if assist else 0))
    time.sleep(max(0.0, end - time.time()))
    stalls = [direct.stall_ms(one, at, end) for one in range(3)]
    load.window(f"k{number}", at, end, gone)
    load.loss(shard, at)
    restarted = time.time()
    nodes.restart(port)
    nodes.wait_whole()
    load.window(f"r{number}", restarted, time.time())
    spaced = at + SPACING * nodes.node_timeout / 1000 / 3
    time.sleep(max(1.0, spaced - time.time()))
    return {"name": f"k{number}", "back": f"r{number}", "shard": shard, "direct": stalls,
            "replica": nodes.is_replica(port), "seconds": end - at}


def judge_kills(trial: Trial, test: str, what: str, report: Report, kills: list[dict],
                assist: bool) -> None:
    failed = [report.shard(kill["name"], kill["shard"]) for kill in kills]
    table = trial.table
    reads = sum(one["read_errors"] for one in failed)
    table.add(test, what, "failed shard: 0 read errors", str(reads), not reads)
    unknown = [(one["writes_unknown"], one["write_errors"], one["writes_in_flight"])
               for one in failed]
    table.add(
        test, what, "failed shard: write errors ≤ in flight at the kill, each 'result unknown'",
        f"{sum(one[1] for one in unknown)} errors, {sum(one[0] for one in unknown)} of them"
        f" unknown, {sum(one[2] for one in unknown)} were in flight",
        all(one[0] == one[1] <= one[2] for one in unknown))
    judge_stalls(trial, test, what, report, kills, assist)
    outside = report.error_count() - sum(one["read_errors"] + one["write_errors"]
                                         for one in failed)
    healthy = sum(one["read_errors"] + one["write_errors"] for kill in kills
                  for one in report.others(kill["name"], kill["shard"]))
    across = sum(report.window(kill["name"])["across"]["write_errors"] for kill in kills)
    table.add(test, what, "healthy shards: 0 errors, and none at other times",
              f"{healthy} at healthy shards, {across} of writes across all,"
              f" {outside - healthy - across} at other times",
              not healthy and outside == across)
    table.add(test, what, "nothing lost, doubled or reordered but what Redis itself may lose",
              report.verdict(), not report.faults)
    back = sum(kill["replica"] for kill in kills)
    if assist:
        table.add(test, what, "the old primary comes back as a replica", f"{back} of {len(kills)}",
                  back == len(kills))


def judge_stalls(trial: Trial, test: str, what: str, report: Report, kills: list[dict],
                 assist: bool) -> None:
    stalls = [report.shard(kill["name"], kill["shard"])["write_stall_ms"] for kill in kills]
    direct = [kill["direct"][kill["shard"]] for kill in kills]
    more = [stall - least for stall, least in zip(stalls, direct)]
    target = "≤ 500 ms" if assist else "≤ direct client + 100 ms"
    holds = worst(stalls) <= 500 if assist else worst(more) <= 100
    trial.table.add_time(
        test, what, f"failed shard: stall {target}",
        f"{ms(min(stalls))} to {ms(worst(stalls))}, direct client {ms(min(direct))} to"
        f" {ms(worst(direct))}, at most {worst(more):+.0f} ms more", holds)
    others = [(report.shard(kill["name"], shard)["stall_ms"], kill["direct"][shard])
              for kill in kills for shard in range(3) if shard != kill["shard"]]
    more = [stall - least for stall, least in others]
    delay = worst(report.window(kill["name"])["own_delay_ms"] for kill in kills)
    trial.table.add_time(
        test, what, "healthy shards: stall ≤ direct client + 20 ms",
        f"up to {ms(worst(one[0] for one in others))}, direct client"
        f" {ms(worst(one[1] for one in others))}, at most {worst(more):+.0f} ms more"
        f" (the load itself was late by up to {ms(delay)})", worst(more) <= 20)


def stopped(trial: Trial) -> None:
    """A5: SIGSTOP of a primary, and SIGCONT when another has taken its place."""
    rounds = trial.rounds(3, 1)
    with trial.cluster(200 + 80 * rounds) as (machine, nodes):
        proxy = trial.proxy(machine, nodes)
        load = trial.load(machine, nodes, proxy)
        stops = []
        with trial.direct(nodes) as direct:
            for number in range(rounds):
                stops.append(stop_one(nodes, load, direct, number))
        report = load.finish()
        report.show()
        nodes.check()
    what = f"{rounds} × SIGSTOP of a primary, node timeout 2 s"
    shards = [report.shard(stop["name"], stop["shard"]) for stop in stops]
    stalls = [shard["write_stall_ms"] for shard in shards]
    direct = [stop["direct"][stop["shard"]] for stop in stops]
    more = [stall - stop["took"] for stall, stop in zip(stalls, stops)]
    late = [stall for stall, extra in zip(stalls, more) if stall > STOPPED_MS and extra > 200]
    trial.table.add_time(
        "A5", what, f"stall ≤ {STOPPED_MS / 1000} s, or the nodes' own election + 200 ms",
        f"{ms(min(stalls))} to {ms(worst(stalls))}, at most {worst(more):+.0f} ms more than the"
        f" nodes took; direct client with a time-out of 1 s {ms(min(direct))} to"
        f" {ms(worst(direct))}", not late)
    errors = [(shard["read_errors"], shard["write_errors"], shard["writes_unknown"])
              for shard in shards]
    # A stopped node's kernel takes bytes, so each client may have all that it sends at once there.
    most = trial.in_flight_max()
    trial.table.add(
        "A5", what, f"0 read errors; of writes only those under way ({most} at most, each time),"
        " as 'result unknown'",
        f"{sum(one[0] for one in errors)} read errors; {sum(one[1] for one in errors)} write"
        f" errors, {sum(one[2] for one in errors)} of them unknown",
        all(not one[0] and one[1] == one[2] <= most for one in errors))
    trial.table.add("A5", what, "nothing stale after SIGCONT, nothing lost", report.verdict(),
                    not report.faults)


def stop_one(nodes: Nodes, load: Load, direct: Direct, number: int) -> dict:
    shard = number % 3
    port = nodes.primaries()[shard]
    replica = nodes.replica_of(port)
    at = time.time()
    nodes.pause(port)
    try:
        nodes.ports.remove(port)
        took = nodes.wait_replaced(port, replica)
    finally:
        nodes.ports.append(port)
        time.sleep(2.0)
        end = time.time()
        nodes.resume(port)
    load.window(f"s{number}", at, end)
    load.loss(shard, at)
    stalls = [direct.stall_ms(one, at, end) for one in range(3)]
    nodes.wait_whole()
    time.sleep(SPACING * nodes.node_timeout / 1000 / 3)
    return {"name": f"s{number}", "shard": shard, "direct": stalls, "took": took * 1000}


def rest(until: float) -> None:
    time.sleep(max(0.0, until - time.time()))
