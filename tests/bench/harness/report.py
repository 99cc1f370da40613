"""Turns measurements into markdown tables and JSON."""

import json
import platform
import statistics
from pathlib import Path

from .idle import IdleRow
from .throughput import Results, Run
from .workloads import Workload

FIELDS = ("requests_per_second", "p50_ms", "p99_ms", "user_us", "system_us", "proxy_us")
FIELDS += ("backend_us", "sum_us", "rss_kib", "foreign_percent")
NOISY_PERCENT = 10


def median_of(runs: list[Run]) -> dict[str, float]:
    """The median of each figure on its own, and how far the CPU figure strayed."""
    figures = {field: statistics.median(getattr(run, field) for run in runs) for field in FIELDS}
    cpu = [run.proxy_us or run.backend_us for run in runs]
    figures["spread_percent"] = 100 * (max(cpu) - min(cpu)) / max(statistics.median(cpu), 1e-9)
    return figures


def summarize(runs: list[Run]) -> dict[str, dict[str, dict[str, float]]]:
    """Medians by workload, then by target."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.workload, run.target), []).append(run)
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for (workload, target), members in groups.items():
        summary.setdefault(workload, {})[target] = median_of(members)
    return summary


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def throughput_report(results: Results, workloads: list[Workload], targets: list[str], rivals: list[str]) -> str:
    if not results.runs:
        return "\n".join(results.not_run_lines())
    summary = summarize(results.runs)
    parts = []
    for workload in workloads:
        if workload.name in summary:
            parts += [f"## {workload.name} ({workload.requests} requests)", ""]
            parts += [workload_table(summary[workload.name], targets), ""]
    parts += ["## Requests/s (thousands)", "", overview(summary, targets, kilo_requests), ""]
    parts += ["## CPU µs per request: proxy (user + system) [servers]", "", overview(summary, targets, cpu_cell), ""]
    parts += comparison(summary, rivals)
    parts += noise_lines(results)
    return "\n".join(parts + results.not_run_lines())


def workload_table(figures: dict[str, dict[str, float]], targets: list[str]) -> str:
    header = ["target", "requests/s", "p50 ms", "p99 ms", "user µs", "system µs", "**proxy CPU µs**", "spread"]
    header += ["servers CPU µs", "proxy + servers", "RSS MiB", "foreign CPU"]
    rows = []
    for target in targets:
        if target not in figures:
            continue
        value = figures[target]
        row = [target, f"{value['requests_per_second']:,.0f}", f"{value['p50_ms']:.2f}", f"{value['p99_ms']:.2f}"]
        if value["rss_kib"]:
            row += [f"{value['user_us']:.2f}", f"{value['system_us']:.2f}", f"**{value['proxy_us']:.2f}**"]
        else:
            row += ["-", "-", "-"]
        row += [f"{value['spread_percent']:.0f} %", f"{value['backend_us']:.2f}", f"{value['sum_us']:.2f}"]
        row += [f"{value['rss_kib'] / 1024:.1f}" if value["rss_kib"] else "-", f"{value['foreign_percent']:.0f} %"]
        rows.append(row)
    return table(header, rows)


def overview(summary: dict, targets: list[str], cell) -> str:
    rows = []
    for target in targets:
        if any(target in figures for figures in summary.values()):
            cells = [cell(figures[target]) if target in figures else "n/a" for figures in summary.values()]
            rows.append([target, *cells])
    return table(["target", *summary], rows)


def kilo_requests(value: dict[str, float]) -> str:
    return f"{value['requests_per_second'] / 1000:.1f}"


def cpu_cell(value: dict[str, float]) -> str:
    if not value["rss_kib"]:
        return f"[{value['backend_us']:.2f}]"
    split = f"({value['user_us']:.2f}+{value['system_us']:.2f})"
    return f"**{value['proxy_us']:.2f}** {split} [{value['backend_us']:.2f}]"


def comparison(summary: dict, rivals: list[str]) -> list[str]:
    """slotway-w1 against the best rival of each workload and figure: below 1 is better, except requests/s."""
    figures = {"proxy CPU": "proxy_us", "proxy + servers": "sum_us", "p99": "p99_ms"}
    rows = []
    for workload, values in summary.items():
        present = [rival for rival in rivals if rival in values]
        if "slotway-w1" not in values or not present:
            continue
        ours, row = values["slotway-w1"], [workload]
        for field in figures.values():
            best = min(present, key=lambda rival: values[rival][field])
            row.append(ratio(ours[field], values[best][field], best))
        best = max(present, key=lambda rival: values[rival]["requests_per_second"])
        row.append(ratio(ours["requests_per_second"], values[best]["requests_per_second"], best))
        rows.append(row)
    if not rows:
        return []
    header = ["workload", *figures, "requests/s (above 1 is better)"]
    return ["## slotway-w1 ÷ best rival (below 1 is better)", "", table(header, rows), ""]


def ratio(ours: float, theirs: float, name: str) -> str:
    return f"{ours / theirs:.2f} ({name})" if theirs else "n/a"


def noise_lines(results: Results) -> list[str]:
    noisy = [run for run in results.runs if run.foreign_percent > NOISY_PERCENT]
    if not noisy:
        return []
    text = f"NOISE: in {len(noisy)} of {len(results.runs)} runs other programs used more than {NOISY_PERCENT} %"
    return [text + " of the machine; requests/s and latency of those runs mean little.", ""]


def idle_report(rows: list[IdleRow], results: Results, wait: float) -> str:
    header = ["target", "connections", "connect s", "accept CPU µs", "RSS at start MiB", "**KiB each, connected**"]
    header += ["KiB each, after one GET", f"KiB each, {wait:.0f} s later", "RSS after close MiB", "GETs answered"]
    lines = []
    for row in rows:
        line = [row.target, str(row.connections), f"{row.connect_seconds:.2f}", f"{row.cpu_us_per_connection:.0f}"]
        line += [f"{row.rss_start / 1024:.1f}", f"**{row.kib_per_connection(row.rss_connected):.2f}**"]
        line += [f"{row.kib_per_connection(rss):.2f}" for rss in (row.rss_after_get, row.rss_later)]
        line += [f"{row.rss_closed / 1024:.1f}", f"{row.answered}/{row.connections}"]
        lines.append(line)
    return "\n".join(["## Idle client connections", "", table(header, lines), "", *results.not_run_lines()])


def write_json(path: Path, settings: dict, results: Results, rows: list[IdleRow]) -> None:
    document = {
        "machine": {"kernel": platform.release(), "cpu": cpu_model(), "processor_architecture": platform.machine()},
        "settings": settings,
        "median": summarize(results.runs),
        "runs": [run.as_dict() for run in results.runs],
        "idle": [row.as_dict() for row in rows],
        "not_run": [
            {"target": target, "workload": workload, "reason": reason}
            for (target, workload), reason in results.not_run.items()
        ],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"
