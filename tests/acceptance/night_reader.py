#!/usr/bin/env python3
"""Someone who knows only /metrics, /topology and the log of a proxy, and says what has happened:
which node died, when that was noticed, when service was back, and what clients saw.

night_reader.py --admin PORT --log FILE --until FILE [--json]

Looks once a second until the last file is there. It knows nothing of what was done to the cluster.
"""

import argparse
import json
import re
import sys
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from harness import HOST, expect, http_get

PERIOD_SECONDS = 1.0
# So long before it was noticed all was well, and so long afterwards clients still feel it.
BEFORE_SECONDS = 1.5
AFTER_SECONDS = 6.0
# Errors of a node that mean a process which is gone, and those of one that is there but silent.
GONE = {"refused", "lost", "unreachable"}
SILENT = {"silent", "connect_timeout"}
FAILOVER = "failover: a replica took over"
HELD = "requests were held"
DURATION = "slotway_client_request_duration_seconds_bucket"


@dataclass
class Look:
    time: float
    values: dict[str, float]
    topology: dict

    def of(self, name: str, **labels: str) -> float:
        """A sample, 0 where there is none."""
        inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
        return self.values.get(f"{name}{{{inside}}}" if inside else name, 0.0)

    def by(self, name: str, label: str, text: str = "") -> dict[str, float]:
        """The samples of a name by one of their labels, of those whose labels have the text."""
        found = {}
        for sample, value in self.values.items():
            if sample.startswith(name + "{") and text in sample:
                match = re.search(rf'[{{,]{label}="([^"]*)"', sample)
                if match:
                    found[match[1]] = found.get(match[1], 0.0) + value
        return found


@dataclass
class Seen:
    """What clients saw."""

    errors: dict[str, int]
    unknown_results: int
    waited_in_vain: int
    disconnected: int
    held_requests: int
    # The longest that any request took was between these.
    longest_above: float
    longest_below: float
    # As the log tells it, to a tenth of a second.
    held_for: float | None


@dataclass
class Answer:
    node: str
    how: str
    successor: str
    slots: int
    noticed: float
    noticed_by: str
    back: float
    # Whether the topology names the node by now, and who has nobody to take over from it.
    returned: bool
    without_replica: list[str]
    clients: Seen

    def text(self) -> str:
        clients = self.clients
        how = {"gone": "its process was gone", "silent": "it was there, but silent"}[self.how]
        errors = ", ".join(f"{count} {code}" for code, count in clients.errors.items())
        lines = [
            f"{self.node}, primary of {self.slots} slots, has failed: {how}.",
            f"Noticed at {clock(self.noticed)} (by the {self.noticed_by}); service was back at "
            f"{clock(self.back)}, {self.back - self.noticed:.1f} s later, from {self.successor}.",
            f"Clients saw {errors or 'no'} errors; {clients.waited_in_vain} requests waited in "
            f"vain, the result of {clients.unknown_results} writes is unknown, "
            f"{clients.disconnected} clients were disconnected.",
            f"{clients.held_requests} times a request had to wait; the longest took "
            f"{clients.longest_above:g} to {clients.longest_below:g} s.",
            f"The node is {'back' if self.returned else 'not back yet'}.",
        ]
        if self.without_replica:
            lines.append(f"Without a replica now: {', '.join(self.without_replica)}.")
        return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--admin", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--until", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    looks: list[Look] = []
    while not options.until.exists():
        began = time.monotonic()
        looks.append(look(options.admin))
        time.sleep(max(0.0, began + PERIOD_SECONDS - time.monotonic()))
    looks.append(look(options.admin))
    answers = answer(looks, log_lines(options.log.read_text()))
    if options.json:
        print(json.dumps([asdict(it) | {"text": it.text()} for it in answers]))
    else:
        print("\n\n".join(it.text() for it in answers) or "No node has failed.")
    return 0


def look(port: int) -> Look:
    now = time.time()
    status, text = http_get(f"http://{HOST}:{port}/metrics")
    expect(status == 200, f"/metrics says {status}")
    values = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            values[name] = float(value)
    return Look(now, values, json.loads(http_get(f"http://{HOST}:{port}/topology")[1]))


def log_lines(text: str) -> list[dict[str, str]]:
    """Of each line its pairs; the time in seconds."""
    lines = []
    for line in text.splitlines():
        pairs = {key: value.strip('"')
                 for key, value in re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)', line)}
        if "time" in pairs:
            moment = datetime.fromisoformat(pairs["time"].replace("Z", "+00:00"))
            lines.append(pairs | {"time": str(moment.timestamp())})
    return lines


# --- the answers ----------------------------------------------------------------------------------

