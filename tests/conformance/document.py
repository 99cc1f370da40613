"""Writes docs/conformance.md: the differences from a single redis-server, for users."""

from __future__ import annotations

from differences import Expected, Group
from play import Outcome

HEAD = """\
# Differences from a single redis-server

Through Slotway, a Redis Cluster is to answer as one redis-server would. `tests/conformance/run`
holds it to that: it sends the same commands to the proxy, in front of a cluster of three
redis-servers 7.0.15, and to one redis-server 7.0.15, and compares every byte of the replies, in
RESP2 and in RESP3. What rightly differs between any two servers (the order of a set's members,
the time, ids) is taken out first, command by command, by `tests/conformance/normalise.py`.

Below is all that differs. This page is written by `tests/conformance/run --record` and checked by
every run; the reasons stand in `tests/conformance/groups.txt`, the proxy's own replies in
`tests/conformance/expected.txt`.
"""
CONTAINERS = {
    "acl", "client", "cluster", "command", "config", "function", "latency", "memory", "module",
    "object", "pubsub", "script", "slowlog", "xgroup", "xinfo",
}
WIDTH = 98


def write(groups: list[Group], expected: Expected, outcomes: dict[tuple, Outcome]) -> str:
    names = {name for name, _ in outcomes}
    listed = {case for case, _ in expected.replies} & names
    parts = [HEAD, f"{len(names)} cases; in {len(listed)} of them something differs.\n"]
    for group in groups:
        own = sorted(case for case in listed if expected.groups[case] == group.name)
        if own:
            parts.append(_section(group, own, outcomes))
    return "\n".join(parts)


def _section(group: Group, cases: list[str], outcomes: dict[tuple, Outcome]) -> str:
    text = "\n".join(group.text).strip()
    count = f"{len(cases)} case{'s' if len(cases) > 1 else ''}"
    lines = [f"## {group.title}\n", text, "", f"{count}:", ""]
    for reply, commands in _replies(cases, outcomes).items():
        lines += _folded(f"- {reply}: " + ", ".join(f"`{name}`" for name in sorted(commands)))
    return "\n".join(lines) + "\n"


def _replies(cases: list[str], outcomes: dict[tuple, Outcome]) -> dict[str, set[str]]:
    """The first reply that differs in each case, and the commands that got it."""
    found: dict[str, set[str]] = {}
    for case in cases:
        for protocol in (2, 3):
            outcome = outcomes.get((case, protocol))
            if outcome and outcome.differences:
                first = outcome.differences[0]
                reply = _described(case, first.proxy)
                found.setdefault(reply, set()).add(_command(first.words))
    return dict(sorted(found.items()))


def _described(case: str, reply: bytes) -> str:
    if not reply.startswith(b"-"):
        return "another reply"
    text = reply[1:].split(b"\r\n")[0].decode("latin-1")
    if "'" in text and "not supported" in text:
        text = text.split("'")[0] + "'...'" + text.split("'")[2]
    return f"`{text}`"


def _command(words: list[bytes]) -> str:
    if not words:
        return "raw bytes"
    name = words[0].decode("latin-1").upper()
    if name.lower() in CONTAINERS and len(words) > 1:
        name += " " + words[1].decode("latin-1").upper()
    return name if name.isascii() and name.isprintable() else "?"


def _folded(line: str) -> list[str]:
    lines = [""]
    for word in line.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) >= WIDTH:
            lines.append(" ")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines
