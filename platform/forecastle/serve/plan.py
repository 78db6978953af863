"""A feature set made ready for the usual request: every value there, in bounds and young enough.

Belongs here: what can be worked out before the first request, and the short way that it allows.
Does not belong here: rules and their words. Whatever is unusual is left to `resolve.py`, which knows them all;
for a usual request both give the same features, byte for byte (a test compares them).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from operator import itemgetter
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from forecastle.contract.errors import FeatureError
from forecastle.contract.feature_set import FeatureSpec
from forecastle.contract.request import Bounds, bounds_of, check_value
from forecastle.contract.types import NUMERIC_DTYPES
from forecastle.serve.receipt import features_json, iso, json_text
from forecastle.serve.resolve import MICROSECONDS, Degraded, Resolution, Resolver, Rows, as_declared

# Integers up to here are float64 without rounding.
EXACT_INTEGER: Final = 2**53
_REQUEST: Final = ',"status":"REQUEST","age_seconds":null,"event_at":null,"known_at":null}'
_COMPUTED: Final = _REQUEST.replace("REQUEST", "COMPUTED")
_ONLY_FLOATS: Final = frozenset({float})
_encode: Final = msgspec.json.Encoder().encode


class Served(msgspec.Struct, frozen=True, gc=False):
    """The features one answer stands on: `vector` in the model's order (NaN is missing), all values by name.

    `counts` says how many features came from where; `oldest_us` is the oldest event time of a stored one.
    """

    values: Mapping[str, Any]
    vector: Sequence[float]
    vector_json: str
    features_json: str
    degraded: tuple[Degraded, ...]
    counts: Mapping[str, int]
    oldest_us: int | None


@dataclass(frozen=True, slots=True)
class _Value:
    """What is usual for one feature; `bounds` is None where only `check_value` can tell."""

    spec: FeatureSpec
    bounds: Bounds | None

    def is_usual(self, value: Any) -> bool:
        """Whether a value, or a null, certainly keeps its contract as it is."""
        if self.bounds is not None and value is not None:
            return type(value) is self.bounds.kind and self.bounds.low <= value <= self.bounds.high
        contract = self.spec.contract
        if contract.dtype == "bool" and type(value) is not bool and value is not None:
            return False
        return check_value(self.spec.name, value, contract) is None and as_declared(value, self.spec) is value

    def unusual(self, column: Sequence[Any]) -> list[int]:
        """Places of a column whose values are not usual."""
        bounds = self.bounds
        if bounds is not None and set(map(type, column)) == {bounds.kind}:
            lowest, highest = min(column), max(column)
            if bounds.low <= lowest and highest <= bounds.high and not (bounds.kind is float and _has_nan(column)):
                return []
        return [place for place, value in enumerate(column) if not self.is_usual(value)]


class _Row(msgspec.Struct, frozen=True, gc=False):
    """One row's values by name, the model's input and its JSON, and the JSON text of each value and each view's age."""

    values: Mapping[str, Any]
    vector: Sequence[float]
    vector_json: str
    texts: Sequence[str]
    ages: Sequence[str]


