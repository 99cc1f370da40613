#!/usr/bin/env python3
"""Send every corpus case to one server, or to two and compare them byte for byte.

probe.py HOST:PORT                    print the replies; fail if delivery changes one
probe.py HOST:PORT HOST:PORT2         compare reply and close of two servers
probe.py HOST:PORT --expect FILE      compare with recorded outcomes
probe.py HOST:PORT --record FILE      record outcomes of the one-write delivery

With --expect: --except FILE names the cases in which the server is known to differ and what it
answers; --record-except FILE writes a draft of that from what differs.
"""

from __future__ import annotations

import argparse
import asyncio
import pathlib
import re
import sys
from dataclasses import dataclass, field

sys.dont_write_bytecode = True

import corpus
from corpus import Case, Outcome
from deliver import Piece, deliver, deliveries, one_write

HERE = pathlib.Path(__file__).resolve().parent
SHOWN_DIFFERENCES = 3
CALM_JOBS = 24


@dataclass
class Finding:
    """What was learnt about one case."""

    case: Case
    outcome: Outcome
    differences: list[str] = field(default_factory=list)
    repeated: int = 0

    def note(self, label: str, got: Outcome, expected: Outcome | None) -> None:
        if expected is not None and got != expected:
            text = f"{label}:\n    got      {got.show()}\n    expected {expected.show()}"
            self.differences.append(text)


class Prober:
    """Runs deliveries with bounded concurrency; differences are confirmed by slow repetitions."""

    def __init__(self, options, expected: dict[str, Outcome] | None) -> None:
        self.options = options
        self.expected = expected
        self.slots = asyncio.Semaphore(options.jobs)
        self.calm = asyncio.Semaphore(CALM_JOBS)
        self.lone = asyncio.Lock()

    async def run(self, address, case: Case, pieces: list[Piece], quiet: float) -> Outcome:
        async with self.slots:
            return await deliver(address, case, pieces, quiet)

    async def confirm(
        self, finding: Finding, pieces: list[Piece], reference: Outcome | None
    ) -> tuple[Outcome, Outcome | None]:
        """Deliver and compare with the reference, or with what the second server gives; a
        difference counts only if it survives slow repetitions."""
        case, quiet = finding.case, self.options.quiet

        async def once(quiet: float) -> tuple[Outcome, Outcome | None]:
            first = self.run(self.options.first, case, pieces, quiet)
            if reference is not None or not self.options.second:
                return await first, reference
            second = self.run(self.options.second, case, pieces, quiet)
            return tuple(await asyncio.gather(first, second))

        mine, other = await once(quiet)
        for slower in (4, 8):
            agree = other is None or self.agree(case, mine, other)
            done = agree or len(finding.differences) >= SHOWN_DIFFERENCES
            if done:
                break
            finding.repeated += 1
            async with self.calm:
                mine, other = await once(quiet * slower)
        if other is not None and self.agree(case, mine, other):
            other = mine
        return mine, other

    def agree(self, case: Case, one: Outcome, other: Outcome) -> bool:
        return corpus.agree(case, one, other, self.options.closes_foreign)

    async def probe(self, case: Case) -> Finding:
        """All wanted deliveries of one case. What one write gives is compared with the expected
        outcome; the other deliveries have to give the same as the one write."""
        finding = Finding(case, Outcome(b"", False))
        if self.expected is not None and case.name not in self.expected:
            finding.differences.append("no recorded outcome")
            return finding
        (label, pieces), *others = deliveries(case, self.options.modes)
        reference = self.expected[case.name] if self.expected is not None else None
        if "heavy" in case.tags:
            async with self.lone:
                mine, other = await self.confirm(finding, pieces, reference)
        else:
            mine, other = await self.confirm(finding, pieces, reference)
        finding.outcome = mine
        finding.note(label, mine, other)

        async def other_way(label: str, pieces: list[Piece]) -> None:
            got, expected = await self.confirm(finding, pieces, mine)
            finding.note(f"{label}, compared with one write", got, expected)

        await asyncio.gather(*(other_way(label, pieces) for label, pieces in others))
        return finding


