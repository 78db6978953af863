"""Many usual rows at once, as columns: features that were all given, or all found in the store.

Belongs here: reading such rows, which of them are usual, computed features, the model's matrix.
Does not belong here: rows that are anything else: `plan.py` and `resolve.py` take them one by one, and for a usual row
all three give the same features, byte for byte (a test compares them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, repeat
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from forecastle.contract.errors import FeatureError
from forecastle.contract.types import NUMERIC_DTYPES
from forecastle.serve.plan import EXACT_INTEGER, Plan
from forecastle.serve.resolve import Resolver, Rows, as_declared
from forecastle.store.prediction_batch import Layout, Times

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


class GivenRows(msgspec.Struct, frozen=True, gc=False):
    """Rows of a batch in the plan's order, and whether their receipts are to be brief."""

    rows: list[tuple[Any, ...]]
    is_brief: bool


class ColumnPlan:
    """What can be worked out about a feature set before the first batch; holds no state between requests."""

    def __init__(self, resolver: Resolver, plan: Plan) -> None:
        """Work out bounds and the decoder of given rows."""
        feature_set = resolver.feature_set
        self._plan = plan
        self._groups = resolver.groups
        inputs = {name for group, _ in resolver.groups for name in group.inputs}
        numeric = {spec.name for spec in feature_set.features if spec.contract.dtype in NUMERIC_DTYPES}
        self._inputs = {name: place for place, name in enumerate(plan.names) if name in inputs}
        self._is_columnar = plan.is_possible and inputs <= numeric
        limits = [plan.values[name].bounds for name in plan.names]
        floats = [limit for limit in limits if limit is not None and limit.kind is float]
        self._limits: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        if len(floats) == len(limits):
            self._limits = np.array([limit.low for limit in floats]), np.array([limit.high for limit in floats])
        self._kinds = {name: _PYTHON.get(plan.values[name].spec.contract.dtype) for name in plan.names}
        self._decode = _decoder(plan) if self._is_columnar and plan.is_all_givable else None

    def given_rows(self, body: bytes, *, limit: int) -> GivenRows | None:
        """The rows of a batch that gives every feature of every row, and nothing else; None of any other body.

        A key said twice would be lost here: where every pair of name and value that was kept has a colon of its own in
        the body, and there are no further colons, none was.
        """
        if self._decode is None:
            return None
        try:
            batch = self._decode(body)
        except msgspec.MsgspecError:
            return None
        requests, says_receipts = batch.requests, batch.receipts is not None
        pairs = 1 + says_receipts + len(requests) * (1 + len(self._plan.names))
        if not 1 <= len(requests) <= limit or body.count(b":") != pairs:
            return None
        rows = [msgspec.structs.astuple(request.features) for request in requests]
        return GivenRows(rows, batch.receipts == "brief")

    def given_row(self, features: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """One such row of features that were read already; None of any others."""
        if self._decode is None:
            return None
        row = self._plan.given_values(features)
        if row is not None or features.keys() != self._kinds.keys():
            return row
        values = [_as_kind(features[name], kind) for name, kind in self._kinds.items()]
        return None if any(value is None for value in values) else tuple(values)

    def given(self, rows: Sequence[tuple[Any, ...]]) -> UsualRows:
        """The usual ones of rows that give every feature, in the plan's order, as `given_rows` reads them."""
        matrix = np.array(rows, dtype=np.float64) if self._limits else None
        are_floats = matrix is not None and not np.isnan(matrix).any()
        return self._usual(rows, self._plan.given_layout, matrix if are_floats else None)

    def stored(self, asked: Sequence[Rows | None], *, now_us: int) -> UsualRows:
        """The usual ones of entities, each with the newest row of each view."""
        found = [self._plan.stored(rows, now_us) for rows in asked] if self._is_columnar else []
        places = [place for place, one in enumerate(found) if one is not None]
        rows = [tuple(one[0]) for one in found if one is not None]
        times = tuple(map(list, zip(*(one[1] for one in found if one is not None), strict=True)))
        are_floats = self._limits is not None and _ONLY_FLOATS.issuperset(map(type, chain.from_iterable(rows)))
        usual = self._usual(rows, self._plan.stored_layout, np.array(rows) if are_floats else None)
        return msgspec.structs.replace(
            usual,
            places=[places[row] for row in usual.places],
            times=tuple([view[row] for row in usual.places] for view in times),
        )

    def _usual(self, rows: Sequence[tuple[Any, ...]], layout: Layout, matrix: NDArray[np.float64] | None) -> UsualRows:
        """The usual rows with what is computed of them; `matrix` holds the rows where all their values are floats."""
        kept = self._within(rows, matrix)
        if len(kept) < len(rows):
            rows, matrix = [rows[row] for row in kept], None
        if not rows:
            return _no_rows(layout)
        if matrix is None:
            matrix = np.array(rows, dtype=np.float64)
        try:
            computed = self._compute(matrix)
        except Exception:  # noqa: BLE001  a function that takes one row at a time may raise anything
            return _no_rows(layout)
        unusual = {row for name, column in computed.items() for row in self._plan.values[name].unusual(column)}
        # An integer from here on may have been rounded, by the decoder or in the matrix.
        unusual.update(np.flatnonzero((np.abs(matrix) >= EXACT_INTEGER).any(axis=1)).tolist())
        whole = np.column_stack([matrix, *(np.array(column, dtype=np.float64) for column in computed.values())])
        made = zip(*computed.values(), strict=True) if computed else repeat((), len(rows))
        values = [(*row, *more) for row, more in zip(rows, made, strict=True)]
        usual = UsualRows(kept, layout, values, whole[:, layout.vector], ())
        return usual.at([row for row in range(len(rows)) if row not in unusual]) if unusual else usual

    def _within(self, rows: Sequence[tuple[Any, ...]], matrix: NDArray[np.float64] | None) -> Sequence[int]:
        """Places of the rows whose values are all usual."""
        if not rows:
            return ()
        if matrix is not None and self._limits is not None:
            low, high = self._limits
            inside: list[int] = np.flatnonzero(((matrix >= low) & (matrix <= high)).all(axis=1)).tolist()
            return inside
        unusual: set[int] = set()
        for name, column in zip(self._plan.names, zip(*rows, strict=True), strict=True):
            unusual.update(self._plan.values[name].unusual(column))
        return [row for row in range(len(rows)) if row not in unusual]

    def _compute(self, matrix: NDArray[np.float64]) -> dict[str, list[Any]]:
        """Computed features as columns, by the calls that offline features are made with.

        Raises:
            Exception: a function is not for columns.
        """
        arrays = {name: _read_only(matrix[:, place]) for name, place in self._inputs.items()}
        columns: dict[str, list[Any]] = {}
        with np.errstate(all="ignore"):
            for group, function in self._groups:
                results = function(**{name: arrays[name] for name in group.inputs})
                for name in group.outputs:
                    known = self._plan.values.get(name)
                    if known is None:
                        continue  # the function makes more than this model uses
                    made = np.asarray(results[name], dtype=np.float64)
                    if made.shape != (len(matrix),):
                        raise FeatureError(f"{name} has shape {made.shape}; ({len(matrix)},) is expected")
                    columns[name] = [as_declared(value, known.spec) for value in made.tolist()]
                    arrays[name] = _read_only(np.array(columns[name], dtype=np.float64))
        return columns


def _no_rows(layout: Layout) -> UsualRows:
    return UsualRows((), layout, (), np.empty((0, len(layout.vector))), ())


def _read_only(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """A column as on-demand code sees it offline: float64, one value after the other, not to be written to."""
    array = np.ascontiguousarray(column)
    array.flags.writeable = False
    return array


def _as_kind(value: Any, kind: Any) -> Any:
    """A value as the decoder of batches would read it; None where that needs a look."""
    if type(value) is kind:
        return value
    return float(value) if kind is float and type(value) is int and abs(value) < EXACT_INTEGER else None


def _decoder(plan: Plan) -> Callable[[bytes], Any]:
    """Reads a batch whose rows give every feature by the contract's type, into `requests` with `features`."""
    names = {f"f{place}": name for place, name in enumerate(plan.names)}
    fields = []
    for field, name in names.items():
        contract = plan.values[name].spec.contract
        kind = _PYTHON[contract.dtype]
        fields.append((field, kind | None if contract.nullable else kind))
    features = msgspec.defstruct("Features", fields, rename=names, forbid_unknown_fields=True, gc=False)
    request = msgspec.defstruct("Request", [("features", features)], forbid_unknown_fields=True, gc=False)
    told: list[tuple[str, Any, Any]] = [("receipts", Literal["full", "brief"] | None, None)]
    rows = ("requests", list[request])  # type: ignore[valid-type]  # a type that is made here
    batch = msgspec.defstruct("Batch", [rows, *told], forbid_unknown_fields=True)
    return msgspec.json.Decoder(batch).decode
