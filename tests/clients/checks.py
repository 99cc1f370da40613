"""Runs named checks, prints one line for each and a summary at the end."""

from __future__ import annotations

import pathlib
import time
import traceback


class Checks:
    """Counts what passed and failed under one title."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.passed = 0
        self.failed = 0

    def run(self, name: str, function, *arguments) -> None:
        """Call the function; any exception is a failure."""
        started = time.monotonic()
        try:
            function(*arguments)
        except Exception as error:  # whatever goes wrong is the finding
            self.failed += 1
            text = f"{type(error).__name__}: {error}".replace("\n", " ")[:400]
            print(f"FAILED  {self.title}: {name}: {text} ({place_of(error)})", flush=True)
        else:
            self.passed += 1
            spent = time.monotonic() - started
            print(f"ok      {self.title}: {name} ({spent:.2f} s)", flush=True)

    def finish(self) -> int:
        """Print the summary; the result is the exit status."""
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed or not self.passed else 0


def place_of(error: Exception) -> str:
    """The line of the check that failed."""
    frames = traceback.extract_tb(error.__traceback__)
    here = pathlib.Path(__file__)
    own = [f for f in frames if pathlib.Path(f.filename).parent == here.parent
           and f.filename != __file__]
    last = (own or frames)[-1]
    return f"{pathlib.Path(last.filename).name}:{last.lineno}"


def equal(got, expected, what: str = "reply") -> None:
    """Raise unless both are equal; long values are cut in the message."""
    if got != expected:
        raise AssertionError(f"{what}: got {short(got)}, expected {short(expected)}")


def short(value) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:120]}...({len(text)} characters)"


def parse_address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host or "127.0.0.1", int(port)
