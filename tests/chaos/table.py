"""The rows that a chaos run prints: what was the target and what was measured."""

import time
from dataclasses import dataclass, field


@dataclass
class Row:
    test: str
    what: str
    target: str
    measured: str
    result: str
    seconds: float = 0.0


@dataclass
class Table:
    """Prints each row as it is known, and all of them as Markdown at the end."""

    # Whether times that are too long are only shown: on a machine that does other things as well
    # they say little.
    lenient: bool = False
    rows: list[Row] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def add(self, test: str, what: str, target: str, measured: str, holds: bool) -> None:
        self.row(Row(test, what, target, measured, "ok" if holds else "FAIL"))

    def add_time(self, test: str, what: str, target: str, measured: str, in_time: bool,
                 clean: bool = True) -> None:
        """As `add`, for what depends on how busy the machine is; what is not clean fails anyhow."""
        late = "slow" if self.lenient else "FAIL"
        result = "FAIL" if not clean else "ok" if in_time else late
        self.row(Row(test, what, target, measured, result))

    def note(self, test: str, what: str, measured: str) -> None:
        """A figure without a target, for comparison."""
        self.row(Row(test, what, "-", measured, "-"))

    def not_run(self, test: str, what: str, why: str) -> None:
        self.row(Row(test, what, "-", why, "NOT RUN"))

    def row(self, row: Row) -> None:
        row.seconds = time.monotonic() - self.began
        self.began = time.monotonic()
        self.rows.append(row)
        print(f"{row.result:7} {row.test} {row.what}: {row.measured} (target: {row.target})",
              flush=True)

    def count(self, result: str) -> int:
        return sum(row.result == result for row in self.rows)

    def markdown(self) -> str:
        lines = ["| test | what | target | measured | |", "| --- | --- | --- | --- | --- |"]
        for row in self.rows:
            cells = [row.test, row.what, row.target, row.measured, row.result]
            lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
        return "\n".join(lines)

    def summary(self) -> str:
        return (f"{self.count('ok')} passed, {self.count('FAIL')} failed, "
                f"{self.count('slow')} slower than wanted, {self.count('NOT RUN')} NOT RUN")


def worst(values) -> float:
    return max(values, default=0.0)


def ms(value: float) -> str:
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"
