"""Starts, watches and stops the processes of a run; owns its ports and its temporary folder."""

import ctypes
import os
import resource
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

STOP_SECONDS = 3.0
PR_SET_PDEATHSIG = 1


class BenchError(Exception):
    """Something a run needs did not work; the message says what."""


@dataclass
class Process:
    """One started program and its log; it leads a session of its own, so its children count with it."""

    name: str
    popen: subprocess.Popen
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    def alive(self) -> bool:
        return self.popen.poll() is None

    def log_tail(self, lines: int = 5) -> str:
        text = self.log.read_text(errors="replace").strip() if self.log.exists() else ""
        return "\n".join("    " + line for line in text.splitlines()[-lines:])


class Supervisor:
    """Everything a run started; leaving the `with` block stops it all and removes the folder."""

    def __init__(self, first_port: int, last_port: int):
        self._ports = iter(range(first_port, last_port + 1))
        self._last_port = last_port
        self._processes: list[Process] = []
        self._folder = tempfile.TemporaryDirectory(prefix="slotway-bench-")
        self.folder = Path(self._folder.name)

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(self, *_exception) -> None:
        try:
            self.stop(*self._processes)
        finally:
            self._folder.cleanup()

    def free_port(self) -> int:
        """The next port of the range that nobody listens on; no port is handed out twice."""
        for port in self._ports:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            return port
        raise BenchError(f"no free port left below {self._last_port}; choose another --base-port")

    def start(self, name: str, command: list[str], folder: Path | None = None) -> Process:
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            try:
                popen = subprocess.Popen(
                    command,
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=die_with_parent,
                )
            except OSError as error:
                raise BenchError(f"cannot start {command[0]}: {error.strerror or error}") from error
        process = Process(name, popen, log)
        self._processes.append(process)
        return process

    def stop(self, *processes: Process) -> None:
        """Asks the processes and what they started to end, then kills what is left."""
        for process in processes:
            signal_session(process, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in processes:
            try:
                process.popen.wait(max(0.05, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                pass
            signal_session(process, signal.SIGKILL)
            process.popen.wait()
        self._processes = [process for process in self._processes if process not in processes]


def signal_session(process: Process, number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def die_with_parent() -> None:
    """Lets the kernel end the child even if the harness itself is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def raise_file_limit() -> int:
    """Raises the limit of open files as far as allowed and returns it; children inherit it."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def wait_until(what: str, seconds: float, condition, process: Process | None = None) -> None:
    """Polls until the condition holds; raises when time is up or the process has ended."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process is not None and not process.alive():
            raise BenchError(f"{process.name} ended with status {process.popen.returncode}\n{process.log_tail()}")
        if time.monotonic() > deadline:
            tail = f"\n{process.log_tail()}" if process is not None else ""
            raise BenchError(f"{what}: not within {seconds:.0f} s{tail}")
        time.sleep(0.05)
