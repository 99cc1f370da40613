#!/usr/bin/env python3
"""RQ with a worker process and its scheduler.

RQ reads the prefix of its keys once, from the environment, so each prefix is a process of its own.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import sys

from checks import Checks, equal, parse_address
from server import OTHER_SLOT, Address, wait_until, worker

ADDRESS = Address(*parse_address(sys.argv[1]))
HERE = os.path.dirname(os.path.abspath(__file__))
PREFIX = os.environ.get("RQ_KEY_PREFIX", "")
RQ = os.path.join(os.path.dirname(sys.executable), "rq")
SECONDS = 30
QUEUES = ("urgent", "default")


def results(jobs: list) -> list:
    """What the jobs returned, when all have ended."""
    wait_until("jobs", lambda: all(job.get_status() in ("finished", "failed") for job in jobs),
               SECONDS)
    return [job.return_value() for job in jobs]


class Suite:
    """The checks with all keys in one slot."""

    def __init__(self) -> None:
        import rq
        import rq_jobs

        self.rq = rq
        self.jobs = rq_jobs
        self.queues = {name: rq.Queue(name, connection=ADDRESS.redis) for name in QUEUES}
        self.queue = self.queues["default"]

    def many(self) -> None:
        jobs = [self.queue.enqueue(self.jobs.add, number, 1) for number in range(40)]
        equal(results(jobs), list(range(1, 41)))

    def bulk(self) -> None:
        """Several jobs in one transaction."""
        prepared = [self.rq.Queue.prepare_data(self.jobs.add, (number, 2)) for number in range(10)]
        equal(results(self.queue.enqueue_many(prepared)), list(range(2, 12)))

    def urgent(self) -> None:
        jobs = [self.queues[name].enqueue(self.jobs.add, 1, 1) for name in QUEUES]
        equal(results(jobs), [2, 2])

    def dependency(self) -> None:
        first = self.queue.enqueue(self.jobs.add, 1, 2)
        second = self.queue.enqueue(self.jobs.add, 3, 4, depends_on=first)
        equal(results([first, second]), [3, 7])

    def failed(self) -> None:
        job = self.queue.enqueue(self.jobs.fail, "as asked")
        equal(results([job]), [None])
        equal("ValueError: as asked" in job.latest_result().exc_string, True)
        equal(job.id in self.queue.failed_job_registry, True)

    def retried(self) -> None:
        job = self.queue.enqueue(self.jobs.third_time, f"{os.environ['RQ_KEY_PREFIX']}:calls",
                                 retry=self.rq.Retry(max=3))
        wait_until("the third call", lambda: job.get_status(refresh=True) == "finished", SECONDS)
        equal(job.return_value(), 3)

    def scheduled(self) -> None:
        job = self.queue.enqueue_in(datetime.timedelta(seconds=1), self.jobs.add, 20, 22)
        equal(results([job]), [42])

    def emptied(self) -> None:
        """The queue's own script removes what nobody has taken."""
        queue = self.rq.Queue("nobody", connection=ADDRESS.redis)
        for number in range(5):
            queue.enqueue(self.jobs.add, number, 1)
        equal(queue.empty(), 5)
        equal(queue.count, 0)


def one_slot(checks: Checks, prefix: str) -> None:
    suite = Suite()
    command = [RQ, "worker", "--with-scheduler", "--url", ADDRESS.url, "-P", HERE, *QUEUES]
    with worker(command, QUEUE_URL=ADDRESS.url, RQ_KEY_PREFIX=prefix) as log:
        failed = checks.failed
        for check in (suite.many, suite.bulk, suite.urgent, suite.dependency, suite.failed,
                      suite.retried, suite.scheduled, suite.emptied):
            checks.run(check.__name__, check)
        if checks.failed > failed:
            print(log.read_text(errors="replace")[-4000:])


def any_slot() -> None:
    """RQ writes a job and its queue in one transaction over several keys, which need one slot."""
    import redis

    suite = Suite()
    try:
        job = suite.queue.enqueue(suite.jobs.add, 20, 22)
    except redis.RedisError as error:
        equal((ADDRESS.is_proxy, OTHER_SLOT in str(error)), (True, True), str(error))
    else:
        equal((ADDRESS.is_proxy, job.get_status()), (False, "queued"))


def main() -> int:
    checks = Checks("rq")
    if PREFIX:
        checks.run("without a hash tag", any_slot)
        return checks.finish()
    run = f"rq-{os.getpid()}"
    done = subprocess.run([sys.executable, *sys.argv], capture_output=True, text=True, check=False,
                          env={**os.environ, "RQ_KEY_PREFIX": run})
    print(done.stdout, done.stderr, sep="", flush=True)
    checks.run("the process without a hash tag", equal, done.returncode, 0, "status")
    os.environ["RQ_KEY_PREFIX"] = "{%s}" % run
    one_slot(checks, os.environ["RQ_KEY_PREFIX"])
    checks.run("keys removed", ADDRESS.remove, run)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