def answer(looks: list[Look], lines: list[dict[str, str]]) -> list[Answer]:
    """One for each node whose replica took over."""
    return [of_failover(looks, lines, line) for line in lines if line.get("msg") == FAILOVER]


def of_failover(looks: list[Look], lines: list[dict[str, str]], line: dict[str, str]) -> Answer:
    node, successor, told = line["from"], line["to"], float(line["time"])
    noticed, noticed_by = when_noticed(looks, line)
    begin = max((it for it in looks if it.time <= noticed - BEFORE_SECONDS),
                key=lambda it: it.time, default=looks[0])
    end = next((it for it in looks if it.time >= told + AFTER_SECONDS), looks[-1])
    topology = end.topology["shards"]
    members = {it for shard in topology for it in [shard["primary"], *shard["replicas"]]}
    return Answer(
        node=node, how=how(begin, end, node), successor=successor, slots=int(line["slots"]),
        noticed=noticed, noticed_by=noticed_by, back=when_back(looks, successor, told),
        returned=node in members,
        without_replica=[it["primary"] for it in topology if not it["replicas"]],
        clients=seen(begin, end, lines, node),
    )


def when_noticed(looks: list[Look], line: dict[str, str]) -> tuple[float, str]:
    """When connections were lost, as the log says; for a node that is silent and keeps them, since
    when it owed replies and gave none."""
    logged = float(line["time"]) - float(line.get("noticed_ms_ago", 0)) / 1000
    noticed = logged
    before = [it for it in looks if it.time < logged]
    for earlier, later in reversed(list(zip(before, before[1:]))):
        owed = later.of("slotway_node_in_flight_requests", node=line["from"])
        replies = [it.of("slotway_node_replies_total", node=line["from"])
                   for it in (earlier, later)]
        if not owed or replies[0] != replies[1]:
            break
        noticed = later.time
    return noticed, "metrics" if noticed < logged else "log"


def when_back(looks: list[Look], successor: str, told: float) -> float:
    """When the new topology was there, unless the metrics show that nobody was served by it."""
    before = max((it for it in looks if it.time <= told), key=lambda it: it.time)
    for after in looks:
        replies = [it.of("slotway_node_replies_total", node=successor) for it in (before, after)]
        if after.time > told and replies[1] > replies[0]:
            in_time = after.time - told < 2 * PERIOD_SECONDS + 0.5
            return told if in_time else after.time
    return float("inf")


def how(begin: Look, end: Look, node: str) -> str:
    counts = grown(begin, end, "slotway_node_errors_total", "kind", f'node="{node}"')
    gone = sum(count for kind, count in counts.items() if kind in GONE)
    silent = sum(count for kind, count in counts.items() if kind in SILENT)
    expect(gone or silent, f"the metrics show no errors of {node}, of which the log tells")
    return "gone" if gone >= silent else "silent"


def seen(begin: Look, end: Look, lines: list[dict[str, str]], node: str) -> Seen:
    def more(name: str) -> int:
        return round(end.of(name) - begin.of(name))

    above, below = longest(begin, end)
    held = [int(line["for_ms"]) / 1000 for line in lines if line.get("msg") == HELD
            and node in line["from"].split(",")
            and begin.time <= float(line["time"]) <= end.time]
    return Seen(
        errors=grown(begin, end, "slotway_error_replies_total", "code"),
        unknown_results=more("slotway_results_unknown_total"),
        waited_in_vain=more("slotway_held_requests_expired_total")
        + more("slotway_held_requests_refused_total"),
        disconnected=sum(grown(begin, end, "slotway_clients_cut_total", "reason").values()),
        held_requests=more("slotway_held_requests_total"),
        longest_above=above, longest_below=below, held_for=max(held, default=None),
    )


def grown(begin: Look, end: Look, name: str, label: str, text: str = "") -> dict[str, int]:
    """By how much which of a counter's samples have grown."""
    before = begin.by(name, label, text)
    more = {key: round(value - before.get(key, 0.0))
            for key, value in end.by(name, label, text).items()}
    return {key: value for key, value in more.items() if value}


def longest(begin: Look, end: Look) -> tuple[float, float]:
    """The bounds of the highest bucket of the clients' requests that has any."""
    counts = end.by(DURATION, "le")
    before = begin.by(DURATION, "le")
    bounds = sorted(counts, key=float)
    grown_by = {bound: counts[bound] - before.get(bound, 0.0) for bound in bounds}
    all_ = grown_by[bounds[-1]]
    full = next(index for index, bound in enumerate(bounds) if grown_by[bound] == all_)
    return float(bounds[full - 1]) if full else 0.0, float(bounds[full])


def clock(moment: float) -> str:
    return datetime.fromtimestamp(moment).strftime("%H:%M:%S.%f")[:-3]


if __name__ == "__main__":
    sys.exit(main())
