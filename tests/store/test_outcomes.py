"""Outcomes: which outcome belongs to which prediction, and what a prediction without one is said to wait for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import StoreError
from forecastle.contract.load import LoadedSystem
from forecastle.store.outcomes import publish_outcomes
from forecastle.store.warehouse import Warehouse
from tests.learn import ferries

START, HOUR, DAY = ferries.START, timedelta(hours=1), timedelta(days=1)
NOW = START + 10 * DAY


@dataclass(frozen=True)
class Port:
    """The ferries with a warehouse of their own, into which tests put arrivals and predictions."""

    system: LoadedSystem
    warehouse: Warehouse

    def put(self, table: str, rows: list[dict[str, Any]], like: dict[str, str]) -> None:
        frame = pd.DataFrame(rows, columns=list(like)).astype(like)
        self.warehouse.publish(f"ferries/{table}/{'all' if table == 'predictions' else 'arrivals'}", frame)

    def arrive(self, *rows: dict[str, Any]) -> None:
        """Publish the source that the label reads."""
        instant = "datetime64[us, UTC]"
        like = {"crossing_id": "int64", "asked_at": instant, "route": "str", "is_late": "int64", "known_at": instant}
        self.put("source", list(rows), like)

    def ask(self, *asked: tuple[Any, datetime]) -> None:
        """Publish predictions: (entity, instant), numbered in order, each with a logged guess of 0.3."""
        texts = dict.fromkeys(("prediction_id", "model", "model_version", "bundle", "variant"), "str")
        like = {
            "sequence": "int64", **texts, "entity_json": "str", "features_json": "str",
            "predicted_at": "datetime64[us, UTC]", "raw_score": "float64", "probability": "float64",
        }  # fmt: skip
        rows = [
            {
                **{name: name for name in texts}, "sequence": index, "prediction_id": f"p{index}",
                "entity_json": json.dumps(entity), "features_json": json.dumps({"guess": {"value": 0.3}}),
                "predicted_at": at, "raw_score": 0.4, "probability": 0.25,
            }
            for index, (entity, at) in enumerate(asked, start=1)
        ]  # fmt: skip
        self.put("predictions", rows, like)

    def outcomes(self, now: datetime = NOW) -> pd.DataFrame:
        return self.warehouse.frame(publish_outcomes(self.warehouse, self.system, now=now))

    def one(self, now: datetime = NOW) -> dict[str, Any]:
        (row,) = self.outcomes(now).to_dict("records")
        return row


@pytest.fixture(scope="module")
def system(tmp_path_factory) -> LoadedSystem:
    return ferries.write_system(tmp_path_factory.mktemp("systems"))


@pytest.fixture
def port(system, tmp_path: Path) -> Port:
    return Port(system, Warehouse(tmp_path / "warehouse", clock=lambda: NOW))


def crossing(number: int) -> dict[str, int]:
    return {"crossing_id": number}


def test_an_outcome_joins_the_predictions_made_before_it(port) -> None:
    """Asked at hour 3 about a crossing whose label stands at hour 0 and was known at hour 5: the outcome counts."""
    port.arrive(ferries.arrival(7, START, 1, START + 5 * HOUR))
    port.ask((crossing(7), START + 3 * HOUR))
    found = port.one()
    assert (found["status"], found["outcome"], found["route"]) == ("known", 1, "north")
    assert (found["crossing_id"], found["guess"], found["probability"]) == (7, 0.3, 0.25)
    assert found["known_at"] == START + 5 * HOUR
    assert found["matures_at"] == START + 3 * HOUR + DAY  # label.matures is one day
    assert found["is_mature"]


def test_an_outcome_holds_off_the_grid(port) -> None:
    """Asked before the entity's first label instant, the outcome is its own all the same."""
    port.arrive(ferries.arrival(7, START + 2 * HOUR, 0, START + 5 * HOUR))
    port.ask((crossing(7), START + 1 * HOUR))
    assert (port.one()["status"], port.one()["outcome"]) == ("known", 0)


def test_what_was_known_when_it_was_asked_does_not_count(port) -> None:
    """Asked at the very instant the outcome became known: told as such, and no outcome to score."""
    port.arrive(ferries.arrival(7, START, 1, START + 5 * HOUR))
    port.ask((crossing(7), START + 5 * HOUR), (crossing(7), START + 5 * HOUR - timedelta(microseconds=1)))
    late, timely = port.outcomes().to_dict("records")
    assert late["status"] == "asked_too_late"
    assert np.isnan(late["outcome"])
    assert timely["status"] == "known"


def test_a_correction_does_not_make_an_old_outcome_new(port) -> None:
    """Known wrongly at hour 5, corrected at hour 9: asked at 3 it is the corrected one, asked at 7 it is too late."""
    port.arrive(ferries.arrival(7, START, 1, START + 5 * HOUR), ferries.arrival(7, START, 0, START + 9 * HOUR))
    port.ask((crossing(7), START + 3 * HOUR), (crossing(7), START + 7 * HOUR))
    timely, late = port.outcomes().to_dict("records")
    assert (timely["status"], timely["outcome"]) == ("known", 0)
    assert (timely["first_known_at"], timely["known_at"]) == (START + 5 * HOUR, START + 9 * HOUR)
    assert late["status"] == "asked_too_late"
    # Before the correction was known the wrong outcome was what one had.
    assert port.outcomes(START + 8 * HOUR)["outcome"].tolist()[0] == 1


