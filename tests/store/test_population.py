"""The population: everybody who can be asked about, with what was known then."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pytest

from forecastle.store.population import one_row_each, population
from forecastle.store.training_set import publish_training_set
from tests.learn import ferries
from tests.learn.ferries import HOUR, NOW, arrival, booking, put, report
from tests.store import weather

DAY = timedelta(days=1)
WEEK = timedelta(days=7)


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    return ferries.write_system(tmp_path_factory.mktemp("systems"))


@pytest.fixture(scope="module")
def warehouse(system, tmp_path_factory):
    """Crossing 1 is reported each day for three weeks, 2 a week ago, 3 only later than now, 4 has a booking only."""
    folder = tmp_path_factory.mktemp("population")
    reports = [report(1, NOW - n * DAY, wind=float(n)) for n in range(21)]
    reports += [report(2, NOW - WEEK - 13 * HOUR, wind=50.0), report(3, NOW - HOUR, wind=99.0, known=NOW + HOUR)]
    put(folder, "reports", reports)
    put(folder, "bookings", [booking(4, NOW - HOUR, 0.5), booking(1, NOW - HOUR, 0.25)])
    put(folder, "arrivals", [arrival(1, NOW, 1, NOW + HOUR)])
    return ferries.warehouse_of(system, folder / "warehouse", folder)


def test_only_the_answerable_are_there(system, warehouse) -> None:
    """Stale, not yet known and half known entities cannot be asked about now."""
    rows = population(warehouse, system, now=NOW)
    assert rows["crossing_id"].tolist() == [1]
    assert rows["predict_at"].tolist() == [NOW]
    assert rows["wind_mps"].tolist() == [0.0]
    assert rows["booked_ratio"].tolist() == [0.25]


def test_a_window_asks_on_its_mondays(system, warehouse) -> None:
    """Two weeks back from a Monday noon hold two midnights of Mondays, each with what was known then."""
    rows = population(warehouse, system, now=NOW, window=2 * WEEK)
    mine = rows[rows["crossing_id"] == 1]
    midnight = NOW - 12 * HOUR
    assert mine["predict_at"].tolist() == [midnight - WEEK, midnight]
    assert mine["wind_mps"].tolist() == [8.0, 1.0]  # the report of noon the day before
    assert mine["booked_ratio"].isna().all()  # booked an hour ago
    assert rows.loc[rows["crossing_id"] == 2, "predict_at"].tolist() == [midnight - WEEK]
    order = rows[["crossing_id", "predict_at"]]
    assert order.equals(order.sort_values(["crossing_id", "predict_at"]))


def test_a_short_window_still_asks_once(system, warehouse) -> None:
    """Eleven hours before Monday noon no Monday began: the newest Monday is asked all the same."""
    rows = population(warehouse, system, now=NOW, window=11 * HOUR)
    assert rows["predict_at"].tolist() == [NOW - 12 * HOUR]


def test_the_past_does_not_change(system, warehouse) -> None:
    """A Monday seen from today is what was seen on that Monday."""
    monday = NOW - WEEK - 12 * HOUR
    then = population(warehouse, system, now=monday)
    window = population(warehouse, system, now=NOW, window=2 * WEEK)
    seen = window[window["predict_at"] == monday].reset_index(drop=True)
    assert len(then) == 2
    pd.testing.assert_frame_equal(seen, then)


def test_the_population_is_joined_as_training_is(system, warehouse) -> None:
    """At the instant of a label, training row and population row hold the same features."""
    version = publish_training_set(warehouse, system, now=NOW + 2 * HOUR)
    training = warehouse.frame(version)
    rows = population(warehouse, system, now=NOW)
    shared = list(rows.columns)
    assert [name for name in training.columns if name not in shared] == ["outcome", "known_at", "route"]
    pd.testing.assert_frame_equal(training[shared], rows)


def test_one_view_alone_names_every_entity_once(tmp_path) -> None:
    """Three stations of a system with one view have twenty readings each, and stand in the population once."""
    system = weather.write_system(tmp_path / "weather")
    weather.write_readings(tmp_path / "data", days=20, stations=3)
    made = ferries.warehouse_of(system, tmp_path / "warehouse", tmp_path / "data")
    rows = population(made, system, now=weather.START + 21 * DAY)
    assert rows["station_id"].tolist() == [0, 1, 2]


def test_the_system_must_have_been_materialised(system, tmp_path) -> None:
    """Without published views the error names the table and what to do."""
    from forecastle.contract.errors import StoreError
    from forecastle.store.warehouse import Warehouse

    with pytest.raises(StoreError, match="materialise it first"):
        population(Warehouse(tmp_path, clock=lambda: NOW), system, now=NOW)


def test_one_row_of_each_entity_is_spread_over_its_life() -> None:
    """Entities a, b, c with 3, 1 and 2 rows: row 0 % 3 of a, 1 % 1 of b, 2 % 2 of c; the order of rows stays."""
    rows = pd.DataFrame({"key": list("acabac"), "value": [0, 10, 1, 20, 2, 11]})
    assert one_row_each(rows, ["key"])["value"].tolist() == [0, 10, 20]
    later = pd.DataFrame({"key": ["b", "a", "b", "b"], "value": [0, 1, 2, 3]})
    assert one_row_each(later, ["key"])["value"].tolist() == [1, 2]  # row 1 % 3 of b
    assert one_row_each(later.iloc[:0], ["key"]).empty
