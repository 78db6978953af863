"""The hash of rows: by hand from its definition, and what changes it."""

from __future__ import annotations

import hashlib
import math
import random
import struct
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.store.content_hash import content_hash

MASK = 2**64 - 1
VALUES = st.tuples(
    st.integers(-(2**63), 2**63 - 1) | st.none(),
    st.floats(width=64) | st.none(),
    st.text(alphabet="aN'ü\n,", max_size=4) | st.none(),
    st.booleans() | st.none(),
)


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def digest(engine: duckdb.DuckDBPyConnection, rows: list[tuple[Any, ...]]) -> str:
    engine.execute("CREATE OR REPLACE TABLE t (a BIGINT, b DOUBLE, c VARCHAR, d BOOLEAN)")
    for row in rows:
        engine.execute("INSERT INTO t VALUES (?, ?, ?, ?)", row)
    return content_hash(engine, "t")


def mixed(value: int) -> int:
    """SplitMix64 as published: add, then two xor-shift-multiplies and a last xor-shift."""
    value = (value + 0x9E3779B97F4A7C15) & MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def by_hand(rows: list[tuple[Any, ...]]) -> str:
    """The definition, one Python integer at a time."""
    sums = [0, 0]
    for a, b, c, d in rows:
        text = hashlib.md5(c.encode(), usedforsecurity=False).digest() if c is not None else b""
        for lane, seed in enumerate((0x9E3779B97F4A7C15, 0xD1B54A32D192ED03)):
            float_bits = struct.unpack("<Q", struct.pack("<d", b))[0] if b is not None else None
            number = 0x7FF8000000000000 if b is not None and math.isnan(b) else float_bits
            half = int.from_bytes(text[8 - lane * 8 : 16 - lane * 8], "little") if text else None
            words = [a & MASK if a is not None else None, number, half]
            words.append(int(d) if d is not None else None)
            state = seed
            for word in words:
                state = mixed(state ^ (0xA0761D6478BD642F if word is None else word))
            sums[lane] = (sums[lane] + state) & MASK
    columns = [("a", "BIGINT"), ("b", "DOUBLE"), ("c", "VARCHAR"), ("d", "BOOLEAN")]
    return hashlib.sha256(repr((columns, len(rows), sums)).encode()).hexdigest()


@settings(max_examples=40, deadline=None)
@given(st.lists(VALUES, max_size=8))
def test_it_is_what_its_definition_says(engine: duckdb.DuckDBPyConnection, rows: list[tuple[Any, ...]]) -> None:
    """An independent implementation in plain integers gives the same hash, so it is the same on every machine."""
    assert digest(engine, rows) == by_hand(rows)


@settings(max_examples=40, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=6), st.randoms())
def test_order_is_nothing_and_repeats_are_something(
    engine: duckdb.DuckDBPyConnection, rows: list[tuple[Any, ...]], chance: random.Random
) -> None:
    """Shuffled rows share a hash; one row fewer or twice does not."""
    shuffled = list(rows)
    chance.shuffle(shuffled)
    whole = digest(engine, rows)
    assert digest(engine, shuffled) == whole
    assert digest(engine, rows[1:]) != whole
    assert digest(engine, [*rows, rows[0]]) != whole


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT NULL::BIGINT AS a", "SELECT 0::BIGINT AS a"),
        ("SELECT NULL::VARCHAR AS a", "SELECT '' AS a"),
        ("SELECT NULL::VARCHAR AS a", "SELECT 'NULL' AS a"),
        ("SELECT 0.0::DOUBLE AS a", "SELECT '-0.0'::DOUBLE AS a"),
        ("SELECT 1::BIGINT AS a, 2::BIGINT AS b", "SELECT 2::BIGINT AS a, 1::BIGINT AS b"),
        ("SELECT 1::BIGINT AS a", "SELECT 1::DOUBLE AS a"),
        ("SELECT 1::BIGINT AS a", "SELECT 1::BIGINT AS b"),
        ("SELECT DATE '2026-01-01' AS a", "SELECT DATE '2026-01-02' AS a"),
        ("SELECT TIMESTAMPTZ '2026-01-01 00:00:00+00' AS a", "SELECT TIMESTAMPTZ '2026-01-01 00:00:00.000001+00' AS a"),
        ("SELECT [1, 2] AS a", "SELECT [2, 1] AS a"),
        ("SELECT 0::BIGINT AS a WHERE false", "SELECT 0::BIGINT AS a"),
    ],
)
def test_what_differs_hashes_differently(engine: duckdb.DuckDBPyConnection, one: str, other: str) -> None:
    """Null and zero, null and empty, places, types, names, instants a microsecond apart."""
    assert content_hash(engine, f"({one})") != content_hash(engine, f"({other})")


def test_batches_leave_no_trace(engine: duckdb.DuckDBPyConnection) -> None:
    """Rows beyond one batch, sorted either way, hash alike."""
    rows = "SELECT i AS a, i / 7 AS b, i::VARCHAR AS c FROM range(250000) t(i)"
    assert content_hash(engine, f"({rows} ORDER BY i)") == content_hash(engine, f"({rows} ORDER BY i DESC)")