async def probe_all(options, cases: list[Case], expected) -> list[Finding]:
    """A finding for each case; those that are not done when the time is up are different."""
    prober = Prober(options, expected)
    tasks = {asyncio.create_task(prober.probe(case)): case for case in cases}
    done, late = await asyncio.wait(tasks, timeout=options.time)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    findings = []
    for task, case in tasks.items():
        if task in done:
            findings.append(task.result())
        else:
            findings.append(Finding(case, Outcome(b"", False), ["not done in time"]))
    return findings


async def record(options, cases: list[Case]) -> None:
    """Take each case's one-write outcome with a long quiet time and save them all."""
    outcomes = {}
    for start in range(0, len(cases), options.jobs):
        batch = cases[start : start + options.jobs]
        results = await asyncio.gather(
            *(deliver(options.first, case, one_write(case), options.quiet * 5) for case in batch)
        )
        outcomes.update((case.name, outcome) for case, outcome in zip(batch, results))
    corpus.save_expected(options.record, "Recorded by probe.py --record; do not edit.", outcomes)
    print(f"{len(outcomes)} outcomes recorded in {options.record}")


def parse_address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host or "127.0.0.1", int(port)


def parse_options(argv: list[str]):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=parse_address, metavar="HOST:PORT")
    parser.add_argument("second", type=parse_address, nargs="?", metavar="HOST:PORT2")
    parser.add_argument("--expect", type=pathlib.Path, help="file written by --record")
    parser.add_argument("--except", type=pathlib.Path, action="append", default=[], dest="but")
    parser.add_argument("--record-except", type=pathlib.Path)
    parser.add_argument("--record", type=pathlib.Path, help="write outcomes to this file")
    parser.add_argument("--only", default="", help="regular expression on case names")
    parser.add_argument("--tag", action="append", default=[], help="only cases with this tag")
    parser.add_argument("--skip-tag", action="append", default=[], help="none with this tag")
    parser.add_argument("--modes", default="one,byte,split", help="default: one,byte,split")
    parser.add_argument("--jobs", type=int, default=96, help="connections at once")
    parser.add_argument("--time", type=float, default=150, help="seconds for all of it")
    parser.add_argument("--quiet", type=float, default=0.15, help="silence that ends a case")
    parser.add_argument("--closes-foreign", action="store_true", help="as the proxy does")
    parser.add_argument("--verbose", action="store_true", help="always print the replies")
    options = parser.parse_args(argv)
    options.modes = set(options.modes.split(","))
    if (options.but or options.record_except) and not options.expect:
        parser.error("--except and --record-except need --expect")
    if options.second and options.expect:
        parser.error("--expect takes one address")
    return options


def select(cases: list[Case], options) -> list[Case]:
    wanted, unwanted = set(options.tag), set(options.skip_tag)
    return [
        case
        for case in cases
        if re.search(options.only, case.name) and wanted <= case.tags and not unwanted & case.tags
    ]


def report(findings: list[Finding], options) -> int:
    comparing = bool(options.second or options.expect)
    for finding in findings:
        if options.verbose or not comparing:
            print(f"{finding.case.name}: {finding.outcome.show()}")
        for text in finding.differences[:SHOWN_DIFFERENCES]:
            print(f"DIFFERENT {finding.case.name}: {text}")
        if len(finding.differences) > SHOWN_DIFFERENCES:
            print(f"    ... and {len(finding.differences) - SHOWN_DIFFERENCES} more deliveries")
    different = sum(1 for finding in findings if finding.differences)
    repeated = sum(finding.repeated for finding in findings)
    if repeated:
        print(f"{repeated} deliveries had to be repeated slowly")
    print(f"{len(findings)} cases, {len(findings) - different} identical, {different} different")
    return 1 if different or not findings else 0


def main(argv: list[str]) -> int:
    options = parse_options(argv)
    cases = select(corpus.load_cases(HERE), options)
    if options.record:
        asyncio.run(record(options, cases))
        return 0
    expected = corpus.load_expected(options.expect) if options.expect else None
    for path in options.but:
        expected |= corpus.load_exceptions(path, expected)
    findings = asyncio.run(probe_all(options, cases, expected))
    if options.record_except:
        differ = {found.case.name: found.outcome for found in findings if found.differences}
        title = "Where the server differs from redis-server; corpus.py knows the reasons."
        corpus.save_expected(options.record_except, title, differ, with_reason=True)
    return report(findings, options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
