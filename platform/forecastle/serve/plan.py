"""A feature set made ready for the usual request: every value there, in bounds and young enough.

Belongs here: what can be worked out before the first request, and the short way that it allows.
Does not belong here: rules and their words. Whatever is unusual is left to `resolve.py`, which knows them all;
for a usual request both give the same features, byte for byte (a test compares them).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import msgspec
import numpy as np

from forecastle.contract.feature_set import FeatureSpec
from forecastle.contract.request import Bounds, bounds_of, check_value
from forecastle.contract.types import NUMERIC_DTYPES
from forecastle.serve.receipt import features_json, json_text
from forecastle.serve.resolve import MICROSECONDS, Degraded, Resolution, Resolver, Rows, as_declared
from forecastle.store.packed_features import PackedFeatures
from forecastle.store.prediction_batch import COMPUTED, REQUEST, Layout, iso, texts_of

# Integers up to here are float64 without rounding.
EXACT_INTEGER: Final = 2**53
_REQUEST: Final = ',"status":"REQUEST","age_seconds":null,"event_at":null,"known_at":null}'
_COMPUTED: Final = _REQUEST.replace("REQUEST", "COMPUTED")
_ONLY_FLOATS: Final = frozenset({float})


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
    packed: PackedFeatures | None = None


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
        self.values = {spec.name: _Value(spec, bounds_of(spec.contract)) for spec in (*stored, *computed)}
        self.names = tuple(spec.name for spec in stored)
        self._place = {name: place for place, name in enumerate(self.names)}
        self._all_given = _getter(self.names)
        self._givable = frozenset(spec.name for spec in stored if spec.contract.request)
        limits = [self.values[name].bounds or Bounds(object, 0.0, 0.0) for name in self.names]
        self._limits = tuple((limit.kind, limit.low, limit.high) for limit in limits)
        self._views = tuple((view.name, int(view.ttl_seconds * MICROSECONDS)) for view in feature_set.views)
        flat = [name for view in feature_set.views for name in view.features]
        of_view = {name: place for place, view in enumerate(feature_set.views) for name in view.features}
        self._is_stored = all(name in of_view for name in self.names)
        self._order = _getter([flat.index(name) for name in self.names] if self._is_stored else [])
        self.view_of = tuple(of_view.get(name, 0) for name in self.names)
        self._tails_of = _getter(self.view_of)
        self._model_features = feature_set.model_features
        self._vector_of = _getter(feature_set.model_features)
        names = [*self.names, *(spec.name for spec in computed)]
        self._pieces = [
            piece for place, name in enumerate(names)
            for piece in (f'{"," if place else ""}"{name}":{{"value":', "", _COMPUTED if name in made else _REQUEST)
        ]  # fmt: skip
        self._computed_count = len(computed)
        self._numeric = {spec.name for spec in feature_set.features if spec.contract.dtype in NUMERIC_DTYPES}
        made_there = (COMPUTED,) * len(computed)
        vector = tuple(names.index(name) for name in feature_set.model_features) if self.is_possible else ()
        self.given_layout = Layout(tuple(names), (*(REQUEST for _ in self.names), *made_there), vector)
        self.stored_layout = Layout(tuple(names), (*self.view_of, *made_there), vector)
        self.is_all_givable = self._givable.issuperset(self.names)

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
        for value, (kind, low, high), name in zip(values, self._limits, self.names, strict=True):
            if not (type(value) is kind and low <= value <= high) and not self.values[name].is_usual(value):
                return None
        by_name = dict(zip(self.names, values, strict=True))
        if self._groups and not self._compute(by_name):
            return None
        ages = [(now_us - event_at_us) / MICROSECONDS for event_at_us, _ in times]
        texts = texts_of([*by_name.values(), *ages])
        vector = _floats(self._vector_of(by_name))
        row = _Row(by_name, vector, json_text(vector), texts[: len(by_name)], texts[len(by_name) :])
        return self._served(row, given, times)

    def _placed(
        self, given: Mapping[str, Any], rows: Rows | None, now_us: int
    ) -> tuple[Sequence[Any], Sequence[tuple[int, int]]] | None:
        """Values in this plan's order, and the times of each view if any is used; None where something is unusual."""
        if not self.is_possible:
            return None
        if len(given) == len(self.names):
            if (all_given := self.given_values(given)) is not None:
                return all_given, ()
            values: list[Any] = [None] * len(given)
            times: list[tuple[int, int]] = []
        else:
            found = self.stored(rows, now_us)
            if found is None:
                return None
            values, times = found
        return (values, times) if not given or self._overlay(given, values) else None

    def given_values(self, given: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Values in this plan's order where a request gives them all, as floats; None where it does not."""
        if len(given) != len(self.names) or not self._givable.issuperset(given):
            return None
        return self._all_given(given) if _ONLY_FLOATS.issuperset(map(type, given.values())) else None

    def stored(self, rows: Rows | None, now_us: int) -> tuple[list[Any], list[tuple[int, int]]] | None:
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

    def _compute(self, by_name: dict[str, Any]) -> bool:
        """Add computed features; False where one is not usual."""
        with np.errstate(all="ignore"):
            for group, function in self._groups:
                results = function(**{name: self._argument(name, by_name[name]) for name in group.inputs})
                for name in group.outputs:
                    known = self.values.get(name)
                    if known is None:
                        continue  # the function makes more than this model uses
                    value = by_name[name] = as_declared(results[name], known.spec)
                    if not known.is_usual(value):
                        return False
        return True

    def _argument(self, name: str, value: Any) -> Any:
        return math.nan if value is None and name in self._numeric else value

    def _served(self, row: _Row, given: Mapping[str, Any], times: Sequence[tuple[int, int]]) -> Served:
        """A row as it is answered; `times` are of each view in use, none where everything is given."""
        pieces = self._pieces.copy()
        pieces[1::3] = row.texts
        oldest = min(times)[0] if times else None
        count = len(self.names)
        if times:
            told = [
                f',"status":"PRESENT","age_seconds":{age},"event_at":"{iso(event)}","known_at":"{iso(known)}"}}'
                for age, (event, known) in zip(row.ages, times, strict=True)
            ]
            pieces[2 : 3 * count : 3] = self._tails_of(told)
            for name in given:
                pieces[3 * self._place[name] + 2] = _REQUEST
            if given:
                views = {view for name, view in zip(self.names, self.view_of, strict=True) if name not in given}
                oldest = min(times[view] for view in views)[0]
        counts = {"PRESENT": count - len(given), "REQUEST": len(given), "COMPUTED": self._computed_count}
        text = f"{{{''.join(pieces)}}}"
        layout = self.given_layout if not times else None if given else self.stored_layout
        packed = PackedFeatures(layout, times, f"[{','.join(row.texts)}]") if layout is not None else None
        return Served(row.values, row.vector, row.vector_json, text, (), counts, oldest, packed)


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


def _floats(values: Sequence[Any]) -> Sequence[float]:
    """Values as the model takes them; NaN is missing."""
    if _ONLY_FLOATS.issuperset(map(type, values)):
        return values
    return [math.nan if value is None else float(value) for value in values]


def _has_nan(values: Sequence[float]) -> bool:
    return math.isnan(sum(values)) and any(map(math.isnan, values))


def _getter(wanted: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """`itemgetter` that gives a tuple for one item, and for none, too."""
    if len(wanted) > 1:
        return itemgetter(*wanted)
    return lambda items: tuple(items[one] for one in wanted)
