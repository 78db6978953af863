"""Reports of a system's own: its pure function called with tables, and what it gave held to what is declared.

Belongs here: the call, the table, the picture, and the verdicts that its check stands on.
Does not belong here: reading tables (`store/`), what a report says (the system's folder).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from forecastle.contract.errors import ForecastleError, LearnError
from forecastle.contract.load import LoadedSystem
from forecastle.draw.markdown import value_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAIL: Final = "FAIL"
VERDICTS: Final = frozenset({"PASS", FAIL})


@dataclass(frozen=True, slots=True, eq=False)
class MadeReport:
    """One report: its tidy table, a picture where one is drawn, and the rows that failed in words.

    `is_passed` is None where no check is declared; `judged` counts rows with a verdict.
    """

    table: pd.DataFrame
    figure: Figure | None
    is_passed: bool | None
    judged: int
    reasons: tuple[str, ...]


def make_report(system: LoadedSystem, name: str, tables: Mapping[str, pd.DataFrame]) -> MadeReport:
    """Make one declared report from its tables, by argument.

    Raises:
        LearnError: the function fails or gives no table, its check column is not there or holds another word, or what
            draws gives no figure.
    """
    declared = system.declaration.reports[name]
    table = _called(system, declared.function, {**tables, **declared.params})
    if not isinstance(table, pd.DataFrame) or table.empty:
        got = "an empty table" if isinstance(table, pd.DataFrame) else type(table).__name__
        raise LearnError(f"report {name!r}: {declared.function} gives {got}; a pandas table with rows is needed")
    failed, judged = _verdicts(name, table, declared.check)
    return MadeReport(
        table=table.reset_index(drop=True),
        figure=None if declared.draw is None else _drawn(system, name, declared.draw, table),
        is_passed=None if declared.check is None else failed.empty,
        judged=judged,
        reasons=tuple(_told(row) for row in failed.drop(columns=declared.check or []).to_dict("records")),
    )


def _called(system: LoadedSystem, function: str, arguments: Mapping[str, Any]) -> Any:
    try:
        return system.function(function)(**arguments)
    except ForecastleError:
        raise
    except Exception as error:  # a system's own code may raise anything
        raise LearnError(f"{function} of {system.name!r} fails: {type(error).__name__}: {error}") from error


def _verdicts(name: str, table: pd.DataFrame, check: str | None) -> tuple[pd.DataFrame, int]:
    """Rows that failed, and how many were judged."""
    if check is None:
        return table.head(0), 0
    if check not in table:
        raise LearnError(f"report {name!r} has no column {check!r} to check; it has {', '.join(map(str, table))}")
    verdicts = table[check]
    judged = verdicts.notna()
    others = sorted({str(value) for value in verdicts[judged]} - VERDICTS)
    if others:
        raise LearnError(
            f"report {name!r}: {check} holds {', '.join(others)}; {', '.join(sorted(VERDICTS))} or null is allowed"
        )
    return table[verdicts == FAIL], int(judged.sum())


def _drawn(system: LoadedSystem, name: str, function: str, table: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    module, _, short = function.partition(":")
    try:
        figure = system.function(function)(table)
    except Exception as error:  # a system's own code may raise anything
        raise LearnError(f"{function} of {system.name!r} fails: {type(error).__name__}: {error}") from error
    if not isinstance(figure, Figure):
        raise LearnError(f"report {name!r}: {short} of {module}.py gives {type(figure).__name__}; return a Figure")
    return figure


def _told(row: Mapping[Any, Any]) -> str:
    return ", ".join(f"{column} {value_text(value)}" for column, value in row.items())
