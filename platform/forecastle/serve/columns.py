"""Many usual rows at once, as columns: features that were all given, or all found in the store.

Belongs here: reading such rows, which of them are usual, computed features, the model's matrix.
Does not belong here: rows that are anything else: `plan.py` and `resolve.py` take them one by one, and for a usual row
all three give the same features, byte for byte (a test compares them).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from forecastle.contract.types import NUMERIC_DTYPES
from forecastle.serve.plan import EXACT_INTEGER, Plan
from forecastle.serve.resolve import Resolver, Rows
from forecastle.store.prediction_batch import COMPUTED, REQUEST, Layout, Times

_PYTHON: Final[Mapping[str, Any]] = {"float64": float, "int64": int, "bool": bool}
_ONLY_FLOATS: Final = frozenset({float})


class UsualRows(msgspec.Struct, frozen=True, gc=False):
    """Rows that are all usual: `places` among those asked, values in the layout's order, what the model sees.

    `vectors` has shape (rows, the model's features), NaN is missing. `times` are a row of each view, none where
    everything was given.
    """

    places: Sequence[int]
    layout: Layout
    values: Sequence[Sequence[Any]]
    vectors: NDArray[np.float64]
    times: tuple[Times, ...]

    def at(self, kept: Sequence[int]) -> UsualRows:
        """The same of some rows."""
        return UsualRows(
            [self.places[row] for row in kept],
            self.layout,
            [self.values[row] for row in kept],
            self.vectors[list(kept)],
            tuple([times[row] for row in kept] for times in self.times),
        )


class ColumnPlan:
    """What can be worked out about a feature set before the first batch; holds no state between requests."""

    def __init__(self, resolver: Resolver, plan: Plan) -> None:
        """Work out layouts, bounds and the decoder of given rows."""
        feature_set = resolver.feature_set
        self._plan = plan
        self._groups = resolver.groups
        self._computed = tuple(
            name for group, _ in resolver.groups for name in group.outputs if name in feature_set.by_name
        )
        numeric = {spec.name for spec in feature_set.features if spec.contract.dtype in NUMERIC_DTYPES}
        self._is_columnar = plan.is_possible and all(
            name in numeric and name in plan.names for group, _ in resolver.groups for name in group.inputs
        )
        limits = [plan.values[name].bounds for name in plan.names]
        self._limits: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        if all(limit is not None and limit.kind is float for limit in limits):
            self._limits = (np.array([one.low for one in limits if one]), np.array([one.high for one in limits if one]))
        names = (*plan.names, *self._computed)
        vector = tuple(names.index(name) for name in feature_set.model_features) if plan.is_possible else ()
        made = (COMPUTED,) * len(self._computed)
        self._given = Layout(names, (*(REQUEST for _ in plan.names), *made), vector)
        self._stored = Layout(names, (*plan.view_of, *made), vector)
        self._decode = _decoder(plan) if self._is_columnar and plan.is_all_givable else None

    def given_rows(self, body: bytes, *, limit: int) -> list[tuple[Any, ...]] | None:
        """The rows of a batch that gives every feature of every row, and nothing else; None of any other body.

        A key said twice would be lost here: where every pair of name and value that was kept has a colon of its own in
        the body, and there are no further colons, none was.
        """
        if self._decode is None:
            return None
        try:
            requests = self._decode(body).requests
        except msgspec.MsgspecError:
            return None
        if not 1 <= len(requests) <= limit or body.count(b":") != 1 + len(requests) * (1 + len(self._plan.names)):
            return None
        return [msgspec.structs.astuple(request.features) for request in requests]

    def given(self, rows: Sequence[tuple[Any, ...]]) -> UsualRows:
        """The usual ones of rows that give every feature, in the plan's order."""
        usual = self._usual(rows, self._given)
        # An integer that float64 cannot hold may have been rounded while it was read.
        exact = np.abs(usual.vectors[:, : len(self._plan.names)]) <= EXACT_INTEGER
        return usual

    def stored(self, asked: Sequence[Rows | None], *, now_us: int) -> UsualRows:
        """The usual ones of entities, each with the newest row of each view."""
        found = [self._plan.stored(rows, now_us) for rows in asked] if self._is_columnar else []
        places = [place for place, one in enumerate(found) if one is not None]
        there = [one for one in found if one is not None]
        usual = self._usual([tuple(values) for values, _ in there], self._stored)
        times = tuple(zip(*(times for _, times in there), strict=True))
        return msgspec.structs.replace(
            usual,
            places=[places[row] for row in usual.places],
            times=tuple([view[row] for row in usual.places] for view in times),
        )

    def _usual(self, rows: Sequence[tuple[Any, ...]], layout: Layout) -> UsualRows:
        """The usual rows and what is computed of them."""
        kept = self._within(rows) if rows else []
        rows = [rows[row] for row in kept] if len(kept) < len(rows) else rows
        matrix = np.array(rows, dtype=np.float64).reshape(len(rows), len(self._plan.names))
        try:
            computed = self._compute(matrix)
        except Exception:  # noqa: BLE001  a function that takes one row at a time may raise anything
            return _none(layout)
        unusual = {row for name, column in computed.items() for row in self._plan.values[name].unusual(column)}
        values = [(*row, *more) for row, more in zip(rows, zip(*computed.values(), strict=True), strict=True)]
        values = values if computed else rows
        whole = np.column_stack([matrix, *(np.array(column, dtype=np.float64) for column in computed.values())])
        usual = UsualRows(kept, layout, values, whole[:, layout.vector], ())
        return usual.at([row for row in range(len(rows)) if row not in unusual]) if unusual else usual
