"""What the acceptance checks share: their report, free ports, processes that surely end, HTTP."""

import contextlib
import ctypes
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
BUS_OFFSET = 10_000
# Above, bus ports would be among those that the system gives to outgoing connections.
PORTS_END = 22_768
STOP_SECONDS = 5.0
PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """A check does not hold; the text says why."""


FAILURES = (Failed, OSError, subprocess.SubprocessError, ValueError, TypeError, LookupError)


def expect(condition: object, why: object) -> None:
    if not condition:
        raise Failed(str(why))


def expect_equal(got: object, expected: object, what: str) -> None:
    expect(got == expected, f"{what} is {got!r:.300}, expected {expected!r:.300}")


class Checks:
    """Prints one line for each check, and the count at the end.

    What fails outside of a check, such as a server that does not start, ends the `with` block and
    counts as a failed check.
    """

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    def __enter__(self) -> "Checks":
        return self

    def __exit__(self, _kind, error, _traceback) -> bool:
        if isinstance(error, FAILURES):
            self.fail("what the checks need", error)
            return True
        return False

    @contextlib.contextmanager
    def check(self, name: str):
        """Yields a list; what is put into it stands in brackets behind the name."""
        details: list[str] = []
        started = time.monotonic()
        try:
            yield details
        except FAILURES as error:
            self.fail(name, error)
        else:
            self.passed += 1
            details.append(f"{time.monotonic() - started:.1f} s")
            print(f"ok    {name} ({', '.join(details)})", flush=True)

    def fail(self, name: str, error: Exception) -> None:
        self.failed += 1
        print(f"FAIL  {name}: {type(error).__name__}: {error}", flush=True)

    def finish(self) -> int:
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed or not self.passed else 0


