#!/usr/bin/env python3
"""A workload to run through one address while slots migrate; it proves that nothing is lost.

Clients push to shared lists and count on shared counters, write their own keys with MSET and read
theirs and others' with MGET. A push that was answered with length n must be element n of its list
at the end; lists hold nothing else; each client's elements are in the order it sent them. Reads
see the last own write, and others' writes never go back. No command may fail and no connection may
be lost. Commands are never repeated, so that a repetition behind the address shows as a double.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import random
import signal
import sys
import threading
import time

sys.dont_write_bytecode = True

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from checks import parse_address
from connections import counted_connection

FINDINGS_SHOWN = 20
READ_AT_ONCE = 1000
COUNTERS = 20
POLL_SECONDS = 0.05


class Findings:
    """What is wrong; the first few are printed as they come."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.errors = 0
        self.wrong = 0

    def error(self, text: str) -> None:
        """A command failed."""
        with self.lock:
            self.errors += 1
            self.show("ERROR", text)

    def broken(self, text: str) -> None:
        """A promise was broken."""
        with self.lock:
            self.wrong += 1
            self.show("WRONG", text)

    def show(self, kind: str, text: str) -> None:
        shown = self.errors + self.wrong
        if shown <= FINDINGS_SHOWN:
            print(f"{kind}  {time.strftime('%H:%M:%S')} {text[:300]}", flush=True)
        elif shown == FINDINGS_SHOWN + 1:
            print("further findings are only counted", flush=True)


class Names:
    """The keys of this run, spread over all slots."""

    def __init__(self, options) -> None:
        prefix = f"reshard:{os.getpid()}"
        self.lists = [f"{prefix}:list:{n}" for n in range(options.lists)]
        self.counters = [f"{prefix}:counter:{n}" for n in range(COUNTERS)]
        self.own = [
            [f"{prefix}:own:{client}:{n}" for n in range(options.keys)]
            for client in range(options.clients)
        ]

    def all(self) -> list[str]:
        return self.lists + self.counters + [key for keys in self.own for key in keys]


