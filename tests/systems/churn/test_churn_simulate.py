"""The simulated order book: the real file's columns, the same bytes again, and nothing of the future."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

from forecastle.contract.load import LoadedSystem
from tests.systems.churn.conftest import NOW, SEED, run_sql

FILE = Path("churn") / "online_retail_orders.parquet"


@pytest.fixture(scope="module")
def orders(order_book: Path) -> pd.DataFrame:
    """The file as it is stored."""
    return pd.read_parquet(order_book / FILE)


def test_the_same_arguments_give_the_same_bytes(churn: LoadedSystem, order_book: Path, tmp_path: Path) -> None:
    """And another seed another book."""
    world = churn.function("simulate:world")
    again = world(tmp_path / "a", seed=SEED, now=NOW, customers=600, days=420).read_bytes()
    other = world(tmp_path / "b", seed=SEED + 1, now=NOW, customers=600, days=420).read_bytes()
    assert again == (order_book / FILE).read_bytes() != other


def test_columns_and_types_are_the_real_files(order_book: Path, real_data: Path) -> None:
    """So that whatever reads one reads the other."""
    simulated, real = (pq.read_schema(folder / FILE).remove_metadata() for folder in (order_book, real_data))
    assert {field.name: str(field.type).replace("large_", "") for field in simulated} == {
        field.name: str(field.type).replace("large_", "") for field in real
    }


def test_nothing_is_later_than_now_and_no_row_stands_twice(orders: pd.DataFrame) -> None:
    """In the order in which it was booked, each customer, minute and kind once."""
    assert orders["ts"].max() <= pd.Timestamp(NOW).tz_convert("Europe/London").tz_localize(None)
    assert orders["ts"].is_monotonic_increasing
    assert not orders.duplicated(["customer_id", "ts", "kind"]).any()


def test_the_shop_is_open_by_day_and_never_on_saturdays(orders: pd.DataFrame) -> None:
    """Orders come from eight to six, UTC; what comes back may come at any time."""
    at = orders.loc[orders["kind"] == "order", "ts"].dt.tz_localize("Europe/London").dt.tz_convert("UTC")
    assert at.dt.hour.between(8, 17).all()
    assert not (at.dt.day_name() == "Saturday").any()


def test_orders_bring_money_and_cancellations_take_it_back(orders: pd.DataFrame) -> None:
    """Signs are those of the real file; about one order in eight comes back in part."""
    bought = orders["kind"] == "order"
    assert (orders.loc[bought, ["amount", "units"]] > 0).all(axis=None)
    assert (orders.loc[~bought, ["amount", "units"]] < 0).all(axis=None)
    assert 0.08 < (~bought).sum() / bought.sum() < 0.16


def test_the_base_rate_is_steady_enough_to_promote_a_model(
    churn: LoadedSystem, simulated_orders: duckdb.DuckDBPyConnection
) -> None:
    """Whoever came before the book began is in it from its first day: no month is far from the others."""
    rates = run_sql(churn, simulated_orders, "churned.sql").groupby("predict_at")["outcome"].mean()
    assert len(rates) >= 4
    assert rates.between(0.4, 0.65).all()


@pytest.mark.parametrize("wrong", [{"now": datetime(2026, 6, 1)}, {"customers": 0}, {"days": 399}])  # noqa: DTZ001
def test_what_makes_no_world_is_refused(churn: LoadedSystem, tmp_path: Path, wrong: dict[str, object]) -> None:
    """A clock without a zone, nobody, or a book too short for one label."""
    with pytest.raises(ValueError, match="needs a zone, customers at least 1, days at least 400"):
        churn.function("simulate:world")(tmp_path, **{"seed": 1, "now": NOW, **wrong})
