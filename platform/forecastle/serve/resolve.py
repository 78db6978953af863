"""One request's features, by name: given, stored, computed or refused, each with its status and times.

Belongs here: the contract's rules at request time (`refuse | default | last`), computed features, the vector.
Does not belong here: any I/O (rows are handed in), JSON, HTTP, the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import msgspec
import numpy as np

from forecastle.contract.category import is_modelled
from forecastle.contract.errors import BundleError, did_you_mean
from forecastle.contract.feature_set import FeatureSet, FeatureSpec, OnDemandSpec, ViewSpec
from forecastle.contract.request import Bounds, Violation, bounds_of, check_value, shown
from forecastle.contract.types import NUMERIC_DTYPES

Status = Literal["PRESENT", "STALE", "REQUEST", "COMPUTED", "DEFAULTED"]
MICROSECONDS: Final = 1_000_000


class StoredRow(Protocol):
    """The newest row of one view for one entity: values in the view's order, times in µs since 1970 UTC."""

    @property
    def values(self) -> tuple[Any, ...]: ...  # noqa: D102
    @property
    def event_at_us(self) -> int: ...  # noqa: D102
    @property
    def known_at_us(self) -> int: ...  # noqa: D102


Rows = Mapping[str, StoredRow | None]


class ResolvedFeature(msgspec.Struct, frozen=True, gc=False):
    """The value the model sees for one feature (None is missing), and where and when it comes from.

    A struct, because every request makes one a feature: a frozen dataclass takes five times as long to make.
    """

    value: Any
    status: Status
    event_at_us: int | None = None
    known_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class Degraded:
    """A feature that was served otherwise than its contract's first choice, and why."""

    feature: str
    reason: str