def test_the_future_is_not_read(port) -> None:
    """An outcome known after now, and a prediction given after now, are not there yet."""
    port.arrive(ferries.arrival(7, START, 1, START + 5 * HOUR))
    port.ask((crossing(7), START + 3 * HOUR), (crossing(7), START + 6 * HOUR))
    found = port.outcomes(START + 4 * HOUR)
    assert found["prediction_id"].tolist() == ["p1"]
    assert found["status"].tolist() == ["waiting"]
    assert found["first_known_at"].isna().all()


def test_no_outcome_waits_and_is_then_overdue(port) -> None:
    """Without an outcome a prediction waits one day (label.matures); from then on it is overdue, never 0."""
    port.arrive(ferries.arrival(1, START, 1, START + HOUR))
    port.ask((crossing(7), START))
    assert port.one(START + DAY - HOUR)["status"] == "waiting"
    overdue = port.one(START + DAY)
    assert overdue["status"] == "overdue"
    assert np.isnan(overdue["outcome"])
    assert overdue["is_mature"]


def test_a_request_without_an_entity_is_told(port) -> None:
    """A prediction from given features alone cannot be joined to anything."""
    port.arrive(ferries.arrival(7, START, 1, START + 5 * HOUR))
    port.ask((None, START + 3 * HOUR))
    assert port.one()["status"] == "no_entity"


def test_an_entity_with_periods_takes_the_period_it_was_asked_in(port) -> None:
    """Three daily labels of one entity, each known a day later: asked in the second day, the second outcome counts."""
    rows = [
        ferries.arrival(7, START + day * DAY, outcome, START + (day + 1) * DAY) for day, outcome in enumerate([0, 1, 0])
    ]
    port.arrive(*rows)
    port.ask(*((crossing(7), START + (day + 0.5) * DAY) for day in range(4)))
    found = port.outcomes()
    assert found["outcome"].tolist()[:3] == [0, 1, 0]
    # The fourth day's label is not there yet; all that is known of the entity was known when it was asked.
    assert found["status"].tolist() == ["known", "known", "known", "asked_too_late"]


def test_nothing_asked_gives_an_empty_table(port) -> None:
    """An empty log is a table of no rows with all columns, not a failure."""
    port.arrive(ferries.arrival(7, START, 1, START + 5 * HOUR))
    port.ask()
    found = port.outcomes()
    assert found.empty
    assert {"outcome", "status", "guess", "route", "is_mature"} <= set(found.columns)


def test_predictions_must_have_been_ingested(port) -> None:
    """Without a predictions table the refusal names it."""
    port.arrive(ferries.arrival(7, START, 1, START + 5 * HOUR))
    with pytest.raises(StoreError, match=r"ferries/predictions/all has no version"):
        port.outcomes()


def test_the_commit_says_what_was_read(port) -> None:
    """Facts name the versions of predictions and sources, and until when outcomes were known; again changes nothing."""
    port.arrive(ferries.arrival(7, START, 1, START + 5 * HOUR))
    port.ask((crossing(7), START + 3 * HOUR))
    version = publish_outcomes(port.warehouse, port.system, now=NOW)
    assert version.facts == {
        "known_until": NOW.isoformat(),
        "input.predictions": "ferries/predictions/all@0",
        "input.arrivals": "ferries/source/arrivals@0",
    }
    assert publish_outcomes(port.warehouse, port.system, now=NOW).unchanged


@settings(max_examples=20, deadline=None)
@given(
    labels=st.dictionaries(
        st.integers(0, 5), st.tuples(st.integers(0, 20), st.integers(1, 20), st.integers(0, 1)), max_size=5
    ),
    asked=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 50)), min_size=1, max_size=12),
    now=st.integers(0, 60),
)
def test_each_prediction_has_one_row_that_plain_code_agrees_with(system, tmp_path_factory, labels, asked, now) -> None:
    """One label an entity: status and outcome are what a loop over Python values says."""
    port = Port(system, Warehouse(tmp_path_factory.mktemp("w"), clock=lambda: NOW))
    at = START + now * HOUR
    port.arrive(
        *(ferries.arrival(k, START + p * HOUR, y, START + (p + lag) * HOUR) for k, (p, lag, y) in labels.items())
    )
    port.ask(*((crossing(k), START + t * HOUR) for k, t in asked))
    expected = []
    for index, (entity, hour) in enumerate(asked, start=1):
        if hour > now:
            continue
        begin, lag, outcome = labels.get(entity, (0, 10_000, 0))
        known = begin + lag
        if known <= now:
            told = ("known", outcome) if known > hour else ("asked_too_late", None)
        else:
            told = ("overdue" if hour + 24 <= now else "waiting", None)
        expected.append((index, *told))
    found = port.outcomes(at)
    rows = [
        (int(s), status, None if pd.isna(y) else int(y))
        for s, status, y in found[["sequence", "status", "outcome"]].itertuples(index=False)
    ]
    assert rows == expected
