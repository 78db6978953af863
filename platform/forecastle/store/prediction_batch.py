"""The answers of one batch as one record: what they share is said once, what differs stands in columns.

Belongs here: the record, the text of its rows' features, which prediction id is which row of which batch.
Does not belong here: where it is kept (`batch_table.py`), single predictions (`prediction_log.py`), receipts.
Standard library and msgspec only: it is served.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec

MICROSECONDS: Final = 1_000_000
REQUEST: Final = "REQUEST"
COMPUTED: Final = "COMPUTED"

Pieces = list[str | list[str]]
"""Texts that follow each other in every row: one for all rows, or one a row."""
Times = Sequence[tuple[int, int]]
"""Event and knowledge time a row, microseconds since 1970 UTC."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ROW_ID: Final = re.compile(r"([0-9a-f]{32})-(0|[1-9]\d{0,8})")
_encode: Final = msgspec.json.Encoder().encode


class Layout(msgspec.Struct, frozen=True):
    """Features in the order of a row's values, where each comes from, and which of them the model sees.

    An origin is the place of its view among `PredictionBatch.times`, or the status `REQUEST` or `COMPUTED`.
    `vector` holds places of `names` in the model's order.
    """

    names: tuple[str, ...]
    origins: tuple[int | str, ...]
    vector: tuple[int, ...]


class PredictionBatch(msgspec.Struct, frozen=True):
    """Answers that one request got from one bundle at one moment: none degraded, none asked under a request id.

    Row i has the prediction id that `row_id` gives, and sequence `last_sequence` - rows + 1 + i once the log has given
    one. `values_json` is a JSON list of rows in the layout's order, `entities` and `decisions` are JSON texts a row.
    Other names mean what they mean in `Prediction`.
    """

    batch_id: str
    system: str
    predicted_at_us: int
    model: str
    model_version: str
    bundle: str
    feature_set: str
    variant: str
    latency_ms: float
    layout: Layout
    values_json: str
    times: tuple[Times, ...]
    raw_scores: list[float]
    probabilities: list[float]
    intervals: tuple[list[float], list[float]] | None
    entities: list[str] | None
    decisions: list[str] | None
    last_sequence: int = 0

    def __len__(self) -> int:
        """How many predictions it holds."""
        return len(self.raw_scores)

    def row_ids(self) -> list[str]:
        """Prediction id of each row."""
        return [f"{self.batch_id}-{row}" for row in range(len(self))]

    def feature_pieces(self) -> Pieces:
        """Features as receipts show them: name → value, status, age in seconds, event_at, known_at."""
        width = len(self.layout.names)
        texts = self.values_json[2:-2].replace("],[", ",").split(",")
        values = [texts[place::width] for place in range(width)]
        return feature_pieces(self.layout, values, self.times, [self.predicted_at_us] * len(self))

    def vector_texts(self) -> list[str]:
        """JSON of what the model saw, a row."""
        rows = msgspec.json.decode(self.values_json)
        return [vector_text(self.layout, row) for row in rows]


def feature_pieces(
    layout: Layout, values: Sequence[list[str]], times: Sequence[Times], predicted_at_us: Sequence[int]
) -> Pieces:
    """Features as receipts show them: values' JSON texts a feature, times a view, each with an item a row."""
    tails = [_stored_tails(of_view, predicted_at_us) for of_view in times]
    pieces: Pieces = []
    text = "{"
    for place, (name, origin) in enumerate(zip(layout.names, layout.origins, strict=True)):
        pieces += (f'{text}{"," if place else ""}"{name}":{{"value":', values[place])
        text = ""
        if isinstance(origin, int):
            pieces.append(tails[origin])
        else:
            text = f',"status":"{origin}","age_seconds":null,"event_at":null,"known_at":null}}'
    pieces.append(text + "}")
    return pieces


def vector_text(layout: Layout, values: Sequence[Any]) -> str:
    """JSON of what the model saw of a row."""
    return _encode([None if values[place] is None else float(values[place]) for place in layout.vector]).decode()


def woven(pieces: Pieces, rows: int) -> list[str]:
    """The pieces of one row after those of the other, `len(pieces)` a row."""
    each = len(pieces)
    flat = [""] * (each * rows)
    for place, piece in enumerate(pieces):
        flat[place::each] = [piece] * rows if isinstance(piece, str) else piece
    return flat


def joined(pieces: Pieces, rows: int) -> list[str]:
    """The text of each row."""
    flat, each = woven(pieces, rows), len(pieces)
    return ["".join(flat[start : start + each]) for start in range(0, len(flat), each)]


def row_of(prediction_id: str) -> tuple[str, int] | None:
    """The batch and the row that an id names, if it has the form of such an id."""
    found = _ROW_ID.fullmatch(prediction_id)
    return (found[1], int(found[2])) if found else None


def iso(moment_us: int) -> str:
    """ISO 8601 text, UTC, of microseconds since 1970 UTC; a fraction of a second has six digits."""
    seconds, fraction = divmod(moment_us, MICROSECONDS)
    return f"{_second(seconds)}.{fraction:06}+00:00" if fraction else f"{_second(seconds)}+00:00"


def texts_of(values: Sequence[Any]) -> list[str]:
    """The JSON text of each number, boolean or null."""
    return _encode(values)[1:-1].decode().split(",") if values else []


def _stored_tails(times: Times, predicted_at_us: Sequence[int]) -> list[str]:
    """What follows the value of a stored feature; rows of one view often have the same times."""
    found = dict.fromkeys(zip(times, predicted_at_us, strict=True))
    ages = texts_of([(now_us - event_at_us) / MICROSECONDS for (event_at_us, _), now_us in found])
    tails = {
        row: f',"status":"PRESENT","age_seconds":{age},"event_at":"{iso(row[0][0])}","known_at":"{iso(row[0][1])}"}}'
        for row, age in zip(found, ages, strict=True)
    }
    return [tails[row] for row in zip(times, predicted_at_us, strict=True)]


@lru_cache(maxsize=4096)
def _second(moment_seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=moment_seconds)).replace(tzinfo=None).isoformat()
