"""Usual rows as columns: the same features as each row alone, byte for byte, and never a row that is not usual."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forecastle.serve.columns import ColumnPlan, UsualRows
from forecastle.serve.plan import Plan, Served
from forecastle.serve.receipt import json_text
from forecastle.serve.resolve import Resolver
from forecastle.store.prediction_batch import PredictionBatch, joined
from tests.serve import toy
from tests.serve.test_plan import GIVABLE, stored, without_rank
from tests.serve.toy import DAY_US, GIVEN, NOW_US

RESOLVER = Resolver(toy.feature_set())
PLAN = Plan(RESOLVER)
COLUMNS = ColumnPlan(RESOLVER, PLAN)
GIVEN_COLUMNS = ColumnPlan(Resolver(without_rank()), GIVABLE)
NUMBERS = st.one_of(st.floats(allow_nan=False), st.integers(-3, 2**64), st.none(), st.booleans(), st.just("0.5"))


def record(usual: UsualRows) -> PredictionBatch:
    """Rows as they would be logged, with answers that do not matter here."""
    scores = [0.5] * len(usual.places)
    return PredictionBatch(
        "0" * 32, "toy", NOW_US, "m", "1", "b", "f", "champion", 1.0, usual.layout, json_text(usual.values),
        usual.times, scores, scores, None, None, None,
    )  # fmt: skip


Said = tuple[Any, str, list[str]]


def together(usual: UsualRows) -> list[Said]:
    """What each row in columns says: its features, its vector as it is logged, its vector as it is scored."""
    batch = record(usual)
    features = joined(batch.feature_pieces(), len(batch)) if len(batch) else []
    vectors = [list(map(str, vector)) for vector in usual.vectors.tolist()]
    return list(zip(features, batch.vector_texts() if len(batch) else [], vectors, strict=True))


def each(usual: UsualRows, alone: list[Served | None]) -> list[Said | None]:
    """What the same rows say alone; None for one that is not usual, which no row in columns may be."""
    asked = [alone[place] for place in usual.places]
    return [one and (one.features_json, json_text(one.vector), list(map(str, map(float, one.vector)))) for one in asked]


ROWS = st.sampled_from([
    None, {}, stored(), stored(polls=(None, 2)), stored(polls=(0.5, 9)), stored(ages_us=(5, DAY_US)),
    stored(prices=(0.0, 2.0**60, 3)), stored(prices=(-0.0, 0.0, 0)), stored(prices=(0.5, None, 1)),
    stored(prices=(math.nan, 1.0, 1)), stored(prices=(1, 7, 3.0)), stored(ages_us=(1_500_000, 7 * DAY_US - 1)),
])  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(st.lists(ROWS, max_size=6))
@example([stored(), stored(ages_us=(5, 6)), None])
def test_stored_rows_say_what_single_requests_say(rows):
    """Entities together get the features, bytes and vector of each alone; what is unusual is left out."""
    usual = COLUMNS.stored(rows, now_us=NOW_US)
    assert together(usual) == each(usual, [PLAN.usual({}, one, now_us=NOW_US) for one in rows])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.fixed_dictionaries({name: st.just(value) | NUMBERS for name, value in GIVEN.items()}), max_size=4),
    st.booleans(),
)
@example([GIVEN, GIVEN | {"market_price": 1}], True)
@example([GIVEN | {"volume_24h": 2**53 + 1}, GIVEN | {"volume_24h": -0.0}], True)
@example([GIVEN | {"days_left": 3.0}], False)
def test_given_rows_say_what_single_requests_say(asked, is_reversed):
    """Bodies that give every feature are read by one decoder; each row that it keeps is the row alone."""
    asked = [dict(reversed(one.items())) if is_reversed else one for one in asked]
    body = json.dumps({"requests": [{"features": one} for one in asked]}).encode()
    read = GIVEN_COLUMNS.given_rows(body, limit=10)
    if read is not None:
        for one, row in zip(asked, read.rows, strict=True):
            assert GIVEN_COLUMNS.given_row(one) in (None, row)
        usual = GIVEN_COLUMNS.given(read.rows)
        assert together(usual) == each(usual, [GIVABLE.usual(one, {}, now_us=NOW_US) for one in asked])


def test_usual_rows_stay_together():
    """Whole rows from the store, nulls that the contract allows, and complete requests are all kept."""
    rows = [stored(), stored(polls=(None, 2)), stored(ages_us=(1, 2))]
    usual = COLUMNS.stored([rows[0], None, *rows[1:]], now_us=NOW_US)
    assert list(usual.places) == [0, 2, 3]
    assert [row[usual.layout.names.index("poll_avg_7d")] for row in usual.values] == [0.5, None, 0.5]
    body = json.dumps({"requests": [{"features": GIVEN}] * 3}).encode()
    assert list(GIVEN_COLUMNS.given(GIVEN_COLUMNS.given_rows(body, limit=3).rows).places) == [0, 1, 2]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"requests":[]}', b'{"requests":[{}]}', b'{"requests":[{"features":{"market_price":0.4}}]}',
     b'{"requests":[{"features":WHOLE,"request_id":"a"}]}', b'{"requests":[{"features":WHOLE}],"more":1}',
     b'{"requests":[{"features":WHOLE},{"features":WHOLE},{"features":WHOLE},{"features":WHOLE}]}',
     b'{"requests":[{"features":WHOLE,"features":WHOLE}]}', b'{"requests":[{"features":TWICE}]}',
     b'{"requests":[],"requests":[{"features":WHOLE}]}', b'{"requests":[{"features":WHOLE}]}}'],
)  # fmt: skip
def test_any_other_body_is_left_to_the_careful_decoder(body):
    """No batch, too many rows, other keys, keys said twice: nothing is read here."""
    whole = json.dumps(GIVEN).encode()
    body = body.replace(b"WHOLE", whole).replace(b"TWICE", whole[:-1] + b',"market_price":0.5}')
    assert GIVEN_COLUMNS.given_rows(body, limit=3) is None


def test_a_feature_that_no_request_may_give_is_asked_alone():
    """The toy's rank comes from the store only: no complete request exists, and none is read as one."""
    body = json.dumps({"requests": [{"features": GIVEN | {"rank": 1}}]}).encode()
    assert COLUMNS.given_rows(body, limit=3) is None


BRANCHES = """
def signals(market_price, poll_avg_7d, volume_24h):
    return {"poll_spread": 0.0 if poll_avg_7d != poll_avg_7d else 0.5, "log_volume": 1.0 if volume_24h > 50 else 0.0}
"""
CONSTANT = """
def signals(market_price, poll_avg_7d, volume_24h):
    return {"poll_spread": poll_avg_7d - market_price, "log_volume": 1.0}
"""


@pytest.mark.parametrize("code", [BRANCHES, CONSTANT])
def test_a_function_for_one_row_is_left_to_single_rows(code):
    """Code that branches on a value, or gives one number for all rows, is never called wrongly with columns."""
    resolver = Resolver(replace(toy.feature_set(features=code)))
    columns = ColumnPlan(resolver, Plan(resolver))
    assert list(columns.stored([stored()] * 3, now_us=NOW_US).places) == []
