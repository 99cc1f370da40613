"""Measures requests per second and CPU per request: repetitions outermost, targets innermost."""

import os
import sys
import time
from dataclasses import asdict, dataclass, field

from .backends import Backends
from .processes import BenchError, Supervisor
from .readings import Snapshot, resident_kib, snapshot
from .targets import Running, Target, start_target
from .workloads import SMALL, Workload, run_benchmark

WARM_UP = Workload("warm-up", "get", SMALL, 50, 1, 5_000)
SOUND_SHARE = 0.99
TOLERATED_MISSES = 0.001
TOLERATED_REDIRECTS = 0.01


@dataclass(frozen=True)
class Run:
    """One measured run; CPU in microseconds per request, CPU of others in percent of the machine."""

    repetition: int
    target: str
    workload: str
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    user_us: float
    system_us: float
    backend_us: float
    rss_kib: int
    foreign_percent: float

    @property
    def proxy_us(self) -> float:
        return self.user_us + self.system_us

    @property
    def sum_us(self) -> float:
        return self.proxy_us + self.backend_us

    def as_dict(self) -> dict:
        return asdict(self)


@dataclass
class Results:
    """All runs, and what could not be run: the reason by target and, if that matters, workload."""

    runs: list[Run] = field(default_factory=list)
    not_run: dict[tuple[str, str], str] = field(default_factory=dict)

    def report_not_run(self, target: str, reason: str, workload: str = "") -> None:
        print(not_run_line(target, workload, reason), file=sys.stderr, flush=True)
        self.not_run.setdefault((target, workload), reason)

    def not_run_lines(self) -> list[str]:
        return [not_run_line(target, workload, reason) for (target, workload), reason in self.not_run.items()]


def not_run_line(target: str, workload: str, reason: str) -> str:
    return f"NOT RUN: {target}{', ' if workload else ''}{workload}: {reason.strip()}"


def measure_all(
    targets: list[Target],
    workloads: list[Workload],
    repetitions: int,
    supervisor: Supervisor,
    backends: Backends,
    open_files: int,
) -> Results:
    results = Results()
    for repetition in range(repetitions):
        backends.load(workloads[0].size)
        running = start_all(targets, supervisor, backends, open_files, results)
        turn = repetition % max(1, len(running))
        for workload in workloads:
            backends.load(workload.size)
            for one in running[turn:] + running[:turn]:
                measure_or_report(one, workload, repetition, results)
        supervisor.stop(*(one.process for one in running if one.process))
    return results


def start_all(
    targets: list[Target], supervisor: Supervisor, backends: Backends, open_files: int, results: Results
) -> list[Running]:
    """Starts every target that can be started; one that did not start before is not tried again."""
    running = []
    for target in targets:
        if (target.name, "") in results.not_run:
            continue
        try:
            one = start_target(target, supervisor, backends, open_files)
            run_benchmark(WARM_UP, one.port, one.cluster_client)
            running.append(one)
        except BenchError as error:
            results.report_not_run(target.name, str(error))
    return running


def measure_or_report(one: Running, workload: Workload, repetition: int, results: Results) -> None:
    if one.target.unable(workload):
        return
    name = one.target.name
    if one.process is not None and not one.process.alive():
        results.report_not_run(name, f"the process has ended\n{one.process.log_tail()}", workload.name)
        return
    print(f"repetition {repetition + 1}: {workload.name}: {name}", file=sys.stderr, flush=True)
    try:
        results.runs.append(measure(one, workload, repetition))
    except (BenchError, OSError) as error:
        results.report_not_run(name, str(error), workload.name)


def measure(one: Running, workload: Workload, repetition: int) -> Run:
    """Runs the load once between two readings of all clocks."""
    counters = one.servers.counters()
    started, before = time.monotonic(), snapshot()
    answer = run_benchmark(workload, one.port, one.cluster_client)
    after, ended = snapshot(), time.monotonic()
    check_work_done(workload, counters, one.servers.counters())
    per_request = 1e6 / workload.requests
    proxies = [one.process.pid] if one.process else []
    proxy = after.of(proxies) - before.of(proxies)
    backend = after.of(one.servers.pids) - before.of(one.servers.pids)
    return Run(
        repetition=repetition,
        target=one.target.name,
        workload=workload.name,
        requests_per_second=answer.requests_per_second,
        p50_ms=answer.p50_ms,
        p99_ms=answer.p99_ms,
        user_us=proxy.user * per_request,
        system_us=proxy.system * per_request,
        backend_us=backend.total * per_request,
        rss_kib=resident_kib(one.process.pid) if one.process else 0,
        foreign_percent=foreign_percent(before, after, proxy.total + backend.total, ended - started),
    )


def check_work_done(workload: Workload, before: dict[str, int], after: dict[str, int]) -> None:
    """Makes sure that the servers did what was asked, so that no target wins by refusing or missing."""
    done = {name: after[name] - before[name] for name in after}
    expected = workload.requests * workload.keys_per_request
    kind = "sets" if workload.command == "set" else "hits"
    if done[kind] < SOUND_SHARE * expected:
        raise BenchError(f"the servers saw {done[kind]} {kind} where {expected} were expected")
    if workload.command != "set" and done["misses"] > TOLERATED_MISSES * expected:
        raise BenchError(f"{done['misses']} of {expected} keys were missing")
    if done["redirects"] > TOLERATED_REDIRECTS * expected:
        raise BenchError(f"{done['redirects']} of {expected} keys were asked of the wrong node: badly configured")


def foreign_percent(before: Snapshot, after: Snapshot, ours: float, seconds: float) -> float:
    """The share of the machine that neither the target, its servers nor redis-benchmark used."""
    client = (after.finished_children - before.finished_children).total
    foreign = after.machine_busy - before.machine_busy - ours - client
    return max(0.0, 100 * foreign / (seconds * os.cpu_count()))