class Program:
    """A started program; what it writes is kept in two files."""

    def __init__(self, command: list[str], folder: Path, name: str) -> None:
        self.output_file = folder / f"{name}.out"
        self.errors_file = folder / f"{name}.err"
        with self.output_file.open("wb") as output, self.errors_file.open("wb") as errors:
            self.popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, cwd=folder,
                preexec_fn=die_with_parent,
            )
        self.pid = self.popen.pid

    @property
    def output(self) -> str:
        return self.output_file.read_text(errors="replace")

    @property
    def errors(self) -> str:
        return self.errors_file.read_text(errors="replace")

    def alive(self) -> bool:
        return self.popen.poll() is None

    def wait(self, seconds: float) -> int:
        """The exit status."""
        return self.popen.wait(seconds)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal and returns the exit status; kills what stays."""
        if self.alive():
            self.popen.send_signal(number)
        try:
            return self.popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise


class Machine:
    """The processes and files of one run; leaving the `with` block ends and removes them all.

    Ports come from 18000 on, or from what SLOTWAY_TEST_PORTS says, and end below 22768.
    """

    def __init__(self, seconds: int) -> None:
        """Whatever happens, the run is over after `seconds`."""
        self.programs: list[Program] = []
        self.servers: dict[int, Program] = {}
        self.seconds = seconds
        self.next_port = int(os.environ.get("SLOTWAY_TEST_PORTS", "18000"))

    def __enter__(self) -> "Machine":
        self.folder_handle = tempfile.TemporaryDirectory(prefix="slotway-acceptance-")
        self.folder = Path(self.folder_handle.name)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, lambda number, _: sys.exit(f"ended by signal {number}"))
        signal.alarm(self.seconds)
        return self

    def __exit__(self, *_exception) -> None:
        self.stop(*self.programs)
        self.folder_handle.cleanup()

    def stop(self, *programs: Program) -> None:
        for program in programs:
            if program.alive():
                program.popen.terminate()
        for program in programs:
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.end()

    def start(self, command: list, name: str) -> Program:
        number = len(self.programs)
        program = Program([str(word) for word in command], self.folder, f"{number}-{name}")
        self.programs.append(program)
        return program

    def ports(self, count: int, bus: bool = False) -> int:
        """The first of some free ports in a row, for nodes with free bus ports, too. None is
        handed out twice."""
        first = self.next_port
        while first + count < PORTS_END:
            row = range(first, first + count)
            if taken := [port for port in row if not is_free(port, bus)]:
                first = taken[-1] + 1
                continue
            self.next_port = first + count
            return first
        raise Failed(f"no {count} free ports in a row")

    def slotway(self, *arguments, ready: bool = True) -> "Proxy":
        """A proxy on ports of its own."""
        port = self.ports(2)
        where = ["--listen", f"{HOST}:{port}", "--admin", f"{HOST}:{port + 1}"]
        program = self.start([slotway_binary(), *where, *arguments], "slotway")
        proxy = Proxy(program, port, port + 1)
        if ready:
            proxy.wait_until_ready()
        return proxy

    def redis_servers(self, first: int, count: int, *options) -> list[int]:
        """Servers that can be a cluster and are none yet; returns their ports."""
        for port in range(first, first + count):
            folder = self.folder / f"redis-{port}"
            folder.mkdir()
            self.servers[port] = self.start([
                "redis-server", "--port", port, "--bind", HOST, "--dir", folder, "--save", "",
                "--cluster-enabled", "yes", "--cluster-node-timeout", "5000",
                "--loglevel", "warning", *options,
            ], f"redis-{port}")
        for port in range(first, first + count):
            wait_until(f"redis-server on {port}", 20, lambda: "PONG" in redis_cli(port, "ping"))
        return list(range(first, first + count))

    def redis_cluster(self, primaries: int = 3, replicas: int = 1, *options) -> list[int]:
        """With options for redis-server, as on its command line."""
        count = primaries * (1 + replicas)
        ports = self.redis_servers(self.ports(count, bus=True), count, *options)
        make_cluster(ports, replicas)
        return ports


class Proxy:
    """A running slotway and where it listens."""

    def __init__(self, program: Program, port: int, admin: int) -> None:
        self.program = program
        self.port = port
        self.admin = admin

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            expect(self.program.alive(), f"slotway has ended: {self.program.errors}")
            return self.get("/ready")[0] == 200

        wait_until("/ready", 30, ready)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; status 0 when nobody listens."""
        return http_get(f"http://{HOST}:{self.admin}{path}")

    def metric(self, name: str) -> float:
        """The value of one sample, named as in the text format."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        expect(found, f"/metrics has no {name}")
        return float(found[1])


def make_cluster(ports: list[int], replicas: int) -> None:
    nodes = [f"{HOST}:{port}" for port in ports]
    made = run(["redis-cli", "--cluster", "create", *nodes, "--cluster-replicas", replicas,
                "--cluster-yes"], 60)
    expect_equal(made.returncode, 0, f"redis-cli --cluster create said {made.stdout}: status")
    for port in ports:
        wait_until(f"cluster at {port}", 30,
                   lambda: "cluster_state:ok" in redis_cli(port, "cluster", "info"))
    wait_until_agreed(ports[0])


def wait_until_agreed(port: int) -> None:
    """Until the nodes agree on who has which slot."""
    command = ["redis-cli", "--cluster", "check", f"{HOST}:{port}"]
    wait_until("agreement of the nodes", 30, lambda: run(command, 30).returncode == 0)


def run(command: list, seconds: float, **options) -> subprocess.CompletedProcess:
    words = [str(word) for word in command]
    try:
        return subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds,
            check=False, preexec_fn=die_with_parent, **options,
        )
    except subprocess.TimeoutExpired as expired:
        said = (expired.stdout or b"")[-1500:]
        raise Failed(f"{words} has not ended within {seconds:.0f} s and said {said!r}") from expired


def redis_cli(port: int, *arguments) -> str:
    """What redis-cli prints, errors too."""
    done = run(["redis-cli", "-h", HOST, "-p", port, *arguments], 20)
    return (done.stdout + done.stderr).strip()


def slotway_binary() -> Path:
    """The release build, unless SLOTWAY_BINARY names another."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    binary = ROOT / os.environ.get("SLOTWAY_BINARY", target / "release" / "slotway")
    if not binary.is_file():
        sys.exit(f"no {binary}; build it with: cargo build --release")
    return binary


def http_get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def wait_until(what: str, seconds: float, condition) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        expect(time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)


def is_free(port: int, bus: bool) -> bool:
    return can_bind(port) and (not bus or can_bind(port + BUS_OFFSET))


def can_bind(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def raise_file_limit() -> int:
    """Raises the limit of open files as far as allowed and returns it; children inherit it."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def die_with_parent() -> None:
    """Lets the kernel end a child even if the checks themselves are killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