class Plan:
    """The short way through one feature set; holds no state between requests."""

    def __init__(self, resolver: Resolver) -> None:
        """Work out places, bounds and pieces of text."""
        feature_set = resolver.feature_set
        made = {name for group in feature_set.on_demand for name in group.outputs}
        stored = [spec for spec in feature_set.features if spec.name not in made]
        self._groups = resolver.groups
        computed = [
            feature_set.by_name[name] for group, _ in self._groups for name in group.outputs
            if name in feature_set.by_name
        ]  # fmt: skip
        self.is_possible = all(spec.contract.dtype in {*NUMERIC_DTYPES, "bool"} for spec in (*stored, *computed))
        self._values = {spec.name: _Value(spec, bounds_of(spec.contract)) for spec in (*stored, *computed)}
        self._names = tuple(spec.name for spec in stored)
        self._place = {name: place for place, name in enumerate(self._names)}
        self._all_given = _getter(self._names)
        self._givable = frozenset(spec.name for spec in stored if spec.contract.request)
        limits = [self._values[name].bounds or Bounds(object, 0.0, 0.0) for name in self._names]
        self._limits = tuple((limit.kind, limit.low, limit.high) for limit in limits)
        self._views = tuple((view.name, int(view.ttl_seconds * MICROSECONDS)) for view in feature_set.views)
        flat = [name for view in feature_set.views for name in view.features]
        of_view = {name: place for place, view in enumerate(feature_set.views) for name in view.features}
        self._is_stored = all(name in of_view for name in self._names)
        self._order = _getter([flat.index(name) for name in self._names] if self._is_stored else [])
        self._view_of = tuple(of_view.get(name, 0) for name in self._names)
        self._tails_of = _getter(self._view_of)
        self._model_features = feature_set.model_features
        self._vector_of = _getter(feature_set.model_features)
        names = [*self._names, *(spec.name for spec in computed)]
        self._pieces = [
            piece for place, name in enumerate(names)
            for piece in (f'{"," if place else ""}"{name}":{{"value":', "", _COMPUTED if name in made else _REQUEST)
        ]  # fmt: skip
        self._computed_count = len(computed)
        self._numeric = {spec.name for spec in feature_set.features if spec.contract.dtype in NUMERIC_DTYPES}
        self._is_columnar = all(name in self._numeric for group, _ in self._groups for name in group.inputs)

    def usual(self, given: Mapping[str, Any], rows: Rows | None, *, now_us: int) -> Served | None:
        """The features of a usual request; None where `resolve.py` has to look.

        Args:
            given: features of the request, checked or not.
            rows: newest stored row of each view; None when the online store is unavailable.
            now_us: the time of the prediction, microseconds since 1970 UTC.
        """
        placed = self._placed(given, rows, now_us)
        if placed is None:
            return None
        values, times = placed
        for value, (kind, low, high), name in zip(values, self._limits, self._names, strict=True):
            if not (type(value) is kind and low <= value <= high) and not self._values[name].is_usual(value):
                return None
        by_name = dict(zip(self._names, values, strict=True))
        if self._groups and not self._compute(by_name):
            return None
        ages = [(now_us - event_at_us) / MICROSECONDS for event_at_us, _ in times]
        texts = _texts([*by_name.values(), *ages])
        vector = _floats(self._vector_of(by_name))
        row = _Row(by_name, vector, json_text(vector), texts[: len(by_name)], texts[len(by_name) :])
        return self._served(row, given, times)

    def usual_many(self, asked: Sequence[tuple[Mapping[str, Any], Rows | None]], *, now_us: int) -> list[Served | None]:
        """`usual` of many requests, worked on as columns: the same features and bytes, in the order asked."""
        if not self._is_columnar:
            return [self.usual(given, rows, now_us=now_us) for given, rows in asked]
        found: list[Served | None] = [None] * len(asked)
        placed = [self._placed(given, rows, now_us) for given, rows in asked]
        there = [place for place, one in enumerate(placed) if one is not None]
        if not there:
            return found
        transposed = zip(*(one[0] for one in placed if one is not None), strict=True)
        columns: dict[str, Sequence[Any]] = dict(zip(self._names, transposed, strict=True))
        there, columns = self._kept(there, columns, self._names)
        try:
            computed = self._compute_columns(columns, len(there))
        except Exception:  # noqa: BLE001  a function that takes one row at a time may raise anything
            return [self.usual(given, rows, now_us=now_us) for given, rows in asked]
        there, columns = self._kept(there, columns, computed)
        told = [(asked[place][0], (placed[place] or ((), ()))[1]) for place in there]
        for place, served in zip(there, self._served_many(columns, told, now_us), strict=True):
            found[place] = served
        return found

    def _placed(
        self, given: Mapping[str, Any], rows: Rows | None, now_us: int
    ) -> tuple[Sequence[Any], Sequence[tuple[int, int]]] | None:
        """Values in this plan's order, and the times of each view if any is used; None where something is unusual."""
        if not self.is_possible:
            return None
        if len(given) == len(self._names):
            if self._givable.issuperset(given) and _ONLY_FLOATS.issuperset(map(type, given.values())):
                return self._all_given(given), ()
            values: list[Any] = [None] * len(given)
            times: list[tuple[int, int]] = []
        else:
            found = self._stored(rows, now_us)
            if found is None:
                return None
            values, times = found
        return (values, times) if not given or self._overlay(given, values) else None

    def _stored(self, rows: Rows | None, now_us: int) -> tuple[list[Any], list[tuple[int, int]]] | None:
        """Values of the views in this plan's order, and each view's times; None where a row is absent or old."""
        if not rows or not self._is_stored:
            return None
        flat: list[Any] = []
        times = []
        for view, ttl_us in self._views:
            row = rows.get(view)
            if row is None or now_us - row.event_at_us >= ttl_us:
                return None
            flat += row.values
            times.append((row.event_at_us, row.known_at_us))
        return list(self._order(flat)), times

    def _overlay(self, given: Mapping[str, Any], values: list[Any]) -> bool:
        """Put given features in their places; False where one may not be given or is not exact."""
        for name, value in given.items():
            if name not in self._givable:
                return False
            place = self._place[name]
            if type(value) is int and self._limits[place][0] is float:
                if not -EXACT_INTEGER <= value <= EXACT_INTEGER:
                    return False
                values[place] = float(value)
            else:
                values[place] = value
        return True

    def _kept(
        self, there: list[int], columns: dict[str, Sequence[Any]], names: Sequence[str]
    ) -> tuple[list[int], dict[str, Sequence[Any]]]:
        """The rows, and their columns, whose values under these names are usual."""
        unusual = {place for name in names for place in self._values[name].unusual(columns[name])}
        if not unusual:
            return there, columns
        flags = [place not in unusual for place in range(len(there))]
        kept: dict[str, Sequence[Any]] = {name: tuple(compress(column, flags)) for name, column in columns.items()}
        return list(compress(there, flags)), kept

    def _compute(self, by_name: dict[str, Any]) -> bool:
        """Add computed features; False where one is not usual."""
        with np.errstate(all="ignore"):
            for group, function in self._groups:
                results = function(**{name: self._argument(name, by_name[name]) for name in group.inputs})
                for name in group.outputs:
                    known = self._values.get(name)
                    if known is None:
                        continue  # the function makes more than this model uses
                    value = by_name[name] = as_declared(results[name], known.spec)
                    if not known.is_usual(value):
                        return False
        return True

    def _compute_columns(self, columns: dict[str, Sequence[Any]], rows: int) -> list[str]:
        """Add computed features as columns, by the calls that offline features are made with; gives their names.

        Raises:
            Exception: a function, or a number, is not for columns.
        """
        names = []
        with np.errstate(all="ignore"):
            for group, function in self._groups:
                results = function(**{name: _array(columns[name]) for name in group.inputs})
                for name in group.outputs:
                    known = self._values.get(name)
                    if known is None:
                        continue
                    made = np.asarray(results[name], dtype=np.float64)
                    if made.shape != (rows,):
                        raise FeatureError(f"{name} has shape {made.shape}; ({rows},) is expected")
                    columns[name] = [as_declared(value, known.spec) for value in made.tolist()]
                    names.append(name)
        return names

    def _argument(self, name: str, value: Any) -> Any:
        return math.nan if value is None and name in self._numeric else value

    def _served(self, row: _Row, given: Mapping[str, Any], times: Sequence[tuple[int, int]]) -> Served:
        """A row as it is answered; `times` are of each view in use, none where everything is given."""
        pieces = self._pieces.copy()
        pieces[1::3] = row.texts
        oldest = min(times)[0] if times else None
        count = len(self._names)
        if times:
            told = [
                f',"status":"PRESENT","age_seconds":{age},"event_at":"{iso(event)}","known_at":"{iso(known)}"}}'
                for age, (event, known) in zip(row.ages, times, strict=True)
            ]
            pieces[2 : 3 * count : 3] = self._tails_of(told)
            for name in given:
                pieces[3 * self._place[name] + 2] = _REQUEST
            if given:
                views = {view for name, view in zip(self._names, self._view_of, strict=True) if name not in given}
                oldest = min(times[view] for view in views)[0]
        counts = {"PRESENT": count - len(given), "REQUEST": len(given), "COMPUTED": self._computed_count}
        text = f"{{{''.join(pieces)}}}"
        return Served(row.values, row.vector, row.vector_json, text, (), counts, oldest)

    def _served_many(
        self,
        columns: Mapping[str, Sequence[Any]],
        told: Sequence[tuple[Mapping[str, Any], Sequence[tuple[int, int]]]],
        now_us: int,
    ) -> Iterator[Served]:
        floats = {name: _floats(columns[name]) for name in self._model_features}
        shown = {name: _texts(column) for name, column in columns.items()}
        # A column of floats is the same text as a feature and in the model's vector.
        vector_texts = [shown[name] if kept is columns[name] else _texts(kept) for name, kept in floats.items()]
        ages = iter(_texts([(now_us - event_at_us) / MICROSECONDS for _, times in told for event_at_us, _ in times]))
        rows, vectors, texts, joined = (
            zip(*part, strict=True) for part in (columns.values(), floats.values(), shown.values(), vector_texts)
        )
        for values, vector, text, in_vector, (given, times) in zip(rows, vectors, texts, joined, told, strict=True):
            by_name = dict(zip(columns, values, strict=True))
            row = _Row(by_name, vector, f"[{','.join(in_vector)}]", text, list(islice(ages, len(times))))
            yield self._served(row, given, times)


