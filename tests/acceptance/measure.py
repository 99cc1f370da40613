"""What the acceptance programs measure with: CPU of processes, quantiles, the load generator."""

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from harness import HOST, ROOT, Machine, Program, Proxy, expect, expect_equal, redis_cli
from harness import wait_until

TICKS = os.sysconf("SC_CLK_TCK")
# Long enough for a failover with a node timeout of 2 s, which is what the clusters here have.
SETTINGS = """[cluster]
seeds = ["127.0.0.1:{seed}"]
hold_timeout_ms = 10000
"""


def options_of(program_doc: str, *flags: tuple[str, dict]) -> Namespace:
    """The command line that all of these programs share, and flags of one of them."""
    parser = ArgumentParser(description=program_doc.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a size for every commit, under 30 s")
    parser.add_argument("--proxy", metavar="FILE", help="the slotway to test (default: the release "
                        "build, or what SLOTWAY_BINARY names)")
    for name, settings in flags:
        parser.add_argument(name, **settings)
    options = parser.parse_args()
    if options.proxy:
        os.environ["SLOTWAY_BINARY"] = str(Path(options.proxy).resolve())
    return options


def start_proxy(machine: Machine, seed: int, workers: int = 1) -> Proxy:
    settings = machine.folder / f"proxy-{seed}.toml"
    settings.write_text(SETTINGS.format(seed=seed))
    return machine.slotway("--config", settings, "--workers", workers)


def plain_server(machine: Machine) -> int:
    """One redis-server without a cluster, in the place of the proxy; its port."""
    port = machine.ports(1)
    machine.start(["redis-server", "--port", port, "--bind", HOST, "--save", "",
                   "--maxclients", "20000", "--dir", machine.folder], "plain")
    wait_until(f"redis-server on {port}", 20, lambda: "PONG" in redis_cli(port, "ping"))
    return port


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of processes since their start."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def median(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def quantile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0


class Load:
    """A slotway-load under way."""

    def __init__(self, machine: Machine, port: int, workload: str, seconds: float,
                 clients: int, **settings) -> None:
        self.seconds = seconds
        words = [load_binary(), "--port", port, "--workload", workload, "--seconds", seconds,
                 "--clients", clients]
        for name, value in settings.items():
            words += [f"--{name.replace('_', '-')}", value]
        self.program: Program = machine.start(words, f"load-{workload}")

    def result(self) -> dict:
        status = self.program.wait(self.seconds + 60)
        expect_equal((status, self.program.errors), (0, ""), "status and errors of slotway-load")
        figures = json.loads(self.program.output)
        figures["rate"] = figures["operations"] / figures["seconds"]
        return figures


def no_wrong(figures: dict) -> dict:
    expect(not figures["wrong"] and not figures["lost"],
           f"{figures['wrong']} wrong replies, {figures['lost']} lost connections, the first: "
           f"{figures['first_wrong']}")
    expect(figures["operations"], "nothing was done")
    return figures


def load_binary() -> Path:
    """The release build, unless SLOTWAY_LOAD names another."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    binary = ROOT / os.environ.get("SLOTWAY_LOAD", target / "release" / "slotway-load")
    if not binary.is_file():
        sys.exit(f"no {binary}; build it with: cargo build --release -p slotway-load")
    return binary
