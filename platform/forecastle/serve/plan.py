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
from forecastle.serve.receipt import features_json, iso
from forecastle.serve.resolve import MICROSECONDS, Degraded, Resolution, Resolver, Rows, as_declared

# Integers up to here are float64 without rounding.
EXACT_INTEGER: Final = 2**53
_REQUEST: Final = ',"status":"REQUEST","age_seconds":null,"event_at":null,"known_at":null}'
_COMPUTED: Final = _REQUEST.replace("REQUEST", "COMPUTED")
_encode: Final = msgspec.json.Encoder().encode


class Served(msgspec.Struct, frozen=True, gc=False):
    """The features one answer stands on: `vector` in the model's order (NaN is missing), all values by name.

    `counts` says how many features came from where; `oldest_us` is the oldest event time of a stored one.
    """

    values: Mapping[str, Any]
    vector: Sequence[float]
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
        self._givable = frozenset(spec.name for spec in stored if spec.contract.request)
        limits = [self._values[name].bounds or Bounds(object, 0.0, 0.0) for name in self._names]
        self._limits = tuple((limit.kind, limit.low, limit.high) for limit in limits)
        self._views = tuple((view.name, int(view.ttl_seconds * MICROSECONDS)) for view in feature_set.views)
        flat = [name for view in feature_set.views for name in view.features]
        of_view = {name: place for place, view in enumerate(feature_set.views) for name in view.features}
        self._is_stored = all(name in of_view for name in self._names)
        self._order = _getter([flat.index(name) for name in self._names] if self._is_stored else [])
        self._view_of = tuple(of_view.get(name, 0) for name in self._names)
        self._vector_of = _getter(feature_set.model_features)
        heads = [f'"{name}":{{"value":' for name in (*self._names, *(spec.name for spec in computed))]
        self._heads = tuple(heads)
        self._computed_count = len(computed)
        self._numeric = {spec.name for spec in feature_set.features if spec.contract.dtype in NUMERIC_DTYPES}

    def usual(self, given: Mapping[str, Any], rows: Rows | None, *, now_us: int) -> Served | None:
        """The features of a usual request; None where `resolve.py` has to look.

        Args:
            given: features of the request, checked or not.
            rows: newest stored row of each view; None when the online store is unavailable.
            now_us: the time of the prediction, microseconds since 1970 UTC.
        """
        if not self.is_possible:
            return None
        if len(given) == len(self._names):
            values: list[Any] = [None] * len(given)
            times: list[tuple[int, int]] = []
        else:
            found = self._stored(rows, now_us)
            if found is None:
                return None
            values, times = found
        if given and not self._overlay(given, values):
            return None
        for value, (kind, low, high), name in zip(values, self._limits, self._names, strict=True):
            if not (type(value) is kind and low <= value <= high) and not self._values[name].is_usual(value):
                return None
        by_name = dict(zip(self._names, values, strict=True))
        if self._groups and not self._compute(by_name):
            return None
        return self._served(by_name, given, times, now_us)

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

    def _argument(self, name: str, value: Any) -> Any:
        return math.nan if value is None and name in self._numeric else value

    def _served(
        self, by_name: Mapping[str, Any], given: Mapping[str, Any], times: Sequence[tuple[int, int]], now_us: int
    ) -> Served:
        count, computed = len(self._names), self._computed_count
        vector = self._vector_of(by_name)
        floats = [math.nan if v is None else float(v) for v in vector] if None in vector else list(map(float, vector))
        ages = [(now_us - event_at_us) / MICROSECONDS for event_at_us, _ in times]
        texts = _encode([*by_name.values(), *ages])[1:-1].decode().split(",")
        told = [
            f',"status":"PRESENT","age_seconds":{age},"event_at":"{iso(event)}","known_at":"{iso(known)}"}}'
            for age, (event, known) in zip(texts[count + computed :], times, strict=True)
        ]
        tails = [told[view] for view in self._view_of] if told else [_REQUEST] * count
        if told and given:
            for name in given:
                tails[self._place[name]] = _REQUEST
            times = [times[view] for view in {self._view_of[p] for p in range(count) if self._names[p] not in given}]
        tails += [_COMPUTED] * computed
        text = ",".join(map("".join, zip(self._heads, texts, tails, strict=False)))
        counts = {"PRESENT": count - len(given), "REQUEST": len(given), "COMPUTED": computed}
        return Served(by_name, floats, f"{{{text}}}", (), counts, min(times)[0] if times else None)


def served_of(resolution: Resolution, resolver: Resolver, *, now_us: int) -> Served:
    """The same of what `resolve.py` found; nothing may be refused in it."""
    counts: dict[str, int] = {}
    for feature in resolution.features.values():
        counts[feature.status] = counts.get(feature.status, 0) + 1
    times = [f.event_at_us for f in resolution.features.values() if f.event_at_us is not None]
    return Served(
        values={name: feature.value for name, feature in resolution.features.items()},
        vector=resolver.vector(resolution.features),
        features_json=features_json(resolution, now_us=now_us),
        degraded=resolution.degraded,
        counts=counts,
        oldest_us=min(times, default=None),
    )


def _getter(wanted: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """`itemgetter` that gives a tuple for one item, and for none, too."""
    if len(wanted) > 1:
        return itemgetter(*wanted)
    return lambda items: tuple(items[one] for one in wanted)
