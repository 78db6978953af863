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


_packed_of: Final = msgspec.json.Decoder(tuple[int, list[tuple[int, int]], list[msgspec.Raw]]).decode
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


def unpacked(connection: sqlite3.Connection, text: str, *, predicted_at_us: int) -> tuple[str, str]:
    """Features as the receipt showed them and the model's vector, both JSON.

    Raises:
        CorruptionError: the log does not hold the layout.
    """
    layout_id, times, values = _packed_of(text)
    found = connection.execute(f"SELECT layout_json FROM {LAYOUTS} WHERE layout_id = ?", (layout_id,)).fetchone()
    if found is None:
        raise CorruptionError(f"the prediction log holds no layout {layout_id}; restore its file from a copy")
    layout = _layout_of(found[0])
    texts = [bytes(value).decode() for value in values]
    pieces = feature_pieces(layout, [[one] for one in texts], [[pair] for pair in times], predicted_at_us)
    return joined(pieces, 1)[0], vector_text(layout, msgspec.json.decode(f"[{','.join(texts)}]"))
