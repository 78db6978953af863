"""The hash of a table's rows, whatever their order: what names a training set by its content.

Belongs here: one number a row from the bits of its values, the sum over rows.
Does not belong here: the SHA-256 that protects a file's bytes (`table_file.py`); this hash identifies, it does not
resist somebody who looks for two tables that share one.
Mixing function: SplitMix64, Steele, Lea and Flood (2014), https://doi.org/10.1145/2660193.2660195
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forecastle.store import sql

BATCH_ROWS: Final = 50_000

_Bits = NDArray[np.uint64]
_FIXED: Final = frozenset({"BOOLEAN", "BIGINT", "DOUBLE", "DATE", "TIMESTAMP WITH TIME ZONE"})
_SEEDS: Final = (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03)
_NULL: Final = np.uint64(0xA0761D6478BD642F)
_ONE_NAN: Final = np.uint64(0x7FF8000000000000)
_MASK_64: Final = 2**64 - 1


def content_hash(connection: duckdb.DuckDBPyConnection, relation: str) -> str:
    """SHA-256 over column names, types, row count and the 128-bit sum of the rows' numbers.

    The sum makes it independent of row order yet sensitive to repeats (an additive multiset hash). A number or a time
    counts by its bits (every NaN is one NaN), a text by its MD5, anything else by the MD5 of DuckDB's text of it.
    """
    columns = sql.describe(connection, f"SELECT * FROM {relation}")
    chosen = ", ".join(_chosen(name, kind) for name, kind in columns.items())
    count, sums = 0, [0] * len(_SEEDS)
    for batch in connection.sql(f"SELECT {chosen} FROM {relation}").to_arrow_reader(BATCH_ROWS):
        count += batch.num_rows
        for lane, total in enumerate(_row_sums(batch, tuple(columns.values()))):
            sums[lane] = (sums[lane] + total) & _MASK_64
    return hashlib.sha256(repr((list(columns.items()), count, sums)).encode()).hexdigest()


def _chosen(name: str, kind: str) -> str:
    """What is read of a column: itself, or the two halves of its text's MD5."""
    column = sql.quote_ident(name)
    if kind in _FIXED:
        return column
    text = column if kind == "VARCHAR" else f"{column}::VARCHAR"
    return f"md5_number_lower({text}), md5_number_upper({text})"


def _row_sums(batch: pa.RecordBatch, kinds: tuple[str, ...]) -> list[int]:
    """For each lane the sum of the rows' numbers, modulo 2^64."""
    lanes = [np.full(batch.num_rows, seed, np.uint64) for seed in _SEEDS]
    scratch = np.empty(batch.num_rows, np.uint64)
    at = 0
    for kind in kinds:
        if kind in _FIXED:
            bits = _bits(batch.column(at), kind)
            words, at = [bits] * len(_SEEDS), at + 1
        else:
            words, at = [_bits(batch.column(at + half), "UBIGINT") for half in range(len(_SEEDS))], at + len(_SEEDS)
        for lane, word in zip(lanes, words, strict=True):
            np.bitwise_xor(lane, word, out=lane)
            _mix(lane, scratch)
    return [int(lane.sum(dtype=np.uint64)) for lane in lanes]


def _bits(values: Any, kind: str) -> _Bits:
    """The 64 bits of each value; a null has its own, which an ordinary value has one time in 2^64."""
    nulls = values.is_null().to_numpy(zero_copy_only=False) if values.null_count else None
    if kind == "DOUBLE":
        numbers = values.fill_null(0.0).to_numpy()
        bits = numbers.view(np.uint64)
        missing = np.isnan(numbers)
        if missing.any():
            bits = np.where(missing, _ONE_NAN, bits)
    elif kind == "UBIGINT":
        bits = values.fill_null(0).to_numpy()
    else:
        whole = values.cast(pa.int32()) if kind == "DATE" else values
        bits = whole.cast(pa.int64()).fill_null(0).to_numpy().view(np.uint64)
    return bits if nulls is None else np.where(nulls, _NULL, bits)


def _mix(lane: _Bits, scratch: _Bits) -> None:
    """SplitMix64's finaliser in place, begun a step further so that zero does not stay zero."""
    np.add(lane, np.uint64(0x9E3779B97F4A7C15), out=lane)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        np.right_shift(lane, np.uint64(shift), out=scratch)
        np.bitwise_xor(lane, scratch, out=lane)
        np.multiply(lane, np.uint64(factor), out=lane)
    np.right_shift(lane, np.uint64(31), out=scratch)
    np.bitwise_xor(lane, scratch, out=lane)
