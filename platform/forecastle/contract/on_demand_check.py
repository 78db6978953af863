"""Checks of an on-demand function that call it, and of what functions may be given.

Belongs here: one call with plain numbers, features it gives or lacks, inputs that are no numbers.
Does not belong here: names that must exist, functions that must stand in the folder (`check.py`), whole columns
(`on_demand.py`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from forecastle.contract.column import Feature
from forecastle.contract.errors import did_you_mean
from forecastle.contract.faults import Fault
from forecastle.contract.system import OnDemand
from forecastle.contract.types import NUMERIC_DTYPES


def input_faults(inputs: Sequence[str], features: Mapping[str, Feature]) -> Iterator[tuple[int, Fault]]:
    """Place and fault of each input that a function cannot take: it is arithmetic over numbers, and words are none."""
    for index, name in enumerate(inputs):
        if name in features and features[name].dtype not in NUMERIC_DTYPES:
            text = f"input {name!r} is {features[name].dtype}, and functions take numbers"
            yield index, (text, "make a number of it in its view's SQL (CASE … THEN 1 …)")


def call_faults(
    group: OnDemand, features: Mapping[str, Feature], *, function: Callable[[str], Callable[..., Any]]
) -> Iterator[Fault]:
    """One call with plain numbers: code that does not load or gives other features is found early."""
    if not set(group.inputs) <= set(features):
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = set(function(group.function)(**{name: _sample(features[name]) for name in group.inputs}))
    except Exception as error:  # noqa: BLE001  a system's own code may raise anything
        text = f"{group.function!r} fails: {type(error).__name__}: {error}"
        yield text, "called with one plain number for each input"
        return
    for name in sorted(set(group.features) - got):
        yield f"{group.function!r} does not give feature {name!r}", did_you_mean(name, got - set(group.features))
    for name in sorted(got - set(group.features)):
        yield f"{group.function!r} gives undeclared feature {name!r}", "declare it"


def _sample(feature: Feature) -> float | bool:
    """A value near one that the contract allows."""
    if feature.dtype == "bool":
        return True
    low = 1.0 if feature.min is None else max(1.0, feature.min)
    value = low if feature.max is None else min(low, feature.max)
    return int(value) if feature.dtype == "int64" else value
