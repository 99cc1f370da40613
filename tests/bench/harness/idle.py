"""Measures what idle client connections cost a target in memory."""

import socket
import time
from dataclasses import asdict, dataclass

from .backends import Backends
from .processes import BenchError, Supervisor, raise_file_limit
from .readings import open_files as count_open_files
from .readings import resident_kib, snapshot
from .resp import encode
from .targets import Running, Target, start_target
from .throughput import Results
from .workloads import KEYS, SMALL, key_name

SOCKET_SECONDS = 5.0
PHASE_SECONDS = 60.0
SETTLE_SECONDS = 1.0
SPARE_FILES = 200
SOURCE_PORTS = 28_000
SLACK_FILES = 32
WAVE = 100
EXPECTED = b"$%d\r\n%b\r\n" % (SMALL, b"x" * SMALL)


@dataclass(frozen=True)
class IdleRow:
    """Resident KiB of one target before, with and after idle connections."""

    target: str
    connections: int
    connect_seconds: float
    answered: int
    cpu_us_per_connection: float
    rss_start: int
    rss_connected: int
    rss_after_get: int
    rss_later: int
    rss_closed: int

    def kib_per_connection(self, rss: int) -> float:
        return (rss - self.rss_start) / self.connections

    def as_dict(self) -> dict:
        return asdict(self)


def possible_connections(wanted: int, target: Target) -> int:
    """As many as asked for, unless open files or source ports do not suffice."""
    files = raise_file_limit() - SPARE_FILES
    return min(wanted, files // target.sockets_per_client, SOURCE_PORTS)


def measure_idle(
    targets: list[Target], wanted: int, wait: float, supervisor: Supervisor, backends: Backends, open_files: int
) -> tuple[list[IdleRow], Results]:
    rows, results = [], Results()
    backends.load(SMALL)
    for target in targets:
        try:
            one = start_target(target, supervisor, backends, open_files)
        except BenchError as error:
            results.report_not_run(target.name, str(error))
            continue
        try:
            rows.append(measure_target(one, possible_connections(wanted, target), wait))
        except (BenchError, OSError) as error:
            results.report_not_run(target.name, str(error), "idle connections")
        finally:
            supervisor.stop(one.process)
    return rows, results


def measure_target(one: Running, count: int, wait: float) -> IdleRow:
    pid = one.process.pid
    time.sleep(SETTLE_SECONDS)
    rss_start, files_before, before = resident_kib(pid), count_open_files(pid), snapshot()
    sockets: list[socket.socket] = []
    try:
        started = time.monotonic()
        connect_all(one.port, count, sockets)
        connect_seconds = time.monotonic() - started
        wait_until_accepted(pid, files_before + count - SLACK_FILES)
        cpu = (snapshot().of([pid]) - before.of([pid])).total
        time.sleep(SETTLE_SECONDS)
        rss_connected = resident_kib(pid)
        answered = get_on_each(sockets)
        rss_after_get = resident_kib(pid)
        time.sleep(wait)
        rss_later = resident_kib(pid)
    finally:
        for connection in sockets:
            connection.close()
    time.sleep(2 * SETTLE_SECONDS)
    return IdleRow(
        target=one.target.name,
        connections=count,
        connect_seconds=connect_seconds,
        answered=answered,
        cpu_us_per_connection=1e6 * cpu / count,
        rss_start=rss_start,
        rss_connected=rss_connected,
        rss_after_get=rss_after_get,
        rss_later=rss_later,
        rss_closed=resident_kib(pid),
    )


def connect_all(port: int, count: int, sockets: list[socket.socket]) -> None:
    """Opens the connections one after the other; those opened are in the list even on failure."""
    deadline = time.monotonic() + PHASE_SECONDS
    for number in range(count):
        if time.monotonic() > deadline:
            raise BenchError(f"only {number} of {count} connections within {PHASE_SECONDS:.0f} s")
        sockets.append(socket.create_connection(("127.0.0.1", port), SOCKET_SECONDS))


def wait_until_accepted(pid: int, files: int) -> None:
    """Waits until the target holds a file for each connection (a connect may finish before the accept)."""
    deadline = time.monotonic() + 4 * SOCKET_SECONDS
    while count_open_files(pid) < files:
        if time.monotonic() > deadline:
            raise BenchError(f"{count_open_files(pid)} open files where {files} were expected")
        time.sleep(0.1)


def get_on_each(sockets: list[socket.socket]) -> int:
    """Sends one GET on each connection, in waves, and counts the whole, right answers."""
    deadline, answered = time.monotonic() + PHASE_SECONDS, 0
    for start in range(0, len(sockets), WAVE):
        if time.monotonic() > deadline:
            break
        wave = sockets[start : start + WAVE]
        for number, connection in enumerate(wave, start):
            connection.sendall(encode("GET", key_name(number % KEYS)))
        answered += sum(receive(connection, len(EXPECTED)) == EXPECTED for connection in wave)
    return answered


def receive(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = connection.recv(length - len(data))
        if not part:
            break
        data += part
    return data
