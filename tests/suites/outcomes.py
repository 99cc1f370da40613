"""What became of each test of one run, read from the reports of pytest and mocha."""

import json
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
# The worst counts when a test is reported twice: it passed, but its cleaning up failed.
RANK = {SKIPPED: 0, PASSED: 1, FAILED: 2}


class Outcomes:
    """Test by name: passed, failed or skipped, and for the failed ones the first line of why."""

    def __init__(self) -> None:
        self.by_test: dict[str, str] = {}
        self.reasons: dict[str, str] = {}

    def add(self, test: str, outcome: str, reason: str = "") -> None:
        known = self.by_test.get(test, outcome)
        self.by_test[test] = max(known, outcome, key=RANK.__getitem__)
        if outcome == FAILED:
            self.reasons.setdefault(test, " ".join(reason.split())[:200])

    def add_all(self, others: "Outcomes") -> None:
        for test, outcome in others.by_test.items():
            self.add(test, outcome, others.reasons.get(test, ""))

    def passed(self, test: str) -> bool:
        return self.by_test.get(test) == PASSED

    def reason(self, test: str) -> str:
        """Why a test has not passed."""
        if test in self.reasons:
            return self.reasons[test]
        return self.by_test.get(test, "did not run, what it needs failed before it")

    def with_second(self, second: "Outcomes") -> "Outcomes":
        """These outcomes, where a test that passed the second time has passed."""
        both = Outcomes()
        both.by_test = self.by_test | {t: PASSED for t in second.by_test if second.passed(t)}
        both.reasons = self.reasons
        return both

    def count(self, outcome: str) -> int:
        return Counter(self.by_test.values())[outcome]

    def __str__(self) -> str:
        return ", ".join(f"{self.count(kind)} {kind}" for kind in (PASSED, FAILED, SKIPPED))


def read_pytest(report: Path) -> Outcomes:
    """The outcomes in a JUnit file of pytest, by node id."""
    outcomes = Outcomes()
    for case in ElementTree.parse(report).iter("testcase"):
        file = case.get("file", "")
        module = file.removesuffix(".py").replace("/", ".")
        classes = case.get("classname", "").removeprefix(module).split(".")
        test = "::".join([file, *filter(None, classes), case.get("name", "")])
        failure = next((case.find(k) for k in ("failure", "error") if case.find(k) is not None),
                       None)
        if failure is not None:
            outcomes.add(test, FAILED, failure.get("message") or "")
        else:
            outcomes.add(test, PASSED if case.find("skipped") is None else SKIPPED)
    return outcomes


def read_mocha(report: Path, root: Path) -> Outcomes:
    """The outcomes in a JSON file of mocha, by file and title.

    Tests after a failed hook are not in it; they count as not passed. Titles may repeat in a file.
    """
    outcomes = Outcomes()
    seen: Counter = Counter()
    document = json.loads(report.read_text())
    pending = {(test["file"], test["fullTitle"]) for test in document["pending"]}
    for test in document["tests"]:
        name = f"{Path(test['file']).relative_to(root)}: {test['fullTitle']}"
        seen[name] += 1
        if seen[name] > 1:
            name = f"{name} ({seen[name]})"
        error = test["err"]
        if error:
            outcomes.add(name, FAILED, str(error.get("message", "")))
        else:
            skipped = (test["file"], test["fullTitle"]) in pending
            outcomes.add(name, SKIPPED if skipped else PASSED)
    return outcomes
