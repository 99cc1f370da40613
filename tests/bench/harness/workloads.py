"""The workloads, how redis-benchmark is called for each, and how its answer is read."""

import csv
import subprocess
from dataclasses import dataclass, replace

from .processes import BenchError

KEYS = 10_000
SMALL, LARGE = 64, 16 * 1024
KEYS_PER_MGET = 10
RUN_SECONDS = 90


@dataclass(frozen=True)
class Workload:
    """One row of load: a command, its value size, how many clients send how much at once, how often."""

    name: str
    command: str
    size: int
    clients: int
    pipeline: int
    requests: int

    @property
    def keys_per_request(self) -> int:
        return KEYS_PER_MGET if self.command == "mget" else 1

    def scaled(self, scale: float) -> "Workload":
        return replace(self, requests=max(1000, int(self.requests * scale)))


WORKLOADS = [
    Workload("get_P1_c50", "get", SMALL, 50, 1, 150_000),
    Workload("set_P1_c50", "set", SMALL, 50, 1, 150_000),
    Workload("get_P16_c50", "get", SMALL, 50, 16, 750_000),
    Workload("set_P16_c50", "set", SMALL, 50, 16, 750_000),
    Workload("get_P1_c500", "get", SMALL, 500, 1, 150_000),
    Workload("set_P1_c500", "set", SMALL, 500, 1, 150_000),
    Workload("mget10_P1_c50", "mget", SMALL, 50, 1, 80_000),
    Workload("get16k_P1_c50", "get", LARGE, 50, 1, 80_000),
    Workload("set16k_P1_c50", "set", LARGE, 50, 1, 80_000),
]


@dataclass(frozen=True)
class Answer:
    """What redis-benchmark saw."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float


def key_name(number: int) -> bytes:
    """The key redis-benchmark makes of `key:__rand_int__` for this number."""
    return b"key:%012d" % number


def benchmark_command(workload: Workload, port: int, cluster: bool) -> list[str]:
    """The call of redis-benchmark; in cluster mode it puts one tag per slot in front, so one number will do."""
    command = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(port), "--csv"]
    command += ["-n", str(workload.requests), "-c", str(workload.clients), "-P", str(workload.pipeline)]
    command += ["-d", str(workload.size), "-r", "1" if cluster else str(KEYS)]
    if cluster:
        command.append("--cluster")
    if workload.command == "mget":
        return command + ["mget"] + ["key:__rand_int__"] * KEYS_PER_MGET
    return command + ["-t", workload.command]


def run_benchmark(workload: Workload, port: int, cluster: bool = False) -> Answer:
    command = benchmark_command(workload, port, cluster)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise BenchError(f"redis-benchmark did not finish {workload.name} within {RUN_SECONDS} s") from None
    if done.returncode != 0:
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise BenchError(f"redis-benchmark failed on {workload.name}: {' '.join(last)}")
    return parse_csv(done.stdout)


def parse_csv(text: str) -> Answer:
    """Reads the last row of eight fields: test, rps, average, minimum, p50, p95, p99, maximum."""
    for row in reversed(list(csv.reader(text.splitlines()))):
        if len(row) == 8 and row[1] != "rps":
            return Answer(float(row[1]), float(row[4]), float(row[6]))
    raise BenchError(f"redis-benchmark printed no result: {text.strip()[-200:]!r}")
