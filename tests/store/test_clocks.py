"""Clocks of a published source: which ones are compared, on real lines too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forecastle.contract.source import Source
from forecastle.store.clocks import ClockReport, compare_clocks, has_clocks
from forecastle.store.sources import ingest
from forecastle.store.warehouse import Warehouse

NOW = datetime(2026, 6, 1, tzinfo=UTC)
START = datetime(2026, 5, 1, tzinfo=UTC)
TIME = {"dtype": "timestamp", "unit": "utc"}
GAMES: dict[str, Any] = {
    "kind": "parquet",
    "path": "${DATA}/mlb/games_2016.parquet",
    "event_at": "start_ts",
    "known_at": {"delay": "0s"},
    "key": ["game_id"],
    "columns": {"game_id": {"dtype": "string", "unit": "id"}, "start_ts": TIME},
}


def lines(clock: str) -> Source:
    """The real line table by one of its two clocks; the game's start ends its lines."""
    return Source.model_validate(
        {
            "kind": "parquet",
            "path": "${DATA}/mlb/lines_2016.parquet",
            "event_at": clock,
            "known_at": clock,
            "key": ["game_id", "seq"],
            "closes": {"source": "games", "at": "start_ts", "on": ["game_id"]},
            "columns": {
                "game_id": {"dtype": "string", "unit": "id"},
                "seq": {"dtype": "int64", "unit": "rank"},
                clock: TIME,
            },
        }
    )


@pytest.mark.parametrize(("clock", "ok"), [("entered_raw", False), ("entered_ts", True)])
def test_real_lines_in_the_wrong_zone_raise_the_alarm(real_data: Path, tmp_path: Path, clock: str, *, ok: bool) -> None:
    """`entered_raw` calls Pacific time UTC: last lines stand seven hours before the start; `entered_ts` is right."""
    warehouse = Warehouse(tmp_path, clock=lambda: NOW)
    ingest(warehouse, "mlb", "games", Source.model_validate(GAMES), data=real_data)
    source = lines(clock)
    version = ingest(warehouse, "mlb", "lines", source, data=real_data).source
    report = compare_clocks(warehouse, "mlb", source, version, now=NOW)
    assert report.ok is ok
    assert ("7 h off" in report.sentence) is not ok
    assert [pair.gap.rows for pair in report.pairs] == [2_462]


def orders(**changes: Any) -> Source:
    return Source.model_validate(
        {
            "kind": "parquet",
            "path": "${DATA}/orders.parquet",
            "event_at": "ordered_at",
            "known_at": "known",
            "key": ["id"],
            "columns": {"id": {"dtype": "int64", "unit": "id"}, "ordered_at": TIME, "known": TIME, "stored": TIME},
            **changes,
        }
    )


def report(folder: Path, source: Source, *, known: timedelta, stored: timedelta) -> ClockReport:
    """Sixty orders, one an hour, known and stored that much later."""
    return compared(folder, source, [(START + timedelta(hours=n), known, stored) for n in range(60)])


def compared(folder: Path, source: Source, rows: list[tuple[datetime, timedelta, timedelta]]) -> ClockReport:
    """Orders made then, known and stored that much later."""
    instants = pa.timestamp("us", tz="UTC")
    table = {"id": pa.array(range(len(rows)), pa.int64()), "ordered_at": pa.array([t for t, _, _ in rows], instants)}
    table |= {"known": pa.array([t + known for t, known, _ in rows], instants)}
    table |= {"stored": pa.array([t + stored for t, _, stored in rows], instants)}
    pq.write_table(pa.table(table), folder / "orders.parquet")
    warehouse = Warehouse(folder / "warehouse", clock=lambda: NOW)
    version = ingest(warehouse, "shop", "orders", source, data=folder).source
    return compare_clocks(warehouse, "shop", source, version, now=NOW)


