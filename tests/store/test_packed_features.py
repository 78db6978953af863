"""Packed features: written short, read back as the very texts that were answered, by any worker of the file."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from forecastle.contract.errors import CorruptionError, StoreError
from forecastle.store.packed_features import PackedFeatures
from forecastle.store.prediction import Prediction, UsualPrediction
from forecastle.store.prediction_batch import Layout, feature_pieces, joined, texts_of
from forecastle.store.prediction_log import PredictionLog, PredictionReader
from tests.store.test_prediction_log import prediction

STORED = Layout(("price", "days_left", "is_open", "double"), (0, 1, 0, "COMPUTED"), (3, 0, 2))
GIVEN = Layout(("price", "days_left", "is_open", "double"), ("REQUEST",) * 3 + ("COMPUTED",), (3, 0, 2))
VALUES = st.tuples(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**53), 2**53),
    st.none() | st.booleans(),
    st.floats(0),
)
TIMES = st.integers(0, 2 * 10**15)


def usual(number: int, values: tuple, times: tuple = (), **changes: object) -> UsualPrediction:
    """A prediction of these values, its texts made as a receipt shows them."""
    layout, made = STORED if times else GIVEN, prediction(number, **changes)
    texts = texts_of(values)
    pieces = feature_pieces(layout, [[text] for text in texts], [[pair] for pair in times], [made.predicted_at_us])
    vector = msgspec.json.encode([None if values[place] is None else float(values[place]) for place in layout.vector])
    told = asdict(made) | {"features_json": joined(pieces, 1)[0], "vector_json": vector.decode()}
    return UsualPrediction(**told, packed=PackedFeatures(layout, times, f"[{','.join(texts)}]"))


def plain(one: UsualPrediction, sequence: int) -> Prediction:
    """The same prediction as a log gives it back."""
    fields = asdict(one) | {"sequence": sequence}
    return Prediction(**{name: fields[name] for name in Prediction.__struct_fields__})


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("log") / "toy.sqlite"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(VALUES, st.just(()) | st.tuples(*[st.tuples(TIMES, TIMES)] * 2)), min_size=1, max_size=5))
def test_what_is_packed_is_read_back_byte_for_byte(path, rows):
    """Floats of any size, integers, nulls and booleans, given or stored: the texts are those that were answered."""
    log = PredictionLog(path)
    start = log.count()
    made = [usual(start + row, values, times) for row, (values, times) in enumerate(rows)]
    first = asyncio.run(log.append_many(made))[0].sequence
    expected = [plain(one, first + row) for row, one in enumerate(made)]
    assert log.since(first - 1) == expected
    assert log.by_request(made[0].request_id) == expected[0]
    log.close()


def test_features_stand_in_the_file_once_as_names(tmp_path):
    """Two hundred predictions hold their values; the names of their features stand in one row of layouts."""
    log = PredictionLog(tmp_path / "toy.sqlite")
    asyncio.run(log.append_many([usual(number, (0.5, number, True, 1.0)) for number in range(200)]))
    with closing(sqlite3.connect(tmp_path / "toy.sqlite")) as connection:
        texts = connection.execute("SELECT features_json FROM predictions").fetchall()
        assert texts[7] == ("[1,[],[0.5,7,true,1.0]]",)
        assert connection.execute("SELECT count(*) FROM layouts").fetchone() == (1,)
    log.close()


def test_workers_of_one_file_share_its_layouts(tmp_path):
    """Two logs on one file that meet two layouts in different order both read what the other wrote."""
    logs = [PredictionLog(tmp_path / "toy.sqlite") for _ in range(2)]
    values, times = (0.5, 3, None, 1.0), ((5, 6), (7, 8))
    made = [usual(0, values), usual(1, values, times), usual(2, values, times), usual(3, values)]
    for number, one in enumerate(made):
        asyncio.run(logs[number // 2].append(one))
    for log in logs:
        assert log.since(0) == [plain(one, number + 1) for number, one in enumerate(made)]
        log.close()


def test_a_layout_that_was_rolled_back_is_given_anew(tmp_path):
    """A transaction that fails takes its layout with it: the next prediction of that layout brings it again."""
    log = PredictionLog(tmp_path / "toy.sqlite")
    many = [usual(number, (0.5, 3, None, 1.0)) for number in range(100)]
    with pytest.raises(StoreError):
        asyncio.run(log.append_many([*many, prediction(100, raw_score="not a number")]))
    asyncio.run(log.append(many[0]))
    assert log.since(0) == [plain(many[0], 1)]
    log.close()


def test_a_lost_layout_is_told(tmp_path):
    """Features whose layout is not in the file are not guessed."""
    log = PredictionLog(tmp_path / "toy.sqlite")
    asyncio.run(log.append(usual(1, (0.5, 3, None, 1.0))))
    log.close()
    with closing(sqlite3.connect(tmp_path / "toy.sqlite")) as connection:
        connection.execute("DELETE FROM layouts")
        connection.commit()
    with pytest.raises(CorruptionError, match="holds no layout 1; restore"):
        PredictionReader(tmp_path / "toy.sqlite").get("p1")
