"""Parity: online rows and logged values against the warehouse; what is lag, and what nothing explains."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from forecastle.contract.load import LoadedSystem
from forecastle.store.feature_views import publish_view
from forecastle.store.online_parity import online_parity
from forecastle.store.online_sqlite import SQLiteOnlineStore
from forecastle.store.parity import ParityReport, served_parity
from forecastle.store.prediction import Prediction
from forecastle.store.push import push_view
from forecastle.store.sources import ingest
from forecastle.store.warehouse import Warehouse
from tests.store.weather import START, write_readings, write_system

BUNDLE = "b" * 64
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Station:
    """The weather system with readings of some days, its view published, and an online store."""

    def __init__(self, folder: Path, *, days: int = 20) -> None:
        self.folder = folder
        self.system: LoadedSystem = write_system(folder / "weather")
        self.warehouse = Warehouse(folder / "warehouse", clock=lambda: START + timedelta(days=60))
        self.store = SQLiteOnlineStore(folder / "online.sqlite")
        self.read(days)

    def read(self, days: int) -> None:
        """Read the source again, now with readings of so many days."""
        write_readings(self.folder, days=days)
        source = self.system.declaration.sources["readings"]
        ingest(self.warehouse, "weather", "readings", source, data=self.folder)
        publish_view(self.warehouse, self.system, "warmth")

    def push(self, now: datetime) -> None:
        push_view(self.warehouse, self.store, self.system, "warmth", now=now)

    def online(self, now: datetime, *, fed: bool = False) -> ParityReport:
        return online_parity(self.warehouse, self.store, self.system, "warmth", now=now, fed=fed)

    def change(self, statement: str) -> None:
        """Change the online store behind everybody's back."""
        with closing(sqlite3.connect(self.folder / "online.sqlite")) as connection:
            connection.execute(statement)
            connection.commit()

    def answer(self, now: datetime, *, station: int = 0, **changes: Mapping[str, Any]) -> Prediction:
        """What the service would log at `now` from the online row, a feature changed where asked."""
        feature_set = self.system.all_features()
        view = feature_set.views[0]
        row = self.store.read([view], (station,))["warmth"]
        assert row is not None
        fresh = now - timedelta(seconds=view.ttl_seconds) < EPOCH + timedelta(microseconds=row.event_at_us)
        times = {
            "event_at": (EPOCH + timedelta(microseconds=row.event_at_us)).isoformat(),
            "known_at": (EPOCH + timedelta(microseconds=row.known_at_us)).isoformat(),
        }
        status = "PRESENT" if fresh else "STALE"
        named = zip(view.features, row.values, strict=True)
        served = {name: {"value": value, "status": status, **times} for name, value in named}
        function = feature_set.functions()["derived"]
        chance = float(function(celsius=served["celsius"]["value"])["frost_probability"])
        served["frost_probability"] = {"value": chance, "status": "COMPUTED", "event_at": None, "known_at": None}
        for name, change in changes.items():
            served[name] = {**served[name], **change}
        return Prediction(
            prediction_id=f"p{now:%d%H}", request_id="r", request_sha256="", system="weather",
            entity_json=json.dumps({"station_id": station}), predicted_at_us=(now - EPOCH) // timedelta(microseconds=1),
            raw_score=0.0, probability=0.5, interval_low=None, interval_high=None, model="plain", model_version="1",
            bundle=BUNDLE, feature_set=feature_set.hash, variant="", features_json=json.dumps(served),
            degraded_json="[]", vector_json="[]", decision_json="null", latency_ms=1.0,
        )  # fmt: skip

    def served(self, *answers: Prediction, fed: tuple[str, ...] = ()) -> ParityReport:
        sets = {BUNDLE: self.system.all_features()}
        return served_parity(self.warehouse, "weather", answers, feature_sets=sets, fed=fed)


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


NOW = START + timedelta(days=10)


def test_what_was_pushed_is_what_the_warehouse_gives(station: Station) -> None:
    """Three stations of two features each, all equal, at any moment of the push."""
    for days in (3, 7, 10, 40):
        now = START + timedelta(days=days)
        station.push(now)
        report = station.online(now)
        assert (report.ok, report.compared, report.behind, report.ahead) == (True, 6, 0, 0)


def test_a_row_pushed_earlier_is_behind_and_no_difference(station: Station) -> None:
    """The warehouse knows newer rows by now; the old one stands there too, so the push is late and nothing is wrong."""
    station.push(NOW)
    report = station.online(NOW + timedelta(days=2))
    assert (report.ok, report.behind) == (True, 6)
    assert "6 of them older than what the warehouse knew" in report.sentence("values")


def test_an_online_store_that_is_empty_is_behind(station: Station) -> None:
    """Nothing was pushed: nothing wrong can be served."""
    report = station.online(NOW)
    assert (report.ok, report.compared, report.behind) == (True, 6, 6)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE warmth SET celsius = celsius + 1e-9 WHERE station_id = 1", "another value"),
        ("UPDATE warmth SET celsius = NULL WHERE station_id = 1", "another value"),
        ("UPDATE warmth SET event_at_us = event_at_us - 1 WHERE station_id = 1", "does not hold"),
        ("UPDATE warmth SET event_at_us = event_at_us + 86400000000 WHERE station_id = 1", "does not hold"),
        ("INSERT INTO warmth SELECT 9, event_at_us, known_at_us, celsius, is_cold FROM warmth WHERE station_id = 1",
         "does not know"),
    ],
)  # fmt: skip
def test_every_altered_online_row_is_found(station: Station, statement: str, told: str) -> None:
    """A value, a null, a time or an entity that the warehouse does not have."""
    station.push(NOW)
    station.change(statement)
    report = station.online(NOW)
    assert not report.ok
    assert told in report.differences["reason"].iloc[0]