class Worker(threading.Thread):
    """One client: a connection, its random commands and all that it was promised."""

    def __init__(self, number: int, options, names: Names, findings: Findings, stop) -> None:
        super().__init__(name=f"client {number}", daemon=True)
        self.number = number
        self.options = options
        self.names = names
        self.findings = findings
        self.stop = stop
        self.random = random.Random(options.seed * 1000 + number)
        self.connection_class = counted_connection()
        self.redis = connect(options, self.connection_class)
        self.sequence = 0
        self.operations = 0
        self.slowest = 0.0
        self.pushed: dict[str, list[tuple[int, bytes]]] = {key: [] for key in names.lists}
        self.in_doubt: dict[str, set[bytes]] = {key: set() for key in names.lists}
        self.counted: dict[str, list[int]] = {key: [] for key in names.counters}
        self.written: dict[str, int | None] = {key: None for key in names.own[number]}
        self.seen: dict[str, int] = {}

    def run(self) -> None:
        actions = (self.push, self.push, self.push_pipelined, self.count, self.write, self.read,
                   self.read_others)
        started = time.monotonic()
        while not self.stop.is_set():
            before = time.monotonic()
            try:
                self.random.choice(actions)()
            except redis.RedisError as error:
                self.findings.error(f"{self.name}: {type(error).__name__}: {error}")
                self.stop.wait(0.1)
            except Exception as error:  # a reply no check foresaw is a finding, too
                self.findings.broken(f"{self.name}: {type(error).__name__}: {error}")
            self.slowest = max(self.slowest, time.monotonic() - before)
            self.pace(started)
        if self.connection_class.made > 1:
            self.findings.error(f"{self.name}: connected {self.connection_class.made} times")

    def pace(self, started: float) -> None:
        if self.options.rate:
            due = started + self.operations / self.options.rate
            self.stop.wait(max(0.0, due - time.monotonic()))

    def next_element(self) -> bytes:
        self.sequence += 1
        return b"%d:%d" % (self.number, self.sequence)

    def push(self) -> None:
        key, element = self.random.choice(self.names.lists), self.next_element()
        self.operations += 1
        self.in_doubt[key].add(element)
        self.acknowledge(key, element, self.redis.rpush(key, element))

    def push_pipelined(self) -> None:
        """Pushes to two lists in turns, sent at once: the replies of a list must rise."""
        keys = self.random.sample(self.names.lists, 2) * 4
        elements = [self.next_element() for _ in keys]
        pipe = self.redis.pipeline(transaction=False)
        for key, element in zip(keys, elements):
            pipe.rpush(key, element)
            self.in_doubt[key].add(element)
        self.operations += len(keys)
        replies = pipe.execute(raise_on_error=False)
        last = dict.fromkeys(keys, 0)
        for key, element, reply in zip(keys, elements, replies):
            if isinstance(reply, Exception):
                self.findings.error(f"{self.name}: RPUSH {key} in a pipeline: {reply}")
                continue
            self.acknowledge(key, element, reply)
            if reply <= last[key]:
                self.findings.broken(f"{self.name}: {key}: reply {reply} after {last[key]}")
            last[key] = reply

    def acknowledge(self, key: str, element: bytes, reply: int) -> None:
        self.in_doubt[key].discard(element)
        self.pushed[key].append((reply, element))

    def count(self) -> None:
        key = self.random.choice(self.names.counters)
        self.operations += 1
        self.counted[key].append(self.redis.incr(key))

    def write(self) -> None:
        keys = self.random.sample(self.names.own[self.number], self.options.keys // 2)
        self.sequence += 1
        self.operations += 1
        for key in keys:
            self.written[key] = None  # not known until the reply is there
        self.redis.mset({key: self.sequence for key in keys})
        for key in keys:
            self.written[key] = self.sequence

    def read(self) -> None:
        keys = self.random.sample(self.names.own[self.number], self.options.keys // 2)
        self.operations += 1
        for key, value in zip(keys, self.redis.mget(keys), strict=True):
            expected = self.written[key]
            if expected is not None and value != b"%d" % expected:
                self.findings.broken(f"{self.name}: {key}: read {value}, wrote {expected}")

    def read_others(self) -> None:
        keys = [self.random.choice(self.random.choice(self.names.own)) for _ in range(20)]
        self.operations += 1
        for key, value in zip(keys, self.redis.mget(keys), strict=True):
            now, before = int(value or 0), self.seen.get(key, 0)
            if now < before:
                self.findings.broken(f"{self.name}: {key}: read {now} after {before}")
            self.seen[key] = now


def connect(options, connection_class=redis.Connection) -> redis.Redis:
    """A client that never repeats a command."""
    host, port = options.address
    pool = redis.ConnectionPool(
        connection_class, host=host, port=port, protocol=options.protocol,
        retry=Retry(NoBackoff(), 0), socket_timeout=options.timeout,
    )
    return redis.Redis(connection_pool=pool)


def read_list(client: redis.Redis, key: str) -> list[bytes]:
    elements: list[bytes] = []
    while chunk := client.lrange(key, len(elements), len(elements) + READ_AT_ONCE - 1):
        elements += chunk
    return elements


def verify_list(key: str, elements: list[bytes], workers: list[Worker], findings: Findings) -> None:
    """Compare a list with what its pushes were answered."""
    places: dict[bytes, int] = {}
    for place, element in enumerate(elements, start=1):
        if element in places:
            findings.broken(f"{key}: {element} stands at {places[element]} and {place}")
        places[element] = place
    known = 0
    for worker in workers:
        promised = worker.pushed[key]
        known += len(promised)
        for reply, element in promised:
            place = places.get(element)
            if place is None:
                findings.broken(f"{key}: {element}, answered {reply}, is lost")
            elif place != reply:
                findings.broken(f"{key}: {element}, answered {reply}, stands at {place}")
        known += sum(element in places for element in worker.in_doubt[key])
    if len(elements) != known:
        findings.broken(f"{key}: {len(elements)} elements, {known} were pushed")
    last: dict[bytes, int] = {}
    for element in elements:
        client, _, sequence = element.partition(b":")
        if not sequence.isdigit():
            findings.broken(f"{key}: foreign element {element}")
        elif int(sequence) <= last.get(client, 0):
            findings.broken(f"{key}: {element} comes after number {last[client]}")
        else:
            last[client] = int(sequence)


def verify(workers: list[Worker], names: Names, findings: Findings, options) -> int:
    """Check everything against the final data; return how many lists were read."""
    client, verified = connect(options), 0
    try:
        for key in names.lists:
            verify_list(key, read_list(client, key), workers, findings)
            verified += 1
        for key in names.counters:
            replies = sorted(reply for worker in workers for reply in worker.counted[key])
            final = int(client.get(key) or 0)
            if len(set(replies)) != len(replies):
                findings.broken(f"{key}: two clients were given the same number")
            if not findings.errors and replies != list(range(1, final + 1)):
                findings.broken(f"{key}: ends at {final} after {len(replies)} increments")
        for worker in workers:
            values = client.mget(list(worker.written))
            for (key, expected), value in zip(worker.written.items(), values, strict=True):
                if expected is not None and value != b"%d" % expected:
                    findings.broken(f"{key}: ends as {value}, last written {expected}")
        if not options.keep:
            client.unlink(*names.all())
    except redis.RedisError as error:
        findings.error(f"verification: {type(error).__name__}: {error}")
    return verified


def wait(options, stop: threading.Event) -> None:
    end = time.monotonic() + options.seconds
    while time.monotonic() < end and not stop.wait(POLL_SECONDS):
        if options.until_file and options.until_file.exists():
            return


def parse_options(arguments: list[str]):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", type=parse_address, metavar="HOST:PORT")
    parser.add_argument("--seconds", type=float, default=30, help="how long to run at most")
    parser.add_argument("--until-file", type=pathlib.Path, help="stop as soon as it exists")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--lists", type=int, default=200)
    parser.add_argument("--keys", type=int, default=40, help="keys that each client writes")
    parser.add_argument("--rate", type=float, default=200, help="per client and second, or 0")
    parser.add_argument("--timeout", type=float, default=10, help="seconds a reply may take")
    parser.add_argument("--protocol", type=int, choices=(2, 3), default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="leave the keys behind")
    options = parser.parse_args(arguments)
    if options.lists < 2 or options.keys < 2 or options.clients < 1:
        parser.error("needs two lists, two keys and a client")
    return options


def main(arguments: list[str]) -> int:
    options = parse_options(arguments)
    findings, stop, names = Findings(), threading.Event(), Names(options)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    workers = [Worker(n, options, names, findings, stop) for n in range(options.clients)]
    started = time.monotonic()
    for worker in workers:
        worker.start()
    wait(options, stop)
    stop.set()
    for worker in workers:
        worker.join(options.timeout + 5)
        if worker.is_alive():
            findings.broken(f"{worker.name} does not come back")
    spent = time.monotonic() - started
    operations = sum(worker.operations for worker in workers)
    verified = verify(workers, names, findings, options)
    elements = sum(len(made) for worker in workers for made in worker.pushed.values())
    print(f"slowest command {max(worker.slowest for worker in workers) * 1000:.0f} ms, "
          f"{elements} elements pushed, {spent:.1f} s")
    print(f"{operations} ops, {findings.errors} errors, {findings.wrong} wrong, "
          f"{verified} lists verified")
    bad = findings.errors or findings.wrong or not operations or verified != options.lists
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
