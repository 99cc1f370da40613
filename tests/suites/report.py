"""Compares a run through the proxy with one on redis-server and with the list of exceptions."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from outcomes import Outcomes

KINDS = ("cluster", "refused", "differs", "pending")
UNEXPLAINED_SHOWN = 200


class Exemption(NamedTuple):
    """Why a test can't pass through the proxy."""

    kind: str
    reason: str


def read_expected(path: Path) -> dict[str, Exemption]:
    """The tests of a list with lines of `kind | test | reason`."""
    expected: dict[str, Exemption] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split(" | ")]
        if len(parts) < 3 or parts[0] not in KINDS:
            raise SystemExit(f"{path.name}:{number}: not 'kind | test | reason', kinds: {KINDS}")
        test = " | ".join(parts[1:-1])
        if test in expected:
            raise SystemExit(f"{path.name}:{number}: {test} stands there twice")
        expected[test] = Exemption(parts[0], parts[-1])
    return expected


class Report:
    """What passes on redis-server, and what has become of it through the proxy."""

    def __init__(self, alone: Outcomes, expected: dict[str, Exemption]) -> None:
        self.alone = alone
        self.expected = expected
        self.applicable = [test for test in alone.by_test if alone.passed(test)]
        self.outcomes = Outcomes()
        self.unexplained: list[str] = []

    def compare(self, outcomes: Outcomes) -> None:
        self.outcomes = outcomes
        self.unexplained = [
            test for test in self.applicable
            if not outcomes.passed(test) and test not in self.expected
        ]

    def finish(self, client: str) -> int:
        """Prints findings and figures; the result is the exit status."""
        for test in self.unexplained[:UNEXPLAINED_SHOWN]:
            print(f"FAILED  {test}: {self.outcomes.reason(test)}")
        for test in self.expected:
            if self.outcomes.passed(test):
                print(f"passes although listed: {test}")
            elif not self.alone.passed(test):
                print(f"listed, but does not pass on redis-server: {test}")
        passed = sum(map(self.outcomes.passed, self.applicable))
        kinds = Counter(
            self.expected[test].kind for test in self.applicable
            if test in self.expected and not self.outcomes.passed(test)
        )
        idle = len(self.alone.by_test) - len(self.applicable)
        print(f"\n{client:20} {'passed':>7} {'failed':>7} {'skipped':>8}")
        for name, outcomes in (("redis-server", self.alone), ("proxy", self.outcomes)):
            counts = [outcomes.count(outcome) for outcome in ("passed", "failed", "skipped")]
            print(f"{name:20} {counts[0]:7} {counts[1]:7} {counts[2]:8}")
        print(f"\nof the {len(self.applicable)} tests that pass on redis-server:")
        for kind in KINDS:
            print(f"  {kinds[kind]:5} can't pass through the proxy: {kind}")
        print(f"  {idle:5} others do not pass on redis-server and say nothing")
        explained = sum(kinds.values())
        print(f"{passed} passed, {len(self.unexplained)} failed, "
              f"{idle + explained} not applicable")
        return 1 if self.unexplained or not passed else 0