def test_rows_of_a_stream_are_ahead(station: Station) -> None:
    """Where rows also come straight to the online store, newer ones and new entities are not yet in the table."""
    station.push(NOW)
    station.change("UPDATE warmth SET event_at_us = event_at_us + 86400000000 WHERE station_id = 1")
    station.change("INSERT INTO warmth SELECT 9, event_at_us, known_at_us, celsius, is_cold FROM warmth LIMIT 1")
    report = station.online(NOW, fed=True)
    assert (report.ok, report.ahead) == (True, 4)


def test_answers_are_derived_again(station: Station) -> None:
    """Stored, stale and computed values of many moments come out of the warehouse again."""
    answers = []
    for hours in range(60, 500, 37):
        now = START + timedelta(hours=hours)
        station.push(now)
        answers.append(station.answer(now, station=hours % 3))
    stale = START + timedelta(days=30)
    answers.append(station.answer(stale, frost_probability={"status": "REQUEST"}))
    report = station.served(*answers)
    assert (report.ok, report.behind, report.compared) == (True, 0, 3 * len(answers) - 1)


@pytest.mark.parametrize(
    ("feature", "change", "reason"),
    [
        ("celsius", {"value": 99.0}, "no row"),
        ("celsius", {"value": None}, "no row"),
        ("celsius", {"event_at": "2026-01-01T00:00:00+00:00", "value": 1.0}, "no row"),
        ("is_cold", {"value": None}, "no row"),
        ("frost_probability", {"value": 0.123}, "computed again"),
    ],
)
def test_every_altered_answer_is_found(station: Station, feature: str, change: Mapping[str, Any], reason: str) -> None:
    """One value that no row explains is one difference, named with the prediction."""
    station.push(NOW)
    answer = station.answer(NOW, **{feature: change})
    report = station.served(answer)
    found = report.differences.iloc[0]
    assert found["where"] == f"prediction {answer.prediction_id}"
    assert feature in set(report.differences["feature"])
    assert reason in " ".join(report.differences["reason"])


def test_an_answer_from_before_the_push_is_behind(station: Station) -> None:
    """The served row was the newest pushed and the warehouse knew a newer one: warmer, and still below zero."""
    station.push(NOW)
    report = station.served(station.answer(NOW + timedelta(days=1)))
    assert (report.ok, report.behind) == (True, 1)


def test_a_default_agrees_only_where_nothing_was_known(station: Station) -> None:
    """Served as missing: right at the first hour of the data, lag once the warehouse knew a row."""
    station.push(NOW)
    changed = {"status": "DEFAULTED", "value": None, "event_at": None, "known_at": None}
    late = station.answer(NOW, celsius=changed, is_cold=changed, frost_probability={"status": "REQUEST"})
    early = structs.replace(late, predicted_at_us=(START - EPOCH) // timedelta(microseconds=1))
    assert (station.served(early).behind, station.served(late).behind) == (0, 2)
    assert station.served(early, late).ok


def test_a_row_that_a_stream_brought_is_ahead(station: Station) -> None:
    """Known after everything in the table: no difference where the view is fed, one where it is not."""
    station.push(NOW)
    future = {"value": 50.0, "known_at": (START + timedelta(days=50)).isoformat()}
    answer = station.answer(
        START + timedelta(days=51), celsius={**future, "status": "PRESENT"}, frost_probability={"status": "REQUEST"}
    )
    assert station.served(answer, fed=("warmth",)).ahead == 1
    assert not station.served(answer).ok


def test_answers_are_compared_with_the_sql_that_served_them(station: Station) -> None:
    """A view whose SQL changed since has other values; the version that the bundle's SQL made is compared."""
    station.push(NOW)
    answer, before = station.answer(NOW), {BUNDLE: station.system.all_features()}
    changed = write_system(station.folder / "changed" / "weather", known_at="readings.known_at + INTERVAL 1 DAY")
    publish_view(station.warehouse, changed, "warmth")
    assert served_parity(station.warehouse, "weather", [answer], feature_sets=before).ok
    station.warehouse.prune("weather/features/warmth", keep=1, older_than=timedelta(0))
    late = Warehouse(station.warehouse.root, clock=lambda: START + timedelta(days=900))
    late.prune("weather/features/warmth", keep=1, older_than=timedelta(0))
    report = served_parity(station.warehouse, "weather", [answer], feature_sets=before)
    assert report.skipped == ("No version of warmth was made by the SQL that the bundle knows.",)


def test_an_unknown_bundle_is_said(station: Station) -> None:
    """Answers of a bundle that is gone are counted, not silently left out."""
    station.push(NOW)
    report = served_parity(station.warehouse, "weather", [station.answer(NOW)], feature_sets={})
    assert (report.compared, report.skipped) == (0, ("1 answers are of bundle bbbbbbbbbbbb, which is not there.",))
