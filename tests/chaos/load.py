"""The load of a chaos run and its report; and direct clients, which show what the nodes themselves
allow while a fault lasts."""

import contextlib
import json
import os
import threading
import time
from pathlib import Path

from cluster import slot_of
from harness import HOST, ROOT, Failed, Machine, expect, expect_equal, wait_until
from measure import quantile
from resp import Connection, Error

# A primary that fails may have acknowledged writes of its last moments that its replica never got.
LAG_SECONDS = 1.0
AFTER_SECONDS = 0.3
# Kinds of errors that a row of the table names.
KINDS_SHOWN = 4
DIRECT_PAUSE = 0.01
DIRECT_TIMEOUT = 1.0


class Load:
    """A chaos-load under way. Times are those of `time.time()`."""

    def __init__(self, machine: Machine, target: str, node: str, seconds: float = 3000,
                 prefix_words: list[str] | None = None, **settings) -> None:
        self.until = machine.folder / f"until-{time.monotonic_ns()}"
        self.lines: list[str] = []
        words = [*(prefix_words or []), load_binary(), "--target", target, "--node", node,
                 "--seconds", seconds, "--until-file", self.until]
        for name, value in settings.items():
            words.append(f"--{name.replace('_', '-')}")
            if value is not True:
                words.append(value)
        self.program = machine.start(words, "chaos-load")

    def window(self, name: str, start: float, end: float, gone: float = 0) -> None:
        """Asks for the figures of a time; until `gone` requests may have met what failed at its
        start."""
        self.lines.append(f"window {name} {start:.6f} {end:.6f} {gone or start:.6f}")

    def loss(self, shard: int, at: float, until: float | None = None) -> None:
        """The primary of a shard has failed, and may have taken acknowledged writes with it."""
        end = (until or at) + AFTER_SECONDS
        self.lines.append(f"loss {shard} {at - LAG_SECONDS:.6f} {end:.6f}")

    def finish(self, seconds: float = 150) -> "Report":
        """Ends the load; it reads back everything and judges."""
        expect(self.program.alive(), f"chaos-load has ended: {self.program.errors}")
        part = self.until.with_suffix(".part")
        part.write_text("\n".join(self.lines) + "\n")
        os.rename(part, self.until)
        status = self.program.wait(seconds)
        expect_equal((status, self.program.errors), (0, ""), "status and errors of chaos-load")
        return Report(json.loads(self.program.output))


class Report:
    """What chaos-load measured and found."""

    def __init__(self, figures: dict) -> None:
        self.figures = figures
        self.faults: int = figures["faults"]
        self.findings: dict = figures["findings"]
        self.errors: dict = figures["errors"]

    def window(self, name: str = "all") -> dict:
        return self.figures["windows"][name]

    def shard(self, name: str, shard: int) -> dict:
        return self.window(name)["shards"][shard]

    def others(self, name: str, shard: int) -> list[dict]:
        shards = self.window(name)["shards"]
        return [one for index, one in enumerate(shards) if index != shard]

    def own_growth(self, before: str, now: str) -> float:
        """How much later than before the load itself was, in 99 of 100 cases: so much of what it
        measured is its own."""
        of = [self.window(name)["own_p99_ms"] for name in (before, now)]
        return max(0.0, of[1] - of[0])

    def error_count(self) -> int:
        """Of operations and connections."""
        return (sum(self.errors.values()) + self.figures["connections_lost"]
                + self.figures["connects_failed"])

    def all_errors(self) -> str:
        most = sorted(self.errors.items(), key=lambda item: -item[1])
        shown = [f"{count} × {text}" for text, count in most[:KINDS_SHOWN]]
        if len(most) > KINDS_SHOWN:
            shown.append(f"{sum(count for _, count in most[KINDS_SHOWN:])} others")
        return ", ".join(shown) or "none"

    def verdict(self) -> str:
        """What the oracles found, in words."""
        found = [f"{count} {name}" for name, count in self.findings.items() if count]
        return ", ".join(found) or "0 lost, doubled, reordered, stale, wrong or torn"

    def show(self) -> None:
        """The details behind a row of the table, for the log."""
        brief = {name: self.figures[name] for name in ("operations", "rate", "errors", "findings",
                                                       "connections_lost", "connects_failed")}
        print("      " + json.dumps(brief, ensure_ascii=False), flush=True)
        for at, text in self.figures["first_errors"][:8]:
            print(f"      error at {at:.3f}: {text}", flush=True)
        for example in self.figures["examples"][:12]:
            print(f"      {example}", flush=True)


