"""Outcomes: which outcome belongs to which prediction, who told it, and what a prediction without one waits for."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import StoreError
from forecastle.contract.load import LoadedSystem
from forecastle.store.outcome_log import OutcomeLog, ToldOutcome
from forecastle.store.outcomes import publish_outcomes
from forecastle.store.told import told_outcomes
from forecastle.store.warehouse import Warehouse
from tests.learn import ferries

START, HOUR, DAY = ferries.START, timedelta(hours=1), timedelta(days=1)
NOW = START + 10 * DAY


@dataclass(frozen=True)
class Port:
    """The ferries with a warehouse of their own, into which tests put arrivals and predictions."""

    system: LoadedSystem
    warehouse: Warehouse
    log: Path

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

    def tell(self, *words: tuple[str | dict[str, Any], int, datetime]) -> None:
        """Keep callers' words as the service does: (prediction id or entity, outcome, when it was known)."""
        with closing(OutcomeLog(self.log)) as log:
            for about, outcome, known_at in words:
                named = about if isinstance(about, str) else None
                entity = json.dumps({} if named else about)
                known_at_us = (known_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
                request = f"{len(log.since(0))}"
                log.append(ToldOutcome(request, "", "ferries", named, entity, outcome, known_at_us, known_at_us))

    def outcomes(self, now: datetime = NOW) -> pd.DataFrame:
        told = told_outcomes(self.log)
        return self.warehouse.frame(publish_outcomes(self.warehouse, self.system, now=now, told=told))

    def one(self, now: datetime = NOW) -> dict[str, Any]:
        (row,) = self.outcomes(now).to_dict("records")
        return row


@pytest.fixture(scope="module")
def system(tmp_path_factory) -> LoadedSystem:
    return ferries.write_system(tmp_path_factory.mktemp("systems"))


@pytest.fixture
def port(system, tmp_path: Path) -> Port:
    return Port(system, Warehouse(tmp_path / "warehouse", clock=lambda: NOW), tmp_path / "told.sqlite")


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


def test_the_next_period_of_an_entity_waits_though_the_last_one_is_known(port) -> None:
    """Asked about each day, labels a day late: the third day's outcome is still to come; it is not too late for it."""
    port.arrive(*(ferries.arrival(7, START + day * DAY, 1, START + (day + 1) * DAY) for day in range(2)))
    port.ask((crossing(7), START + 0.5 * DAY), (crossing(7), START + 2.5 * DAY))
    assert port.outcomes(START + 3 * DAY)["status"].tolist() == ["known", "waiting"]
    assert port.outcomes(START + 3.5 * DAY)["status"].tolist() == ["known", "asked_too_late"]


def test_an_outcome_of_the_last_period_is_not_taken_for_the_next_one(port) -> None:
    """Asked every 12 hours, each outcome known 24 hours on: at hour 37 that of hour 12 is known, that of 24 is not.

    A prediction of hour 24 waits until it is mature, and then has its own outcome, not the one that came before.
    """
    half, outcomes = DAY / 2, [0, 0, 1]
    port.arrive(*(ferries.arrival(7, START + n * half, y, START + n * half + DAY) for n, y in enumerate(outcomes)))
    port.ask((crossing(7), START + DAY))
    early = port.one(START + DAY + 13 * HOUR)
    assert early["status"] == "waiting"
    assert np.isnan(early["outcome"])
    final = port.one(START + 2 * DAY)
    assert (final["status"], final["outcome"], final["is_mature"]) == ("known", 1, True)


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


def test_a_told_outcome_counts_where_no_source_knows_one(port) -> None:
    """Asked at 3, told at 5 by the prediction's id: known, told by a caller, with the caller's times; p2 waits."""
    port.arrive()
    port.ask((crossing(7), START + 3 * HOUR), (crossing(8), START + 3 * HOUR))
    port.tell(("p1", 1, START + 5 * HOUR))
    told, waiting = port.outcomes(START + 6 * HOUR).to_dict("records")
    assert (told["status"], told["outcome"], told["told_by"], told["caller_outcome"]) == ("known", 1, "caller", 1)
    assert told["first_known_at"] == told["known_at"] == START + 5 * HOUR
    assert waiting["status"] == "waiting"
    assert pd.isna(waiting["told_by"])
    # Before the caller knew it, nobody did.
    assert port.outcomes(START + 4 * HOUR)["status"].tolist() == ["waiting", "waiting"]


def test_a_source_goes_before_a_caller(port) -> None:
    """Told 1 at hour 4; the label says 0 at hour 5: then the label counts, the caller's word is still seen."""
    port.arrive(ferries.arrival(7, START, 0, START + 5 * HOUR))
    port.ask((crossing(7), START + 3 * HOUR))
    port.tell(("p1", 1, START + 4 * HOUR))
    columns = ["outcome", "told_by", "caller_outcome", "first_known_at"]
    assert [port.one(START + 4 * HOUR)[c] for c in columns] == [1, "caller", 1, START + 4 * HOUR]
    assert [port.one(START + 5 * HOUR)[c] for c in columns] == [0, "source", 1, START + 5 * HOUR]


def test_the_word_known_last_counts_then_the_one_told_last(port) -> None:
    """Known at 5: 1; at 9: 0; told afterwards, known at 6: 1 (too old); known at 9 again: 1, the later word."""
    port.arrive()
    port.ask((crossing(7), START + 3 * HOUR))
    port.tell(*(("p1", y, START + h * HOUR) for y, h in [(1, 5), (0, 9), (1, 6)]))
    assert [port.one(START + h * HOUR)["outcome"] for h in (5, 8, 9)] == [1, 1, 0]
    port.tell(("p1", 1, START + 9 * HOUR))
    found = port.one()
    assert (found["outcome"], found["first_known_at"], found["known_at"]) == (1, START + 5 * HOUR, START + 9 * HOUR)


def test_a_word_about_an_entity_is_for_what_was_asked_before_it(port) -> None:
    """Told of crossing 7 at 5, corrected at 9: asked at 3 it counts; asked at 5 and 7 the outcome was known already."""
    port.arrive()
    port.ask(*((crossing(n), START + h * HOUR) for n, h in [(7, 3), (7, 5), (7, 7), (8, 3)]))
    port.tell((crossing(7), 1, START + 5 * HOUR), (crossing(7), 0, START + 9 * HOUR))
    found = port.outcomes(START + 10 * HOUR)
    assert found["status"].tolist() == ["known", "asked_too_late", "asked_too_late", "waiting"]
    assert found["outcome"].tolist()[0] == 0
    assert found["outcome"].notna().sum() == 1


def test_a_word_about_the_prediction_goes_before_words_about_its_entity(port) -> None:
    """Entity 7 told 1 at hour 9, p1 told 0 at hour 5: p1 is 0, p2 is the entity's."""
    port.arrive()
    port.ask((crossing(7), START + 3 * HOUR), (crossing(7), START + 4 * HOUR))
    port.tell(("p1", 0, START + 5 * HOUR), (crossing(7), 1, START + 9 * HOUR))
    assert port.outcomes()["outcome"].tolist() == [0, 1]


def test_where_sources_knew_before_it_was_asked_only_words_about_the_prediction_count(port) -> None:
    """A label known at 5, asked at 7, told at 9: of the entity it stays too late, by the prediction's id it counts."""
    port.arrive(ferries.arrival(7, START, 1, START + 5 * HOUR))
    port.ask((crossing(7), START + 7 * HOUR), (crossing(7), START + 7 * HOUR))
    port.tell((crossing(7), 0, START + 9 * HOUR), ("p2", 0, START + 9 * HOUR))
    late, named = port.outcomes().to_dict("records")
    assert (late["status"], late["caller_outcome"]) == ("asked_too_late", 0)
    assert pd.isna(late["outcome"])
    assert (named["status"], named["outcome"], named["told_by"]) == ("known", 0, "caller")


def test_a_request_without_an_entity_can_be_told_by_its_id(port) -> None:
    """No label joins it; a caller who names the prediction is believed, unless it was known when it was asked."""
    port.arrive(ferries.arrival(7, START, 1, START + 5 * HOUR))
    port.ask((None, START + 3 * HOUR), (None, START + 3 * HOUR), (None, START + 3 * HOUR))
    port.tell(("p1", 1, START + 4 * HOUR), ("p2", 1, START + 3 * HOUR))
    assert port.outcomes()["status"].tolist() == ["known", "asked_too_late", "no_entity"]


def test_the_commit_says_how_far_the_words_were_read(port) -> None:
    """The fact is the last sequence of the outcome log; the same words again change nothing."""
    port.arrive()
    port.ask((crossing(7), START))
    port.tell(("p1", 1, START + HOUR), ("p1", 0, START + 2 * HOUR))
    told = told_outcomes(port.log)
    version = publish_outcomes(port.warehouse, port.system, now=NOW, told=told)
    assert version.facts["told_until_sequence"] == "2"
    assert publish_outcomes(port.warehouse, port.system, now=NOW, told=told).unchanged


@settings(max_examples=12, deadline=None)
@given(
    words=st.lists(st.tuples(st.sampled_from(["p1", "p2", 0, 1]), st.integers(0, 1), st.integers(0, 20)), max_size=8),
    asked=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20)), min_size=2, max_size=4),
    now=st.integers(0, 25),
)
def test_words_count_as_plain_code_says(system, tmp_path_factory, words, asked, now) -> None:
    """Without a source, outcome and status are what a loop over the words says."""
    folder = tmp_path_factory.mktemp("w")
    port = Port(system, Warehouse(folder, clock=lambda: NOW), folder / "told.sqlite")
    port.arrive()
    port.ask(*((crossing(k), START + t * HOUR) for k, t in asked))
    port.tell(*((a if isinstance(a, str) else crossing(a), y, START + h * HOUR) for a, y, h in words))
    expected = []
    for index, (entity, hour) in enumerate(asked, start=1):
        if hour > now:
            continue
        known = [(h, n, y, about) for n, (about, y, h) in enumerate(words) if h <= now]
        mine = [w for w in known if w[3] == f"p{index}"] or [w for w in known if w[3] == entity]
        if not mine:
            expected.append(("overdue" if hour + 24 <= now else "waiting", None))
        elif min(mine)[0] > hour:
            expected.append(("known", max(mine)[2]))
        else:
            expected.append(("asked_too_late", None))
    found = port.outcomes(START + now * HOUR)
    assert expected == [
        (status, None if pd.isna(y) else int(y)) for status, y in found[["status", "outcome"]].itertuples(index=False)
    ]


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
    folder = tmp_path_factory.mktemp("w")
    port = Port(system, Warehouse(folder, clock=lambda: NOW), folder / "told.sqlite")
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
