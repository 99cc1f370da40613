"""Reads from /proc what processes spent: CPU of whole sessions, memory, open files, CPU of the machine."""

import os
import resource
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True)
class Cpu:
    """Seconds of CPU in user code and in the kernel."""

    user: float = 0.0
    system: float = 0.0

    @property
    def total(self) -> float:
        return self.user + self.system

    def __add__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.user + other.user, self.system + other.system)

    def __sub__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.user - other.user, self.system - other.system)


@dataclass(frozen=True)
class Snapshot:
    """All CPU clocks at one moment."""

    sessions: dict[int, Cpu]
    finished_children: Cpu
    machine_busy: float

    def of(self, pids: list[int]) -> Cpu:
        return sum((self.sessions.get(pid, Cpu()) for pid in pids), Cpu())


def snapshot() -> Snapshot:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Snapshot(cpu_by_session(), Cpu(usage.ru_utime, usage.ru_stime), machine_busy_seconds())


def process_fields() -> dict[int, list[str]]:
    """The fields of every /proc/PID/stat after the name; processes that end meanwhile are left out."""
    fields = {}
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text()
        except OSError:
            continue
        fields[int(entry.name)] = text.rpartition(")")[2].split()
    return fields


def cpu_by_session() -> dict[int, Cpu]:
    """CPU of all processes, all threads included, summed by session (field 6; CPU is 14 and 15)."""
    sessions: dict[int, Cpu] = defaultdict(Cpu)
    for fields in process_fields().values():
        sessions[int(fields[3])] += Cpu(int(fields[11]) / TICKS, int(fields[12]) / TICKS)
    return sessions


def machine_busy_seconds() -> float:
    """CPU spent by everything on the machine: user, nice, system, irq, softirq and stolen time."""
    with open("/proc/stat") as file:
        values = [int(value) for value in file.readline().split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = values[:8]
    return (user + nice + system + irq + softirq + steal) / TICKS


def session_members(leader: int) -> list[int]:
    return [pid for pid, fields in process_fields().items() if int(fields[3]) == leader]


def resident_kib(leader: int) -> int:
    """Resident memory of a session; smaps_rollup is exact, VmRSS may lag."""
    return sum(resident_kib_of_process(pid) for pid in session_members(leader))


def resident_kib_of_process(pid: int) -> int:
    for name, label in (("smaps_rollup", "Rss:"), ("status", "VmRSS:")):
        try:
            lines = (PROC / str(pid) / name).read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith(label):
                return int(line.split()[1])
    return 0


def open_files(leader: int) -> int:
    count = 0
    for pid in session_members(leader):
        try:
            count += len(os.listdir(PROC / str(pid) / "fd"))
        except OSError:
            continue
    return count