def served_of(resolution: Resolution, resolver: Resolver, *, now_us: int) -> Served:
    """The same of what `resolve.py` found; nothing may be refused in it."""
    counts: dict[str, int] = {}
    for feature in resolution.features.values():
        counts[feature.status] = counts.get(feature.status, 0) + 1
    vector = resolver.vector(resolution.features)
    times = [f.event_at_us for f in resolution.features.values() if f.event_at_us is not None]
    return Served(
        values={name: feature.value for name, feature in resolution.features.items()},
        vector=vector,
        vector_json=json_text(vector),
        features_json=features_json(resolution, now_us=now_us),
        degraded=resolution.degraded,
        counts=counts,
        oldest_us=min(times, default=None),
    )


def _texts(values: Sequence[Any]) -> list[str]:
    """The JSON text of each number, boolean or null."""
    return _encode(values)[1:-1].decode().split(",") if values else []


def _floats(values: Sequence[Any]) -> Sequence[float]:
    """Values as the model takes them; NaN is missing."""
    if _ONLY_FLOATS.issuperset(map(type, values)):
        return values
    return [math.nan if value is None else float(value) for value in values]


def _has_nan(values: Sequence[float]) -> bool:
    return math.isnan(sum(values)) and any(map(math.isnan, values))


def _array(values: Sequence[Any]) -> NDArray[np.float64]:
    """A column as on-demand code sees it offline: float64, a missing number is NaN; it may not be written to.

    Raises:
        FeatureError: an integer is not exact as float64.
    """
    array = np.array(_floats(values), dtype=np.float64)
    if int in set(map(type, values)) and bool((np.abs(array) > EXACT_INTEGER).any()):
        raise FeatureError("an integer beyond 2**53 is not exact in a column")
    array.flags.writeable = False
    return array


def _getter(wanted: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """`itemgetter` that gives a tuple for one item, and for none, too."""
    if len(wanted) > 1:
        return itemgetter(*wanted)
    return lambda items: tuple(items[one] for one in wanted)
