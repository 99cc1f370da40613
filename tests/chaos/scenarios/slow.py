"""A6: a node that is slow, but neither dead nor silent."""

import contextlib
import signal
import threading
import time

from faulty import front
from harness import Program
from load import Report, address
from table import ms, worst
from trial import Trial

SECONDS = 10.0
# In each 100 ms the node may run for 5 ms, as in a control group with 5 % of a processor.
PERIOD, SHARE = 0.1, 0.05
DELAY_MS = 50
MORE_MS = 2
# Nodes that are slow are not to be taken for dead.
NODE_TIMEOUT = 15_000


def starved(trial: Trial) -> None:
    """A6: one of three primaries gets 5 % of the time."""
    with trial.cluster(300, NODE_TIMEOUT) as (machine, nodes):
        proxy = trial.proxy(machine, nodes)
        victim = machine.servers[nodes.primaries()[0]]
        report = compare(trial, machine, nodes, proxy, lambda: throttled(victim))
    judge(trial, report, "a primary with 5 % of the time")


def delayed(trial: Trial) -> None:
    """A6: each reply of one of three primaries comes 50 ms late."""
    with trial.cluster(300, NODE_TIMEOUT) as (machine, nodes):
        victim = nodes.primaries()[0]
        faulty, known = front(machine, nodes)
        proxy = trial.proxy(machine, nodes, seeds=[address(known[victim])])

        @contextlib.contextmanager
        def late():
            faulty.say(f"{victim} latency {DELAY_MS} down")
            yield
            faulty.say("* pass")

        report = compare(trial, machine, nodes, proxy, late)
    judge(trial, report, f"a primary whose replies come {DELAY_MS} ms late")


def compare(trial: Trial, machine, nodes, proxy, fault) -> Report:
    seconds = 4.0 if trial.quick else SECONDS
    load = trial.load(machine, nodes, proxy)
    time.sleep(seconds)
    started = time.time()
    load.window("before", started - seconds, started)
    with fault():
        time.sleep(seconds)
        load.window("slow", started + 0.5, time.time())
    time.sleep(1.0)
    report = load.finish()
    report.show()
    return report


@contextlib.contextmanager
def throttled(program: Program):
    ended = threading.Event()

    def throttle() -> None:
        while not ended.wait(PERIOD * SHARE):
            program.popen.send_signal(signal.SIGSTOP)
            ended.wait(PERIOD * (1 - SHARE))
            program.popen.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=throttle, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def judge(trial: Trial, report: Report, what: str) -> None:
    slow = report.shard("slow", 0)
    growth = [now["p99_ms"] - before["p99_ms"]
              for now, before in zip(report.others("slow", 0), report.others("before", 0))]
    own = report.own_growth("before", "slow")
    trial.table.add_time(
        "A6", what, f"healthy shards' p99 + {MORE_MS} ms at most beside what the load itself adds",
        f"{min(growth):+.1f} to {worst(growth):+.1f} ms, to"
        f" {ms(worst(one['p99_ms'] for one in report.others('slow', 0)))}; slow shard p99"
        f" {ms(slow['p99_ms'])}, worst {ms(slow['max_ms'])}; the load {own:+.1f} ms",
        worst(growth) - own <= MORE_MS)
    clean = not report.error_count() and not report.faults
    trial.table.add("A6", what, "0 errors", f"{report.all_errors()}; {report.verdict()}", clean)
