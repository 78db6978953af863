"""The training set through the real store: what was known when each prediction would have been asked, and no more."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.errors import StoreError
from forecastle.contract.load import LoadedSystem
from forecastle.store.training_set import publish_training_set, snapshot_hash
from tests.learn import ferries
from tests.learn.ferries import HOUR, NOW, START, arrival, booking, put, report

DAY = timedelta(days=1)
ASKED = START + 10 * DAY
TABLE = "ferries/training_set/all"


@pytest.fixture(scope="module")
def system(tmp_path_factory) -> LoadedSystem:
    return ferries.write_system(tmp_path_factory.mktemp("systems"))


def sources(data: Path, *, reports: list[dict], arrivals: list[dict], bookings: list[dict] | None = None) -> None:
    put(data, "reports", reports)
    put(data, "arrivals", arrivals)
    put(data, "bookings", bookings or [booking(99, START, 0.1)])


def built(system: LoadedSystem, folder: Path, *, now=NOW) -> pd.DataFrame:
    """Sources below `folder/data` ingested, views published, the training set as it is known at `now`."""
    warehouse = ferries.warehouse_of(system, folder / "warehouse", folder / "data")
    return warehouse.frame(publish_training_set(warehouse, system, now=now))


def test_a_feature_known_after_the_question_never_arrives(system, tmp_path) -> None:
    """Of three reports only the one that was known in time is joined, though the others tell of earlier hours."""
    sources(
        tmp_path / "data",
        reports=[
            report(1, ASKED - 5 * HOUR, wind=5.0, known=ASKED - 4 * HOUR),
            report(1, ASKED - 3 * HOUR, wind=66.0, known=ASKED + HOUR),
            report(1, ASKED - 2 * HOUR, wind=77.0, known=ASKED + timedelta(microseconds=1)),
        ],
        arrivals=[arrival(1, ASKED, 1, ASKED + 5 * HOUR)],
    )
    (row,) = built(system, tmp_path).to_dict("records")
    assert row["wind_mps"] == 5.0
    assert row["weather__known_at"] == ASKED - 4 * HOUR
    assert row["weather__event_at"] == ASKED - 5 * HOUR


def test_a_feature_known_at_that_instant_does(system, tmp_path) -> None:
    """Known at the very instant of the question is known."""
    sources(
        tmp_path / "data",
        reports=[report(1, ASKED - HOUR, wind=7.0, known=ASKED)],
        arrivals=[arrival(1, ASKED, 0, ASKED + HOUR)],
    )
    assert built(system, tmp_path)["wind_mps"].tolist() == [7.0]


def test_a_feature_about_the_future_does_not(system, tmp_path) -> None:
    """A forecast entered before the question for an hour after it is no feature of it."""
    sources(
        tmp_path / "data",
        reports=[report(1, ASKED - HOUR, wind=7.0), report(1, ASKED + HOUR, wind=88.0, known=ASKED - HOUR)],
        arrivals=[arrival(1, ASKED, 0, ASKED + 2 * HOUR)],
    )
    assert built(system, tmp_path)["wind_mps"].tolist() == [7.0]


def test_the_outcome_is_the_one_believed_at_the_time(system, tmp_path) -> None:
    """A corrected outcome counts from its correction on, no microsecond earlier; before the first there is no row."""
    first, corrected = ASKED + 5 * HOUR, ASKED + 3 * DAY
    sources(
        tmp_path / "data",
        reports=[report(1, ASKED - HOUR)],
        arrivals=[arrival(1, ASKED, 0, first), arrival(1, ASKED, 1, corrected)],
    )
    warehouse = ferries.warehouse_of(system, tmp_path / "warehouse", tmp_path / "data")

    def believed(now) -> list[tuple[int, object]]:
        rows = warehouse.frame(publish_training_set(warehouse, system, now=now))
        return list(zip(rows["outcome"], rows["known_at"], strict=True))

    moment = timedelta(microseconds=1)
    assert believed(first - moment) == []
    assert believed(first) == [(0, first)]
    assert believed(corrected - moment) == [(0, first)]
    assert believed(corrected) == [(1, corrected)]


def test_knowledge_after_now_is_not_there(system, tmp_path) -> None:
    """Rebuilding the training set as of an earlier day gives what it was on that day."""
    sources(
        tmp_path / "data",
        reports=[report(n, ASKED + n * DAY - HOUR, wind=float(n)) for n in range(6)],
        arrivals=[arrival(n, ASKED + n * DAY, n % 2, ASKED + n * DAY + HOUR) for n in range(6)],
    )
    warehouse = ferries.warehouse_of(system, tmp_path / "warehouse", tmp_path / "data")
    whole = warehouse.frame(publish_training_set(warehouse, system, now=NOW))
    earlier = warehouse.frame(publish_training_set(warehouse, system, now=ASKED + 2 * DAY + HOUR))
    assert whole["crossing_id"].tolist() == [0, 1, 2, 3, 4, 5]
    assert earlier["crossing_id"].tolist() == [0, 1, 2]
    pd.testing.assert_frame_equal(earlier, whole.iloc[:3].reset_index(drop=True))


def test_questions_that_could_not_be_answered_are_counted(system, tmp_path) -> None:
    """A row without a required feature, never given or older than its TTL, is left out and said in the facts."""
    sources(
        tmp_path / "data",
        reports=[report(1, ASKED - HOUR), report(2, ASKED - 2 * DAY)],
        arrivals=[arrival(n, ASKED, 1, ASKED + HOUR) for n in (1, 2, 3)],
    )
    warehouse = ferries.warehouse_of(system, tmp_path / "warehouse", tmp_path / "data")
    version = publish_training_set(warehouse, system, now=NOW)
    assert warehouse.frame(version)["crossing_id"].tolist() == [1]
    assert (version.facts["label_rows"], version.facts["unanswerable_rows"]) == ("3", "2")


def test_rows_that_nobody_could_have_asked_make_no_training_set(system, tmp_path) -> None:
    """Where a required feature was never known, it is named, and no empty set takes the place of a good one."""
    sources(
        tmp_path / "data",
        reports=[report(1, ASKED + HOUR, wind=7.0, known=ASKED + HOUR)],
        arrivals=[arrival(1, ASKED, 1, ASKED + 2 * HOUR)],
    )
    with pytest.raises(StoreError, match=r"none of 1 label rows has every required feature \(known was wind_mps of 0"):
        built(system, tmp_path)


def test_a_missing_optional_feature_is_null(system, tmp_path) -> None:
    """Without a booking the row stays, its ratio null and so what is computed from it."""
    sources(
        tmp_path / "data",
        reports=[report(1, ASKED - HOUR, wind=7.0), report(2, ASKED - HOUR, wind=7.0)],
        bookings=[booking(2, ASKED - 2 * HOUR, 0.25)],
        arrivals=[arrival(1, ASKED, 1, ASKED + HOUR), arrival(2, ASKED, 1, ASKED + HOUR)],
    )
    rows = built(system, tmp_path)
    assert np.isnan(rows["booked_ratio"][0])
    assert np.isnan(rows["strain"][0])
    assert rows["booked_ratio"][1] == 0.25
    assert pd.isna(rows["load__known_at"][0])


@pytest.fixture(scope="module")
def many(system, tmp_path_factory) -> pd.DataFrame:
    """Two hundred crossings with winds of every size, a third without a booking."""
    folder = tmp_path_factory.mktemp("many")
    generator = np.random.default_rng(5)
    asked = [START + n * HOUR for n in range(10, 210)]
    sources(
        folder / "data",
        reports=[report(n, at - HOUR, wind=float(generator.exponential(9))) for n, at in enumerate(asked)],
        bookings=[booking(n, at - HOUR, float(generator.random())) for n, at in enumerate(asked) if n % 3],
        arrivals=[arrival(n, at, n % 2, at + HOUR) for n, at in enumerate(asked)],
    )
    return built(system, folder)


def test_computed_features_are_those_of_a_request(system, many) -> None:
    """Called with the scalars of each row, the system's function gives the bits that stand in the training set."""
    sea = system.all_features().functions()["sea"]
    asked = [
        float(sea(wind_mps=w, booked_ratio=b)["strain"])
        for w, b in zip(many["wind_mps"], many["booked_ratio"], strict=True)
    ]
    assert np.array_equal(np.array(asked), many["strain"].to_numpy(), equal_nan=True)
    assert many["strain"].notna().sum() > 100


