"""How the tests of each client library are installed and run against one address."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import harness
from outcomes import Outcomes, read_mocha, read_pytest

HERE = Path(__file__).resolve().parent
RUN_SECONDS = 1200
INSTALL_SECONDS = 600
AGAIN_SECONDS = 60
AGAIN_MAX = 20


class Suite:
    """One library's tests, in a copy of its sources, so that these stay as they are."""

    name: str

    def __init__(self, sources: Path, keep: Path) -> None:
        self.sources = sources
        self.keep = keep.resolve() / self.name
        self.copy = self.keep / "sources"

    def prepare(self) -> None:
        """Copies the sources and installs what the tests need."""
        self.keep.mkdir(parents=True, exist_ok=True)
        shutil.copytree(
            self.sources, self.copy, dirs_exist_ok=True,
            ignore=shutil.ignore_patterns(".git", "node_modules", "__pycache__", "*.xml"),
        )

    def run(self, port: int, label: str) -> Outcomes:
        """Runs all tests; they have RUN_SECONDS."""
        raise NotImplementedError

    def again(self, port: int, tests: list[str]) -> Outcomes:
        """Runs a few tests once more, without the others; none, if they are many."""
        raise NotImplementedError

    def execute(self, command: list, label: str, seconds: int, **environment) -> None:
        """Runs a command in the copy; what it prints is kept in the file LABEL.log."""
        log = self.keep / f"{label}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(word) for word in command], cwd=self.copy, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
                env={**os.environ, **environment}, preexec_fn=harness.die_with_parent,
            )
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                print(f"ended after {seconds} s: {label}, see {log}", flush=True)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def report(self, label: str, suffix: str) -> Path:
        """Where a run puts its report; an older one is removed."""
        path = self.keep / f"{label}.{suffix}"
        path.unlink(missing_ok=True)
        return path


class RedisPy(Suite):
    """redis-py's tests for one server, without those that never talk to it."""

    name = "redis-py"
    MARKERS = ("onlycluster", "redismod", "experimental", "cp_integration", "ssl", "replica",
               "multidb_integration")
    IGNORED = (
        "test_scenario", "test_asyncio/test_scenario", "maint_notifications", "test_multidb",
        "test_asyncio/test_multidb", "test_observability", "test_asyncio/test_observability",
        "test_http", "test_auth", "test_cluster.py", "test_asyncio/test_cluster.py",
        "test_cluster_transaction.py", "test_asyncio/test_cluster_transaction.py",
        "test_sentinel.py", "test_asyncio/test_sentinel.py", "test_ssl.py",
        "test_credentials.py", "test_asyncio/test_credentials.py",
        "test_sentinel_managed_connection.py",
        "test_asyncio/test_sentinel_managed_connection.py",
    )

    def prepare(self) -> None:
        super().prepare()
        self.python = self.keep / "venv" / "bin" / "python"
        wanted, ready = HERE / "requirements.txt", self.keep / "venv" / ".ready"
        if ready.is_file() and ready.read_bytes() == wanted.read_bytes():
            return
        shutil.rmtree(self.keep / "venv", ignore_errors=True)
        install([sys.executable, "-m", "venv", self.keep / "venv"])
        install([self.python, "-m", "pip", "install", "--quiet", "--requirement", wanted])
        ready.write_bytes(wanted.read_bytes())

    def run(self, port: int, label: str) -> Outcomes:
        ignored = [f"--ignore=tests/{name}" for name in self.IGNORED]
        chosen = ["-m", " and ".join(f"not {marker}" for marker in self.MARKERS), *ignored]
        return self.pytest(port, label, RUN_SECONDS, chosen)

    def again(self, port: int, tests: list[str]) -> Outcomes:
        if len(tests) > AGAIN_MAX:
            return Outcomes()
        return self.pytest(port, "again", AGAIN_SECONDS * 2, tests)

    def pytest(self, port: int, label: str, seconds: int, chosen: list[str]) -> Outcomes:
        report = self.report(label, "xml")
        # pytest's own tracebacks parse whole modules again: seconds for each failed test.
        self.execute(
            [self.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=",
             "-o", "junit_family=xunit1", "--timeout", "20", "--tb", "native",
             "--junitxml", report, "--redis-url", f"redis://{harness.HOST}:{port}/0", *chosen],
            label, seconds, PYTHONDONTWRITEBYTECODE="1",
        )
        return read_pytest(report) if report.is_file() else Outcomes()


class Ioredis(Suite):
    """ioredis's functional tests; a preloaded file sets the port of `new Redis()`."""

    name = "ioredis"
    HELPERS = "test/helpers/*.ts"
    TESTS = "test/functional/**/*.ts"

    def prepare(self) -> None:
        super().prepare()
        wanted = self.copy / "package-lock.json"
        ready = self.copy / "node_modules" / ".ready"
        if ready.is_file() and ready.read_bytes() == wanted.read_bytes():
            return
        install(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
                cwd=self.copy)
        ready.write_bytes(wanted.read_bytes())

    def run(self, port: int, label: str) -> Outcomes:
        outcomes = self.mocha(port, label, RUN_SECONDS, [self.TESTS])
        # An exception that no test catches ends mocha; the files after it get their own.
        ran = {test.split(": ", 1)[0] for test in outcomes.by_test}
        for file in sorted(self.copy.glob(self.TESTS)):
            name = str(file.relative_to(self.copy))
            if name not in ran:
                outcomes.add_all(self.mocha(port, f"{label}-rest", AGAIN_SECONDS, [name]))
        return outcomes

    def again(self, port: int, tests: list[str]) -> Outcomes:
        outcomes = Outcomes()
        for test in tests[:AGAIN_MAX] if len(tests) <= AGAIN_MAX else []:
            title = test.split(": ", 1)[1]
            alone = self.mocha(port, "again", AGAIN_SECONDS, [self.TESTS, "--fgrep", title])
            if alone.passed(test):
                outcomes.add(test, "passed")
        return outcomes

    def mocha(self, port: int, label: str, seconds: int, chosen: list[str]) -> Outcomes:
        report = self.report(label, "json")
        self.execute(
            [self.copy / "node_modules" / ".bin" / "mocha", "--require", "ts-node/register",
             "--require", HERE / "ioredis-port.cjs", "--reporter", "json",
             "--reporter-option", f"output={report}", self.HELPERS, *chosen],
            label, seconds, SLOTWAY_SUITE_PORT=str(port), TS_NODE_TRANSPILE_ONLY="true",
            NODE_ENV="test",
        )
        return read_mocha(report, self.copy) if report.is_file() else Outcomes()


def install(command: list, **options) -> None:
    subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, check=True,
                   timeout=INSTALL_SECONDS, **options)


SUITES = {suite.name: suite for suite in (RedisPy, Ioredis)}
