"""Arrivals: the last day's rows beside the settled ones; another unit is refused, known events again are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.source import Source
from forecastle.store.arrivals import ArrivalError, questions
from forecastle.store.sources import Ingested, ingest
from forecastle.store.warehouse import Warehouse

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAYS, A_DAY = 60, 40


def source(**changes: object) -> Source:
    declared = {
        "kind": "parquet",
        "path": "${DATA}/loans.parquet",
        "event_at": "asked_at",
        "known_at": "known_at",
        "key": ["loan", "asked_at", "known_at"],
        "columns": {
            "loan": {"dtype": "int64", "unit": "id"},
            "asked_at": {"dtype": "timestamp", "unit": "utc"},
            "known_at": {"dtype": "timestamp", "unit": "utc"},
            "handled": {"dtype": "float64", "unit": "seconds", "min": 0},
        },
    }
    return Source.model_validate(declared | changes)


def loans() -> pd.DataFrame:
    """Forty loans a day for sixty days, handled in some minutes each, known the moment they were asked for."""
    random = np.random.default_rng(5)
    rows = DAYS * A_DAY
    asked = pd.date_range(end=NOW, periods=rows, freq="36min").astype("datetime64[us, UTC]")
    return pd.DataFrame(
        {
            "loan": np.arange(rows),
            "asked_at": asked,
            "known_at": asked,
            "handled": random.lognormal(7.0, 0.7, rows),
        }
    )


def late(rows: pd.DataFrame, hours: float = 24) -> pd.Series:
    return rows["known_at"] > pd.Timestamp(NOW) - timedelta(hours=hours)


class Lender:
    """Whoever delivers the loans, and the warehouse that takes them."""

    def __init__(self, folder: Path) -> None:
        self.data, self.warehouse = folder / "data", Warehouse(folder / "warehouse", clock=lambda: NOW)
        self.data.mkdir()

    def take(self, rows: pd.DataFrame, *, accept_units: bool = False) -> Ingested:
        rows.to_parquet(self.data / "loans.parquet", index=False)
        return ingest(self.warehouse, "bank", "loans", source(), data=self.data, accept_units=accept_units)


@pytest.fixture
def lender(tmp_path: Path) -> Lender:
    """A source that was taken once, when all was well."""
    made = Lender(tmp_path)
    rows = loans()
    made.take(rows[~late(rows)])
    return made


def found(ingested: Ingested) -> dict[str, bool]:
    return {arrived.question: arrived.is_well for arrived in ingested.arrived}


def test_a_day_like_every_other_is_well(lender):
    """Three questions, three times nothing."""
    assert found(lender.take(loans())) == {"units": True, "replay": True, "restatement": True}


@pytest.mark.parametrize("hours", [24, 12])
def test_minutes_for_seconds_are_refused_and_the_old_table_stays(lender, hours):
    """The last day's rows, or only those of its second half; the message names both units."""
    rows, before = loans(), lender.warehouse.version("bank/source/loans")
    rows.loc[late(rows, hours), "handled"] /= 60
    with pytest.raises(ArrivalError, match="look like minutes, contract says seconds"):
        lender.take(rows)
    assert lender.warehouse.version("bank/source/loans") == before


def test_a_change_that_a_person_accepts_is_published_and_stays_accepted(lender):
    """Later looks compare with nothing older than the acceptance, so the next day is not refused again."""
    rows = loans()
    rows.loc[late(rows), "handled"] /= 60
    lender.take(rows, accept_units=True)
    more = rows.tail(A_DAY).assign(loan=lambda r: r["loan"] + A_DAY)
    for time in ("asked_at", "known_at"):
        more[time] += timedelta(days=1)
    assert found(lender.take(pd.concat([rows, more])))["units"]


def test_a_larger_amount_is_no_other_unit(lender):
    """Three times as long is drift, which is not refused."""
    rows = loans()
    rows.loc[late(rows), "handled"] *= 3
    assert found(lender.take(rows))["units"]


def test_the_first_table_is_not_refused(tmp_path):
    """There is no older one that could stay: the check fails, and the rows are there to look at."""
    rows = loans()
    rows.loc[late(rows), "handled"] /= 60
    assert not found(Lender(tmp_path).take(rows))["units"]


@pytest.mark.parametrize(("factor", "question"), [(1.0, "replay"), (1.01, "restatement")])
def test_known_events_again_are_told_by_what_they_say(lender, factor, question):
    """The same values are a replay, others a restatement."""
    rows = loans()
    again = rows[~late(rows)].tail(2 * A_DAY)
    hours_ago = pd.to_timedelta(np.linspace(0, 20, len(again)), unit="h").astype("timedelta64[us]")
    again = again.assign(known_at=pd.Timestamp(NOW) - hours_ago, handled=again["handled"] * factor)
    told = found(lender.take(pd.concat([rows, again])))
    assert [name for name, is_well in told.items() if not is_well] == [question]


def test_what_cannot_be_asked_is_not():
    """Without a stamp in the key no row can be a further version; without numbers there is no unit."""
    assert questions(source(key=["loan"])) == ("units",)
    texts = {name: {"dtype": "string", "unit": "text"} for name in ("loan",)}
    times = {name: {"dtype": "timestamp", "unit": "utc"} for name in ("asked_at", "known_at")}
    assert questions(source(key=["loan"], columns={**texts, **times})) == ()