def test_columns_stand_in_declared_order(many) -> None:
    """Keys, times and outcome, label columns, features in declared order, then the times of each view's row."""
    assert list(many.columns) == [
        "crossing_id", "predict_at", "outcome", "known_at", "route",
        "wind_mps", "guess", "booked_ratio", "strain",
        "weather__event_at", "weather__known_at", "load__event_at", "load__known_at",
    ]  # fmt: skip


def test_the_version_names_all_it_was_made_of(system, tmp_path) -> None:
    """Facts name label and view versions, feature set, time and SQL; only the same again is the same version."""
    sources(tmp_path / "data", reports=[report(1, ASKED - HOUR)], arrivals=[arrival(1, ASKED, 1, ASKED + HOUR)])
    warehouse = ferries.warehouse_of(system, tmp_path / "warehouse", tmp_path / "data")
    version = publish_training_set(warehouse, system, now=NOW)
    assert version.facts["knowledge_until"] == NOW.isoformat()
    assert version.facts["feature_set"] == system.all_features().hash
    inputs = {value for name, value in version.facts.items() if name.startswith("input.")}
    assert inputs == {"ferries/label/all@0", "ferries/features/weather@0", "ferries/features/load@0"}
    again = publish_training_set(warehouse, system, now=NOW)
    assert again.unchanged
    assert again.content_hash == version.content_hash
    label = system.declaration.label.sql
    reworded = dataclasses.replace(system, sql={**system.sql, label: f"{system.sql[label]}\n-- in other words"})
    other = publish_training_set(warehouse, reworded, now=NOW)
    assert (other.version, other.content_hash) == (1, version.content_hash)
    assert snapshot_hash(other) != snapshot_hash(version)