@dataclass(frozen=True, slots=True)
class Resolution:
    """Every feature that has a value, what was degraded, and what must be refused."""

    features: Mapping[str, ResolvedFeature]
    degraded: tuple[Degraded, ...]
    refused: tuple[Violation, ...]


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why a feature has no first-choice value."""

    rule: str
    reason: str
    value: Any = None
    last: ResolvedFeature | None = None


class Resolver:
    """A feature set made ready to resolve requests; holds no state between them."""

    def __init__(self, feature_set: FeatureSet) -> None:
        """Compile the on-demand code that the feature set carries.

        Raises:
            BundleError: a model feature is neither a number nor one of the words that its contract lists.
        """
        self.feature_set = feature_set
        for name in feature_set.model_features:
            contract = feature_set.spec(name).contract
            if not is_modelled(contract):
                raise BundleError(f"model feature {name} is {contract.dtype}; numbers and listed words are served")
        self._words = [name for name in feature_set.model_features if name in feature_set.codes]
        self._made = {name for group in feature_set.on_demand for name in group.outputs}
        self._places = {
            feature: (view.name, index, int(view.ttl_seconds * MICROSECONDS))
            for view in feature_set.views
            for index, feature in enumerate(view.features)
        }
        by_keys: dict[tuple[str, ...], list[ViewSpec]] = {}
        for view in feature_set.views:
            by_keys.setdefault(view.keys, []).append(view)
        self.views_by_keys = tuple((keys, tuple(views)) for keys, views in by_keys.items())
        self._stored = tuple(spec for spec in feature_set.features if spec.name not in self._made)
        self._givable = {spec.name: spec.contract for spec in self._stored if spec.contract.request}
        self._bounds = {s.name: bounds for s in feature_set.features if (bounds := bounds_of(s.contract))}
        self._givable_bounds = {name: b for name, b in self._bounds.items() if name in self._givable}
        functions = feature_set.functions()
        self.groups = tuple((group, functions[group.name]) for group in feature_set.on_demand)

    def check_given(self, given: Mapping[str, Any], *, complete: bool) -> list[Violation]:
        """Every rule that given features break; `complete` when there is no entity to look others up for."""
        violations = []
        for name, value in given.items():
            quick = self._givable_bounds.get(name)
            if quick is not None and type(value) is quick.kind and quick.low <= value <= quick.high:
                continue
            contract = self._givable.get(name)
            fault = self._not_givable(name, value) if contract is None else check_value(name, value, contract)
            if fault is not None:
                violations.append(fault)
        if complete:
            violations += [
                Violation(name, None, "missing", f"{name} is missing; without an entity it must be given")
                for name in self._givable
                if name not in given
            ]
        return violations

    def resolve(self, given: Mapping[str, Any], rows: Rows | None, *, now_us: int) -> Resolution:
        """Resolve every feature of the set.

        Args:
            given: checked features of the request.
            rows: newest stored row of each view; None when the online store is unavailable.
            now_us: the time of the prediction, microseconds since 1970 UTC.
        """
        features: dict[str, ResolvedFeature] = {}
        degraded: list[Degraded] = []
        refused: list[Violation] = []
        for spec in self._stored:
            name = spec.name
            if name in given:
                features[name] = ResolvedFeature(as_declared(given[name], spec), "REQUEST")
                continue
            found = self._look_up(spec, rows, now_us)
            if isinstance(found, _Fault):
                _fall_back(spec, found, features, degraded, refused)
            else:
                features[name] = found
        for group, function in self.groups:
            self._compute(group, function, features, degraded, refused)
        return Resolution(features, tuple(degraded), tuple(refused))

    def vector(self, features: Mapping[str, ResolvedFeature]) -> list[float]:
        """The model's input in its own order; NaN is missing."""
        values = {name: features[name].value for name in self.feature_set.model_features}
        for name in self._words:
            value = values[name]
            values[name] = None if value is None else self.feature_set.codes[name][value]
        return [math.nan if value is None else float(value) for value in values.values()]

    def _not_givable(self, name: str, value: Any) -> Violation:
        if name not in self.feature_set.by_name:
            hint = did_you_mean(name, [s.name for s in self._stored]) if len(name) <= 80 else ""
            return Violation(shown(name), shown(value), "unknown", f"no feature {shown(name)!r} ({hint})")
        if name in self._made:
            return Violation(name, shown(value), "computed", f"{name} is computed; leave it out")
        return Violation(name, shown(value), "request", f"{name} comes from the store only; leave it out")

    def _look_up(self, spec: FeatureSpec, rows: Rows | None, now_us: int) -> ResolvedFeature | _Fault:
        if rows is None:
            return _Fault("missing", "online store unavailable")
        view, index, ttl_us = self._places[spec.name]
        row = rows.get(view)
        if row is None:
            return _Fault("missing", f"no row in {view}")
        value = row.values[index]
        age_us = now_us - row.event_at_us
        if age_us < ttl_us and _certainly(value, self._bounds.get(spec.name)):
            return ResolvedFeature(value, "PRESENT", row.event_at_us, row.known_at_us)
        if spec.contract.dtype == "bool" and value in (0, 1):
            value = bool(value)  # SQLite has no booleans
        fault = check_value(spec.name, value, spec.contract)
        if fault is not None:
            return _Fault(fault.rule, f"stored value breaks its contract: {fault.text}", fault.value)
        value = as_declared(value, spec)
        if age_us < ttl_us:
            return ResolvedFeature(value, "PRESENT", row.event_at_us, row.known_at_us)
        reason = f"{age_us // MICROSECONDS} s old, at most {ttl_us // MICROSECONDS} s allowed"
        return _Fault("stale", reason, value, ResolvedFeature(value, "STALE", row.event_at_us, row.known_at_us))

    def _compute(
        self,
        group: OnDemandSpec,
        function: Callable[..., Mapping[str, Any]],
        features: dict[str, ResolvedFeature],
        degraded: list[Degraded],
        refused: list[Violation],
    ) -> None:
        if not all(name in features for name in group.inputs):
            return  # an input was refused: that refusal is the answer
        with np.errstate(all="ignore"):
            results = function(**{name: self._argument(name, features[name].value) for name in group.inputs})
        for name in group.outputs:
            spec = self.feature_set.by_name.get(name)
            if spec is None:
                continue  # the function makes more than this model uses
            value = as_declared(results[name], spec)
            certain = _certainly(value, self._bounds.get(name))
            fault = None if certain else check_value(name, value, spec.contract)
            if fault is None:
                features[name] = ResolvedFeature(value, "COMPUTED")
            else:
                reason = f"computed value breaks its contract: {fault.text}"
                _fall_back(spec, _Fault(fault.rule, reason, fault.value), features, degraded, refused)

    def _argument(self, name: str, value: Any) -> Any:
        """A value as on-demand code sees it offline: a missing number is NaN."""
        missing = value is None and self.feature_set.by_name[name].contract.dtype in NUMERIC_DTYPES
        return math.nan if missing else value


def _fall_back(
    spec: FeatureSpec,
    fault: _Fault,
    features: dict[str, ResolvedFeature],
    degraded: list[Degraded],
    refused: list[Violation],
) -> None:
    contract = spec.contract
    if contract.missing == "default" and (contract.default is not None or contract.nullable):
        features[spec.name] = ResolvedFeature(as_declared(contract.default, spec), "DEFAULTED")
        degraded.append(Degraded(spec.name, f"{fault.rule}: {fault.reason}; the default is used"))
    elif contract.missing == "last" and fault.last is not None:
        features[spec.name] = fault.last
        degraded.append(Degraded(spec.name, f"{fault.rule}: {fault.reason}; the last value is used"))
    else:
        refused.append(Violation(spec.name, fault.value, fault.rule, f"{spec.name} is {fault.rule}: {fault.reason}"))


def _certainly(value: Any, bounds: Bounds | None) -> bool:
    """Whether a value keeps its contract beyond doubt; False says nothing."""
    return bounds is not None and type(value) is bounds.kind and bounds.low <= value <= bounds.high


def as_declared(value: Any, spec: FeatureSpec) -> Any:
    """The value in the contract's Python type; NaN, which only computation makes, is None."""
    if value is None or value != value:  # noqa: PLR0124  NaN alone differs from itself
        return None
    dtype = spec.contract.dtype
    if dtype == "float64":
        return value if type(value) is float else float(value)
    if dtype == "int64":
        return int(value) if abs(value) != math.inf else value  # its contract will say that it is no integer
    return bool(value) if dtype == "bool" else value
