"""Usual features in the embedded log: values and times, beside a layout that many predictions share.

Belongs here: the short text that stands for a prediction's features, the table of layouts, and the way back.
Does not belong here: which features are usual (`serve/plan.py`), batches (`prediction_batch.py`), connections.
A log whose rows hold receipts' own texts, as those from before this form do, needs none of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from forecastle.contract.errors import CorruptionError
from forecastle.store.prediction_batch import Layout, feature_pieces, joined, vector_text

LAYOUTS: Final = "layouts"
SCHEMA: Final = (
    f"CREATE TABLE IF NOT EXISTS {LAYOUTS} (layout_id INTEGER PRIMARY KEY, layout_json TEXT NOT NULL UNIQUE) STRICT"
)


class PackedFeatures(msgspec.Struct, frozen=True, gc=False):
    """Features of one prediction: `values_json` in the layout's order, event and knowledge time (µs) of each view."""

    layout: Layout
    times: Sequence[tuple[int, int]]
    values_json: str

    def text(self, layout_id: int) -> str:
        """What stands in the log: never the `{` that features begin with in a receipt."""
        times = ",".join([f"[{event_at_us},{known_at_us}]" for event_at_us, known_at_us in self.times])
        return f"[{layout_id},[{times}],{self.values_json}]"


_head_of: Final = msgspec.json.Decoder(tuple[int, list[tuple[int, int]]]).decode
_layout_of: Final = lru_cache(maxsize=256)(msgspec.json.Decoder(Layout).decode)


def layout_id_of(connection: sqlite3.Connection, layout: Layout) -> int:
    """The id of a layout in this log, given now where it has none; its own transaction where none is under way."""
    text = msgspec.json.encode(layout).decode()
    connection.execute(f"INSERT OR IGNORE INTO {LAYOUTS} (layout_json) VALUES (?)", (text,))
    found = connection.execute(f"SELECT layout_id FROM {LAYOUTS} WHERE layout_json = ?", (text,)).fetchone()
    return int(found[0])


def is_packed(features_json: str) -> bool:
    """Whether a log's text is packed; else it is as the receipt showed it."""
    return not features_json.startswith("{")


def unpacked(connection: sqlite3.Connection, packed: Sequence[tuple[str, int]]) -> list[tuple[str, str]]:
    """Features as the receipt showed them and the model's vector, both JSON, of each text and time of prediction (µs).

    Raises:
        CorruptionError: the log does not hold a layout.
    """
    rows_of: dict[int, list[int]] = {}
    times_of: list[list[tuple[int, int]]] = []
    values_of: list[list[str]] = []
    for row, (text, _) in enumerate(packed):
        head, _, values = text.rpartition(",[")  # values are numbers, booleans and nulls
        layout_id, times = _head_of(f"{head}]")
        rows_of.setdefault(layout_id, []).append(row)
        times_of.append(times)
        values_of.append(values[:-2].split(","))
    found = [("", "")] * len(packed)
    for layout_id, rows in rows_of.items():
        layout = _layout(connection, layout_id)
        views = [list(of_view) for of_view in zip(*(times_of[row] for row in rows), strict=True)]
        columns = [list(column) for column in zip(*(values_of[row] for row in rows), strict=True)]
        pieces = feature_pieces(layout, columns, views, [packed[row][1] for row in rows])
        for row, features in zip(rows, joined(pieces, len(rows)), strict=True):
            found[row] = features, vector_text(layout, msgspec.json.decode(f"[{','.join(values_of[row])}]"))
    return found


def _layout(connection: sqlite3.Connection, layout_id: int) -> Layout:
    found = connection.execute(f"SELECT layout_json FROM {LAYOUTS} WHERE layout_id = ?", (layout_id,)).fetchone()
    if found is None:
        raise CorruptionError(f"the prediction log holds no layout {layout_id}; restore its file from a copy")
    return _layout_of(found[0])
