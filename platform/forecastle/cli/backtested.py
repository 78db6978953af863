"""A backtest on the terminal: run over the newest training set, printed cut by cut.

Belongs here: what the verb's options mean, what is printed, where its report is left.
Does not belong here: the backtest itself (`learn/backtest.py`), MLflow (the `backtest` asset logs there).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isnan, nan
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from forecastle.cli.surroundings import Surroundings
from forecastle.contract.errors import ForecastleError
from forecastle.contract.types import format_duration, parse_duration
from forecastle.draw.markdown import NOTHING
from forecastle.learn.backtest import Backtest, plan_cuts, run_backtest
from forecastle.learn.backtest_report import BacktestReport, report_backtest, write_backtest
from forecastle.store.kept_cuts import WarehouseCuts


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of the history is forecast again, and how often a model is trained; None: as declared."""

    since: datetime | None
    until: datetime | None
    every: timedelta | None


def span(since: str | None, until: str | None, every: str | None) -> Span:
    """Options as they were typed.

    Raises:
        ForecastleError: one of them is no time or no duration.
    """
    try:
        step = parse_duration(every) if every else None
    except ValueError as error:
        raise ForecastleError(f"--every: {error}") from None
    if step == timedelta(0):
        raise ForecastleError(f"--every is {every!r}; it must be longer than nothing, such as 4w")
    return Span(_instant("--from", since), _instant("--to", until), step)


def backtest_system(system: str, asked: Span, around: Surroundings, *, console: Console) -> None:
    """Run a backtest, print it, and leave its report below `reports/` of the home folder."""
    loaded = around.system(system)
    declared = loaded.declaration.backtest
    warehouse = around.warehouse()
    frame = warehouse.frame(f"{system}/training_set/all")
    every = asked.every or declared.every
    cuts = plan_cuts(
        frame,
        every=every,
        since=asked.since,
        until=asked.until,
        history=None if asked.since or asked.until else declared.history,
    )
    model = loaded.declaration.backtested_model()
    backtest = run_backtest(loaded, frame, model=model, cuts=cuts, kept=WarehouseCuts(warehouse, system))
    report = report_backtest(loaded, backtest)
    _print_skipped(backtest, console)
    if report is None:
        raise ForecastleError(f"none of {len(cuts)} cuts could answer; begin later, or bring a longer history")
    _print_scores(report, console)
    folder = around.home.reports / system / _folder(asked, every)
    page = write_backtest(
        report, folder, title=f"{system} / backtest of {model}", facts={"every": format_duration(every)}
    )
    console.print(f"{backtest.computed} cuts computed, {backtest.kept} kept from before", highlight=False)
    console.print(report.calibration.verdict.sentence, highlight=False)
    if report.bets is not None:
        console.print(report.bets.sentence, highlight=False, markup=False, soft_wrap=True)
    console.print(f"report  {page}", highlight=False, soft_wrap=True)


def _instant(option: str, text: str | None) -> datetime | None:
    """A day (its midnight, UTC) or an instant with its zone."""
    if text is None:
        return None
    hint = "write a day such as 2026-06-01, or an instant with its zone"
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ForecastleError(f"{option} is {text!r}; {hint}") from None
    if found.tzinfo is None:
        if len(text) > len("2026-06-01"):
            raise ForecastleError(f"{option} is {text!r}, which has no zone; {hint}")
        return found.replace(tzinfo=UTC)
    return found.astimezone(UTC)


def _folder(asked: Span, every: timedelta) -> Path:
    """One folder for each question, beside the asset's own."""
    ends = (f"{at:%Y%m%dT%H%M}" if at else "all" for at in (asked.since, asked.until))
    return Path("backtests") / "-".join([*ends, format_duration(every)])


def _print_skipped(backtest: Backtest, console: Console) -> None:
    for reason, cuts in backtest.skipped.groupby("reason", sort=False)["cut"]:
        ends = dict.fromkeys(f"{at:%Y-%m-%d}" for at in (cuts.min(), cuts.max()))
        console.print(f"[yellow]–[/yellow] {len(cuts)} skipped, {' to '.join(ends)}: {reason}", highlight=False)


def _print_scores(report: BacktestReport, console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("cut", "rows", "Brier", "baseline", "difference", "95 %", "AUC"):
        table.add_column(name, justify="left" if name == "cut" else "right", no_wrap=True)
    rows: list[Any] = list(report.scores.itertuples(index=False))
    form = "%Y-%m-%d" if all(row.cut == row.cut.normalize() for row in rows) else "%Y-%m-%d %H:%M"
    for row in rows:
        ends = (row.difference_low, row.difference_high)
        scores = (row.brier, row.baseline_brier, row.difference)
        table.add_row(row.cut.strftime(form), f"{row.rows:,}", *map(_score, scores), _ends(ends), _score(row.auc))
    total = report.evaluation
    against = total.comparison("baseline")
    brier, baseline = total.value("model", "brier"), total.value("baseline", "brier")
    difference = against.difference.estimate if against else nan
    ends = (against.difference.low, against.difference.high) if against else (nan, nan)
    numbers = (*map(_score, (brier, baseline, difference)), _ends(ends), _score(total.value("model", "auc")))
    table.add_row("all", f"{total.rows:,}", *numbers)
    console.print(table, highlight=False)


def _score(value: float) -> str:
    return NOTHING if isnan(value) else f"{value:.4f}"


def _ends(ends: tuple[float, float]) -> str:
    return f"{_score(ends[0])} to {_score(ends[1])}"
