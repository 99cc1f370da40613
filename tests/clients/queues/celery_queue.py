#!/usr/bin/env python3
"""Celery with a worker process, Redis as its broker and for its results."""

from __future__ import annotations

import os
import sys

from checks import Checks, equal, parse_address
from server import OTHER_SLOT, Address, wait_until, worker

ADDRESS = Address(*parse_address(sys.argv[1]))
HERE = os.path.dirname(os.path.abspath(__file__))
RUN = f"celery-{os.getpid()}"
SECONDS = 30
QUEUES = "celery,urgent,bulk"


class Suite:
    """The checks with one prefix for all keys."""

    def __init__(self, prefix: str) -> None:
        os.environ.update(QUEUE_URL=ADDRESS.url, QUEUE_PREFIX=prefix)
        sys.modules.pop("celery_app", None)
        import celery_app

        self.tasks = celery_app
        self.app = celery_app.app
        self.prefix = prefix

    def worker(self):
        return worker(
            [sys.executable, "-m", "celery", "-A", "celery_app", "worker", "-P", "solo",
             "-Q", QUEUES, "-l", "INFO", "-n", f"{RUN}@%h"],
            PYTHONPATH=HERE, QUEUE_URL=ADDRESS.url, QUEUE_PREFIX=self.prefix,
        )

    def priorities(self) -> None:
        """What was sent before the worker starts is done in the order of the priorities."""
        key = f"{self.prefix}order"
        for priority in (9, 3, 0, 6, 9, 0):
            self.tasks.note.apply_async((key, str(priority)), priority=priority)
        with self.worker():
            wait_until("six tasks", lambda: ADDRESS.redis.llen(key) == 6, SECONDS)
        equal(ADDRESS.redis.lrange(key, 0, -1), [b"0", b"0", b"3", b"6", b"9", b"9"])

    def many(self) -> None:
        sent = [self.tasks.add.delay(number, 1) for number in range(100)]
        equal([result.get(SECONDS) for result in sent], list(range(1, 101)))

    def queues(self) -> None:
        sent = [self.tasks.add.apply_async((number, 2), queue=QUEUES.split(",")[number % 3])
                for number in range(30)]
        equal([result.get(SECONDS) for result in sent], list(range(2, 32)))

    def group(self) -> None:
        from celery import group

        result = group(self.tasks.add.s(number, number) for number in range(40)).apply_async()
        equal(result.get(SECONDS), [2 * number for number in range(40)])

    def chord(self) -> None:
        from celery import chord

        header = [self.tasks.add.s(number, 1) for number in range(30)]
        equal(chord(header)(self.tasks.total.s()).get(SECONDS), sum(range(1, 31)))

    def chain(self) -> None:
        result = (self.tasks.add.s(1, 2) | self.tasks.add.s(4) | self.tasks.add.s(8)).delay()
        equal(result.get(SECONDS), 15)

    def failures(self) -> None:
        result = self.tasks.fail.delay("as asked")
        error = result.get(SECONDS, propagate=False)
        equal((type(error).__name__, str(error)), ("ValueError", "as asked"))
        equal(self.tasks.third_time.delay().get(SECONDS), 2)

    def later(self) -> None:
        equal(self.tasks.add.apply_async((1, 1), countdown=1).get(SECONDS), 2)

    def control(self) -> None:
        """Remote control goes through publish and subscribe."""
        equal([list(answer.values()) for answer in self.app.control.ping(timeout=3)],
              [[{"ok": "pong"}]])

    def acknowledged(self) -> None:
        """Nothing waits to be delivered again, and the queues are empty."""
        wait_until("acknowledgements",
                   lambda: not ADDRESS.redis.exists(f"{self.prefix}unacked"))
        for queue in QUEUES.split(","):
            equal(ADDRESS.redis.llen(self.prefix + queue), 0, queue)


def one_slot(checks: Checks) -> None:
    suite = Suite("{%s}" % RUN)
    checks.run("priorities", suite.priorities)
    with suite.worker() as log:
        failed = checks.failed
        for check in (suite.many, suite.queues, suite.group, suite.chord, suite.chain,
                      suite.failures, suite.later, suite.control, suite.acknowledged):
            checks.run(check.__name__, check)
        if checks.failed > failed:
            print(log.read_text(errors="replace")[-4000:])


def any_slot(suite: Suite) -> None:
    """kombu uses several keys in one transaction, for sending and for taking a message."""
    from kombu.exceptions import OperationalError

    with suite.worker() as log:
        try:
            result = suite.tasks.add.delay(20, 22)
        except OperationalError as error:
            equal((ADDRESS.is_proxy, OTHER_SLOT in str(error)), (True, True), str(error))
            wait_until("the worker's refusal", lambda: OTHER_SLOT in log.read_text(), SECONDS)
        else:
            equal((ADDRESS.is_proxy, result.get(SECONDS)), (False, 42))


def main() -> int:
    checks = Checks("celery")
    one_slot(checks)
    checks.run("without a hash tag", any_slot, Suite(RUN))
    checks.run("keys removed", ADDRESS.remove, RUN)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
