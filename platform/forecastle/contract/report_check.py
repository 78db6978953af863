"""Checks of declared reports: their tables are there, and no argument has two meanings.

Belongs here: faults that only `reports:` can have, each with its place and a hint.
Does not belong here: the fields (`report.py`), functions that must stand in the folder (`check.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from forecastle.contract.errors import did_you_mean
from forecastle.contract.matrix_check import concrete_names
from forecastle.contract.report import Report, kind_and_name
from forecastle.contract.source_check import PlacedFault
from forecastle.contract.system import System


def report_faults(report: Report, system: System) -> Iterator[PlacedFault]:
    """Tables that no asset makes, and parameters that have the name of a table."""
    known: dict[str, list[str]] = {
        "source": list(system.sources),
        "features": list(system.feature_views),
        "models": concrete_names(system),
    }
    for argument, table in report.tables.items():
        kind, name = kind_and_name(table)
        if name is not None and name not in known[kind]:
            hint = did_you_mean(name, known[kind])
            yield ("tables", argument), f"table {argument!r} is {table!r}, which the system has not", hint
    for name in sorted(set(report.params) & set(report.tables)):
        yield ("params", name), f"parameter {name!r} has the name of a table", "rename one of them"
