"""Where the proxy is known to differ from one redis-server: groups with a reason each, and for
each case the proxy's own replies."""

from __future__ import annotations

import hashlib
import pathlib
import re
from dataclasses import dataclass, field

import corpus
from play import Difference, Outcome

SHOWN_BYTES = 300
CONDITION = re.compile(r"(case|command|proxy|server) (.+)")


class FormatError(Exception):
    """groups.txt or expected.txt is written wrongly; the text says where."""


@dataclass
class Group:
    """Differences that have one reason. A difference belongs to the first group of which one rule
    holds: all of its conditions, each a pattern for a part of the difference."""

    name: str
    title: str
    text: list[str] = field(default_factory=list)
    rules: list[list[tuple[str, re.Pattern]]] = field(default_factory=list)

    def has(self, case: str, difference: Difference) -> bool:
        parts = {
            "case": case,
            "command": b" ".join(difference.words).decode("latin-1").lower(),
            "proxy": difference.proxy.decode("latin-1"),
            "server": difference.server.decode("latin-1"),
        }
        return any(all(p.search(parts[part]) for part, p in rule) for rule in self.rules)


def load_groups(path: pathlib.Path) -> list[Group]:
    groups: list[Group] = []
    for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), start=1):
        if line.startswith("#"):
            continue
        if heading := re.match(r"\[([a-z-]+)\] (.+)", line):
            groups.append(Group(*heading.groups()))
        elif not groups:
            if line:
                raise FormatError(f"{path.name}:{number}: a line before the first group")
        elif line.startswith("? "):
            conditions = [CONDITION.fullmatch(part) for part in line[2:].split(" & ")]
            if not all(conditions):
                raise FormatError(f"{path.name}:{number}: not a rule")
            groups[-1].rules.append([(c[1], re.compile(c[2], re.S)) for c in conditions])
        else:
            groups[-1].text.append(line)
    return groups


def group_of(groups: list[Group], outcome: Outcome) -> Group | None:
    """The group of a case is that of its first difference; those after it may follow from it."""
    if is_silent(outcome):
        return None
    first = outcome.differences[0]
    return next((group for group in groups if group.has(outcome.case, first)), None)


def is_silent(outcome: Outcome) -> bool:
    """Whether a reply is missing. That never has a reason, unless something was refused before
    that the reply depends on."""
    for difference in outcome.differences:
        if difference.is_refusal:
            return False
        if difference.is_silence:
            return True
    return False


def shown(reply: bytes) -> str:
    """A reply as it stands in expected.txt: a long one by its beginning and its digest."""
    if len(reply) <= SHOWN_BYTES:
        return corpus.encode(reply)
    digest = hashlib.sha256(reply).hexdigest()[:16]
    return f"{corpus.encode(reply[:80])}...({len(reply)} bytes, {digest})"


class Expected:
    """The proxy's replies of expected.txt: by case and protocol, the place of each reply that
    differs and the reply."""

    def __init__(self) -> None:
        self.replies: dict[tuple[str, int], dict[int, str]] = {}
        self.groups: dict[str, str] = {}

    def of(self, case: str, protocol: int) -> dict[int, str]:
        return self.replies.get((case, protocol), {})

    def note(self, case: str, group: str, protocol: int, place: int, reply: str) -> None:
        self.groups[case] = group
        self.replies.setdefault((case, protocol), {})[place] = reply

    def forget(self, case: str, protocol: int) -> None:
        self.replies.pop((case, protocol), None)

    @classmethod
    def load(cls, path: pathlib.Path) -> Expected:
        expected, group = cls(), ""
        if not path.exists():
            return expected
        for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), start=1):
            if line.startswith("["):
                group = line.strip("[]")
            elif line and not line.startswith("#"):
                found = re.match(r"(\S+) (\d+)(?:/([23]))? (.*)\Z", line)
                if not found or not group:
                    raise FormatError(f"{path.name}:{number}: not an expected reply")
                case, place, protocol, reply = found.groups()
                for one in [int(protocol)] if protocol else [2, 3]:
                    expected.note(case, group, one, int(place), reply)
        return expected

    def save(self, path: pathlib.Path, groups: list[Group]) -> None:
        lines = ["# What the proxy answers where it differs: written by `run --record`.",
                 "# Case, which of its replies (and in which protocol, if not in both), the reply."]
        cases = sorted({case for case, _ in self.replies})
        for group in groups:
            own = [case for case in cases if self.groups[case] == group.name]
            if own:
                lines += ["", f"[{group.name}]"]
            for case in own:
                lines += self._lines(case)
        path.write_text("\n".join(lines) + "\n", encoding="ascii")

    def _lines(self, case: str) -> list[str]:
        both = {2: self.of(case, 2), 3: self.of(case, 3)}
        lines = []
        for place in sorted(both[2].keys() | both[3].keys()):
            two, three = both[2].get(place), both[3].get(place)
            if two == three:
                lines.append(f"{case} {place} {two}")
                continue
            for protocol, reply in ((2, two), (3, three)):
                if reply is not None:
                    lines.append(f"{case} {place}/{protocol} {reply}")
        return lines


def failure_of(outcome: Outcome, expected: Expected) -> list[str]:
    """What is not as expected of one case in one protocol."""
    if outcome.fault:
        return [f"the case is broken: {outcome.fault}"]
    known = expected.of(outcome.case, outcome.protocol)
    silent = is_silent(outcome)
    got = {difference.place: shown(difference.proxy) for difference in outcome.differences}
    texts = []
    for difference in outcome.differences:
        reply = got[difference.place]
        if (silent and difference.is_silence) or known.get(difference.place) != reply:
            listed = known.get(difference.place)
            texts.append(
                f"reply {difference.place}, to {_request(difference.words)}:\n"
                f"      proxy    {reply}\n      server   {shown(difference.server)}"
                + (f"\n      listed   {listed}" if listed is not None else "")
            )
    for place in known.keys() - got.keys():
        texts.append(f"reply {place} is that of redis-server now; listed was {known[place]}")
    return texts


def _request(words: list[bytes]) -> str:
    return corpus.encode(b" ".join(words))[:160] or "what was sent"
