"""What the Python queue checks ask the server itself, and the workers that they start."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import redis

STOP_SECONDS = 10
# What is left of the error when redis-py has taken CROSSSLOT off.
OTHER_SLOT = "don't hash to the same slot"


class Address:
    """Where the server listens, and whether it is the proxy with a cluster behind it."""

    def __init__(self, host: str, port: int) -> None:
        self.url = f"redis://{host}:{port}/0"
        self.redis = redis.Redis(host, port)
        self.is_proxy = "slotway_version" in self.redis.info("server")

    def remove(self, part: str) -> None:
        """Removes all keys of which the name has this part."""
        for key in self.redis.scan_iter(f"*{part}*", count=1000):
            self.redis.unlink(key)


@contextlib.contextmanager
def worker(command: list, **environment):
    """A worker process; yields the file with what it prints."""
    with tempfile.TemporaryDirectory(prefix="slotway-queues-") as folder:
        log = pathlib.Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(word) for word in command], cwd=folder, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, env={**os.environ, **environment},
            )
        try:
            yield log
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until(what: str, condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)
