"""`forecastle backtest`: what its options mean, what it prints, and that cuts are computed once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from forecastle.cli.backtested import Span, backtest_system, span
from forecastle.cli.surroundings import Surroundings, surroundings
from forecastle.contract.errors import ForecastleError
from tests.learn import ferries


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    """A home in which the ferries have a training set."""
    ferries.write_system(tmp_path / "systems")
    found = surroundings({"FORECASTLE_HOME": str(tmp_path / "home"), "FORECASTLE_SYSTEMS": str(tmp_path / "systems")})
    found.warehouse().publish("ferries/training_set/all", ferries.training_frame())
    return found


def printed(around: Surroundings, asked: Span) -> str:
    screen = StringIO()
    backtest_system("ferries", asked, around, console=Console(width=80, file=screen))
    return screen.getvalue()


def test_options_are_days_instants_and_durations() -> None:
    """A day is its midnight in UTC, an instant keeps its moment, what is left out is None."""
    found = span("2026-06-01", "2026-07-01T12:00:00+02:00", "2w")
    assert found == Span(datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, 10, tzinfo=UTC), timedelta(weeks=2))
    assert span(None, None, None) == Span(None, None, None)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("yesterday", None, None), "--from is 'yesterday'; write a day such as 2026-06-01"),
        ((None, "2026-06-01T10:00:00", None), "--to is '2026-06-01T10:00:00', which has no zone"),
        ((None, None, "1y"), "--every: got '1y'"),
        ((None, None, "0d"), "it must be longer than nothing"),
    ],
)
def test_what_is_no_time_is_refused_plainly(options: tuple[str | None, str | None, str | None], says: str) -> None:
    """The message names the option, what was given and what would be right."""
    with pytest.raises(ForecastleError, match=says):
        span(*options)


def test_scores_are_printed_and_the_report_is_left(around: Surroundings) -> None:
    """A line a cut and one for all, the verdict, and the page; the second time nothing is computed."""
    asked = span("2026-03-02", "2026-05-25", "4w")
    text = printed(around, asked)
    # 2026-03-02 + 12 weeks = 2026-05-25: three windows.
    assert [day in text for day in ("2026-03-02", "2026-03-30", "2026-04-27", "2026-05-25")] == [
        True,
        True,
        True,
        False,
    ]
    assert "3 cuts computed, 0 kept from before" in text
    assert "…" not in text
    page = around.home.reports / "ferries" / "backtests" / "20260302T0000-20260525T0000-4w" / "index.html"
    assert page.is_file()
    assert "0 cuts computed, 3 kept from before" in printed(around, asked)


def test_a_span_in_which_nothing_can_be_trained_is_refused(around: Surroundings) -> None:
    """Before there is history every cut is skipped, with its reason, and the verb says what to do."""
    with pytest.raises(ForecastleError, match="none of 1 cuts could answer; begin later"):
        printed(around, span("2026-01-02", "2026-01-05", "4w"))