def test_a_broken_feature_leaves_the_old_training_set(tmp_path) -> None:
    """When a computed value breaks its contract, it is named and the last good version stays the newest."""
    code = ferries.CODE.replace("np.log1p(", "np.where(np.asarray(wind_mps) > 50, np.inf, 1.0) + np.log1p(")
    system = ferries.write_system(tmp_path / "systems", code=code)
    reports, arrivals = [report(1, ASKED - HOUR, wind=5.0)], [arrival(1, ASKED, 1, ASKED + HOUR)]
    bookings = [booking(n, ASKED - HOUR, 0.5) for n in (1, 2)]
    sources(tmp_path / "data", reports=reports, arrivals=arrivals, bookings=bookings)
    warehouse = ferries.warehouse_of(system, tmp_path / "warehouse", tmp_path / "data")
    before = publish_training_set(warehouse, system, now=NOW)
    reports.append(report(2, ASKED - HOUR, wind=60.0))
    arrivals.append(arrival(2, ASKED, 0, ASKED + HOUR))
    sources(tmp_path / "data", reports=reports, arrivals=arrivals, bookings=bookings)
    warehouse = ferries.warehouse_of(system, tmp_path / "warehouse", tmp_path / "data")
    with pytest.raises(StoreError, match=r"strain.*finite|finite.*strain"):
        publish_training_set(warehouse, system, now=NOW)
    assert warehouse.version(TABLE) == before