class Direct:
    """One blocking client for each shard that writes every 10 ms to whichever of the shard's nodes
    takes it: the least stall that anybody can have."""

    def __init__(self, cluster) -> None:
        self.ended = threading.Event()
        owners = cluster.owners()
        self.successes: list[list[float]] = []
        # Of each shard, when each ended and its milliseconds.
        self.latencies: list[list[tuple[float, float]]] = []
        self.threads = []
        for primary in cluster.primaries():
            nodes = [primary, cluster.replica_of(primary)]
            times: list[float] = []
            latencies: list[tuple[float, float]] = []
            arguments = (last_key(owners, primary), nodes, times, latencies)
            self.successes.append(times)
            self.latencies.append(latencies)
            self.threads.append(threading.Thread(target=self.write, args=arguments, daemon=True))
        for thread in self.threads:
            thread.start()
        wait_until("direct clients", 10, lambda: all(self.successes))

    def write(self, key: bytes, nodes: list[int], times: list[float],
              latencies: list[tuple[float, float]]) -> None:
        connection, turn = None, 0
        while not self.ended.wait(DIRECT_PAUSE):
            try:
                connection = connection or Connection(nodes[turn], DIRECT_TIMEOUT)
                began = time.time()
                if not isinstance(connection.ask("SET", key, "x"), Error):
                    times.append(time.time())
                    latencies.append((times[-1], (times[-1] - began) * 1000))
                    continue
            except (OSError, Failed):
                pass
            if connection:
                with contextlib.suppress(OSError):
                    connection.socket.close()
            connection, turn = None, 1 - turn

    def stall_ms(self, shard: int, start: float, end: float) -> float:
        """The longest time without a success, as far as it is over in these seconds."""
        times = [at for at in self.successes[shard] if at <= end]
        gaps = [after - before for before, after in zip(times, times[1:]) if after >= start]
        return max(gaps, default=end - start) * 1000

    def latency_ms(self, part: float, start: float, end: float, shards=range(3)) -> float:
        """A quantile of what single writes took."""
        return quantile([ms for shard in shards for at, ms in list(self.latencies[shard])
                         if start <= at <= end], part)

    def stop(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join(DIRECT_TIMEOUT * 5)


def last_key(owners: list[int], port: int) -> bytes:
    """A key in one of the node's last slots: those are not moved, as redis-cli begins with the
    first."""
    slots = [slot for slot, owner in enumerate(owners) if owner == port]
    last = set(slots[-len(slots) // 4:])
    numbers = (b"direct:%d" % number for number in range(1_000_000))
    return next(key for key in numbers if slot_of(key) in last)


def warm_up(load: Load, seconds: float) -> None:
    """Lets the load run; a load that ends early is a failure."""
    end = time.monotonic() + seconds
    wait_until("the load's first seconds", seconds + 30,
               lambda: time.monotonic() > end or not load.program.alive())
    expect(load.program.alive(), f"chaos-load has ended: {load.program.errors}")


def load_binary() -> Path:
    return chaos_binary("chaos-load", "SLOTWAY_CHAOS_LOAD")


def chaos_binary(name: str, variable: str) -> Path:
    """The release build, unless the environment names another."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    binary = ROOT / os.environ.get(variable, target / "release" / name)
    if not binary.is_file():
        raise Failed(f"no {binary}; build it with: cargo build --release -p slotway-chaos")
    return binary


def address(port: int) -> str:
    return f"{HOST}:{port}"
