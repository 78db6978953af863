"""What a declared model may say: its estimator's words, where its trees start, how many rounds it is given.

Belongs here: faults of one model beside the features it sees, in words, each with its spot in the model.
Does not belong here: places in the file (`check.py`), the words themselves (`estimators.py`), fitting (`learn/`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from forecastle.contract.column import Feature
from forecastle.contract.errors import did_you_mean
from forecastle.contract.estimators import ESTIMATOR_PARAMS, SYNONYMS
from forecastle.contract.source_check import PlacedFault
from forecastle.contract.system import Model

# In these the first r trees are the model of r rounds, and the trees add up to log-odds from a given start.
_ADDITIVE: Final = ("gbdt", "goss")


def model_faults(model: Model, features: Mapping[str, Feature]) -> Iterator[PlacedFault]:
    """What is wrong with a model that sees `features` (by name, with their contracts)."""
    if model.estimator not in ESTIMATOR_PARAMS:
        hint = did_you_mean(model.estimator, ESTIMATOR_PARAMS)
        yield ("estimator",), f"estimator is {model.estimator!r}", hint
        return
    yield from _params(model)
    if model.start_from is not None:
        yield from _start(model.start_from, features)
    if model.rounds == "cross_validated":
        most = model.params.get("n_estimators")
        if not isinstance(most, int) or isinstance(most, bool) or most < 1:
            hint = "declare params.n_estimators, the most rounds that are tried"
            yield ("rounds",), f"rounds is cross_validated and n_estimators is {most}", hint
    boosting = model.params.get("boosting_type", "gbdt")
    if boosting not in _ADDITIVE and (model.start_from is not None or model.rounds == "cross_validated"):
        text = f"boosting_type {boosting!r} has no start and no model of fewer rounds within it"
        yield ("params", "boosting_type"), text, f"use {' or '.join(_ADDITIVE)}, or leave start_from and rounds out"


def _params(model: Model) -> Iterator[PlacedFault]:
    allowed = ESTIMATOR_PARAMS[model.estimator]
    for param in model.params:
        if param not in allowed:
            synonym = SYNONYMS[model.estimator].get(param)
            hint = f"write {synonym}" if synonym else did_you_mean(param, allowed)
            yield ("params", param), f"{model.estimator} has no parameter {param!r}", hint


def _start(name: str, features: Mapping[str, Feature]) -> Iterator[PlacedFault]:
    feature = features.get(name)
    if feature is None:
        yield ("start_from",), f"start_from {name!r} is none of the model's features", did_you_mean(name, features)
    elif feature.unit != "probability":
        yield ("start_from",), f"start_from {name!r} has unit {feature.unit}", "trees start from a probability"
    elif feature.nullable:
        hint = "trees start from a probability that is always there"
        yield ("start_from",), f"start_from {name!r} may be null", hint
