"""A9 to A11: slots that move under load."""

import time

from cluster import move_slots
from harness import Proxy
from table import ms, worst
from trial import Trial

# Of each of the three primaries a third of its slots, which is a third of all.
SLOTS = 1820
KINDS = ("moved", "ask", "later")


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
    more = worst(growth) - (least[1] - least[0])
    trial.table.add(
        "A9", what, "p99 + 5 ms at most, or a direct client's and 5 ms",
        f"p99 {worst(growth):+.1f} ms; direct client {ms(least[0])} before, {ms(least[1])} then",
        min(more, worst(growth)) <= 5)
    longest = worst(one["max_ms"] for one in shards)
    trial.table.add("A9", what, "worst latency ≤ 250 ms",
                    f"{ms(longest)}; direct client {ms(least[2])} before, {ms(least[3])} then",
                    longest <= 250)


def redirects_of(proxy: Proxy) -> list[str]:
    names = [f'slotway_redirects_total{{kind="{kind}"}}' for kind in KINDS]
    return [f"{proxy.metric(name):.0f} {kind}" for name, kind in zip(names, KINDS)]
