#!/usr/bin/env python3
"""Damage the corpus cases about framing at random and compare two servers' replies to the result.

mutate.py HOST:PORT REFERENCE [--count N] [--seed N]

The servers should hold the same keys, best none. The same seed gives the same requests. A reply
with the refusal of a command that is not served yet is not compared, nor one with CROSSSLOT, as the
reference may be a single server.
"""

from __future__ import annotations

import argparse
import asyncio
import pathlib
import random
import re
import sys

sys.dont_write_bytecode = True

import corpus
from corpus import Case, Outcome
from deliver import deliver
from probe import parse_address

HERE = pathlib.Path(__file__).resolve().parent
SHOWN = 10
QUIETS_S = (0.2, 0.8, 2.0)
TOPICS = {"proto", "inline", "cross-protocol", "hello", "unknown", "arity", "eof"}
UNWANTED_TAGS = {"heavy", "timing", "multi", "pubsub", "script", "select"}
# Commands whose replies depend on the server, on time or on other connections, or that change it.
UNWANTED = re.compile(
    rb"select|client|flush|subscribe|config|info|debug|move|script|shutdown|slaveof|replicaof|"
    rb"cluster|wait|monitor|sync|time|random|keys|lastsave|command|acl|failover|migrate|restore|"
    rb"dbsize|latency|memory|slowlog|save|role|swapdb|module|reset|read|asking|incr|append|push|"
    rb"pop|add|rem|set|del|unlink|getex|expire|persist|rename|copy|store|trim|move|inter|#",
    re.I,
)
PIECES = [
    b"\r\n", b"\n", b"\r", b"\0", b"\t", b"\x0b", b" ", b"*", b"$", b"+", b"0", b"-1", b"\"", b"'",
    b"\\x41", b"\xff", b"9999999999999999999", b"2147483648", b"536870913", b"1048577",
    b"*1\r\n$4\r\nPING\r\n", b"PING\r\n", b"*-1\r\n", b"*0\r\n", b"$-1\r\n", b"ECHO \"a b\"\r\n",
    b"QUIT\r\n", b"POST", b"HOST:", b"GET c:none\r\n",
]


def damaged(data: bytes, seeds: list[bytes], rng: random.Random) -> bytes:
    """The request after one to three random changes."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(5):
            case 0:
                out[at:at] = rng.choice(PIECES)
            case 1:
                del out[at : at + rng.choice((1, 1, 2, 5))]
            case 2:
                out[at : at + 1] = bytes([rng.randrange(256)])
            case 3:
                out[at:at] = rng.choice(seeds)
            case _:
                out[at : at + rng.choice((1, 2, 4))] = rng.choice(PIECES)
    return bytes(out)


def requests(count: int, seed: int) -> list[Case]:
    rng = random.Random(seed)
    seeds = [
        case.payload()
        for case in corpus.load_cases(HERE)
        if case.tags & TOPICS and not case.tags & UNWANTED_TAGS and not case.has_pause()
    ]
    seeds = [data for data in seeds if len(data) < 400 and not UNWANTED.search(data)]
    cases: list[Case] = []
    while len(cases) < count:
        data = damaged(rng.choice(seeds), seeds, rng)
        if not UNWANTED.search(data):
            eof = rng.random() < 0.2
            cases.append(Case("mutation", {"hello-any"}, "", [("send", data)], eof))
    return cases


async def compare(options, case: Case, slots: asyncio.Semaphore) -> tuple[Outcome, Outcome]:
    """Both outcomes; a difference is confirmed by slower repetitions."""
    pieces = [(case.payload(), 0.0)]
    for quiet in QUIETS_S:
        async with slots:
            got, expected = await asyncio.gather(
                deliver(options.server, case, pieces, quiet),
                deliver(options.reference, case, pieces, quiet),
            )
        agree = corpus.agree(case, got, expected, options.closes_foreign)
        if agree or corpus.REFUSAL in got.reply or b"-CROSSSLOT" in got.reply:
            return expected, expected
    return got, expected


async def compare_all(options, cases: list[Case]) -> list[tuple[Outcome, Outcome]]:
    slots = asyncio.Semaphore(128)
    return await asyncio.gather(*(compare(options, case, slots) for case in cases))


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("server", type=parse_address)
    parser.add_argument("reference", type=parse_address)
    parser.add_argument("--closes-foreign", action="store_true", help="as the proxy does")
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    cases = requests(options.count, options.seed)
    different = [
        f"DIFFERENT {corpus.encode(case.payload())}{' (end)' if case.eof else ''}:\n"
        f"    got      {got.show()}\n    expected {expected.show()}"
        for case, (got, expected) in zip(cases, asyncio.run(compare_all(options, cases)))
        if got != expected
    ]
    print("\n".join(different[:SHOWN]), end="\n" if different else "")
    same = len(cases) - len(different)
    print(f"{len(cases)} cases, {same} identical, {len(different)} different")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