def test_event_knowledge_and_ingestion_are_compared(tmp_path: Path) -> None:
    """A row's further clocks are each set beside its event time."""
    found = report(tmp_path, orders(ingested_at="stored"), known=timedelta(seconds=5), stored=timedelta(hours=2))
    assert [(p.first, p.second, p.gap.shift_seconds) for p in found.pairs] == [
        ("event_at", "known_at", None),
        ("event_at", "ingested_at", 7200.0),
    ]
    assert found.sentence.startswith("ingested_at is 2.00 h ahead of event_at for 100% of the rows: one of the two")


SOON, MINUTES, HOURS = timedelta(seconds=40), timedelta(minutes=12), timedelta(hours=5, seconds=40)


@pytest.mark.parametrize(
    ("usual", "lately", "told"),
    [
        (SOON, 16, "In the newest 30 rows, known_at is 5.01 h ahead of event_at for 53% of the rows"),
        (SOON, 14, "known_at is 0.7 min ahead of event_at for 93% of the rows: one zone."),
        (SOON, 80, "In the last day, known_at is 5.01 h ahead of event_at for 70% of the rows"),
        (HOURS, 15, "known_at is 5.01 h ahead of event_at for 100% of the rows: one of the two"),
    ],
)
def test_a_clock_that_was_set_lately_is_not_outvoted_by_its_past(
    tmp_path: Path, usual: timedelta, lately: int, told: str
) -> None:
    """200 orders, one every ten minutes, the last ones five hours late: sixteen are more than half of thirty.

    The 200th is known after 1,990 + 300 minutes. Of the day before that are the 80 late ones and of the 120 on time
    those since minute 850: 34, and 80 / 114 is 70 %.
    """
    rows = [(START + timedelta(minutes=10 * n), HOURS if n >= 200 - lately else usual, SOON) for n in range(200)]
    found = compared(tmp_path, orders(), rows)
    assert found.sentence.startswith(told)
    assert found.changed_lately is told.startswith("In the")


def test_a_load_that_is_always_late_and_never_by_as_much_is_no_zone(tmp_path: Path) -> None:
    """Loads of 40 rows once a night, each some minutes on from the night before: the last one's 3 h are chance."""
    nights = [(START + timedelta(days=n), timedelta(hours=3, minutes=-11 * (29 - n)), SOON) for n in range(20)]
    rows = [night for night in nights for _ in range(40)]
    assert compared(tmp_path, orders(), rows).ok


def test_rows_known_after_they_were_stored_are_told(tmp_path: Path) -> None:
    """Nobody can store what nobody knows yet; without an ingestion clock the limit is now."""
    late = report(tmp_path, orders(ingested_at="stored"), known=timedelta(minutes=20), stored=timedelta(minutes=1))
    assert (late.future_rows, late.ok) == (60, False)
    assert "60 row(s) were known after they were stored." in late.sentence
    future = report(tmp_path, orders(), known=timedelta(days=30), stored=timedelta(0))
    assert future.future_rows == sum(START + timedelta(hours=n, days=30) > NOW for n in range(60)) == 35


@pytest.mark.parametrize(
    ("changes", "compared"),
    [
        ({}, True),
        ({"known_at": {"delay": "1h"}}, False),
        ({"known_at": {"delay": "1h"}, "ingested_at": "stored"}, True),
        ({"known_at": "ordered_at"}, False),
        ({"known_at": "ordered_at", "closes": {"source": "games", "at": "start_ts", "on": ["id"]}}, True),
    ],
)
def test_a_check_stands_where_there_are_two_clocks(changes: dict[str, Any], *, compared: bool) -> None:
    """A time that is made from another, or the same column twice, is no second clock."""
    assert has_clocks(orders(**changes)) is compared


def test_a_date_has_no_clock() -> None:
    """Midnight of a date says nothing of the hour at which it was true."""
    date = {"id": {"dtype": "int64", "unit": "id"}, "ordered_at": {"dtype": "date", "unit": "date"}, "known": TIME}
    assert not has_clocks(orders(columns=date))
