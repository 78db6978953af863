"""Timing and printing shared by every benchmark.

Belongs here: how a duration is measured and how a row is shown beside its machine and package versions.
Does not belong here: what is measured, peers, targets (each benchmark states its own).
"""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata

Row = Mapping[str, object]
PACKAGES = ("numpy", "scipy", "pandas")


def measure_seconds(function: Callable[[], object], *, repeats: int) -> list[float]:
    """Wall seconds of each of `repeats` calls, garbage collected before each, after no warm-up."""
    durations: list[float] = []
    for _ in range(repeats):
        gc.collect()
        started = time.perf_counter()
        function()
        durations.append(time.perf_counter() - started)
    return durations


def median_ratio(ours: Sequence[float], peer: Sequence[float]) -> float:
    """How many times longer the peer's median is than ours."""
    return statistics.median(peer) / statistics.median(ours)


def print_table(title: str, rows: Sequence[Row], *, packages: Sequence[str] = PACKAGES) -> None:
    """Print `rows` (one mapping each, the union of keys are columns) under the machine, its load and the versions."""
    print(f"\n## {title}\n")
    print(_machine_line(packages) + "\n")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_cell(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in [columns, *cells]) for i in range(len(columns))]
    print(_line(columns, widths))
    print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for line in cells:
        print(_line(line, widths))


def _line(values: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(value.ljust(width) for value, width in zip(values, widths, strict=True)) + " |"


def _cell(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def _machine_line(packages: Sequence[str]) -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {_version(name)}" for name in packages)
    python, load = platform.python_version(), os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, load average {load:.1f}; Python {python}; {versions}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"
