"""What a declared model may say: its estimator's words, where its trees start, how its parameters are found.

Belongs here: faults of one model beside the features it sees, in words, each with its spot in the model.
Does not belong here: places in the file (`check.py`), the words themselves (`estimators.py`), fitting (`learn/`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from forecastle.contract.column import Feature
from forecastle.contract.errors import did_you_mean
from forecastle.contract.estimators import (
    ESTIMATOR_PARAMS,
    LIGHTGBM,
    ROUNDS,
    SYNONYMS,
    allowed_params,
    elsewhere,
    estimator_class,
    instance_fault,
    instance_refuses_nulls,
    refuses_nulls,
    takes_weights,
    value_fault,
)
from forecastle.contract.faults import Fault
from forecastle.contract.source_check import PlacedFault
from forecastle.contract.system import Model
from forecastle.contract.tuning import Range

# In these the first r trees are the model of r rounds, and the trees add up to log-odds from a given start.
_ADDITIVE: Final = ("gbdt", "goss")
CENTERED: Final = ("identity", "temperature")
"""Calibrators that leave one half where it is, so that they cannot undo the shift of class weights."""

SHOWN: Final = 3
"""Names of features in one message."""


def model_faults(model: Model, features: Mapping[str, Feature]) -> Iterator[PlacedFault]:
    """What is wrong with a model that sees `features` (by name, with their contracts)."""
    if ":" not in model.estimator:
        fault = _unknown(model.estimator)
        if fault is not None:
            yield ("estimator",), *fault
            return
        yield from _params(model)
    yield from _search(model)
    if model.start_from is not None:
        yield from _start(model, features)
    yield from _rounds(model)
    yield from _weights(model)
    yield from _one_hot(model, features)
    if ":" not in model.estimator and refuses_nulls(model.estimator, {**searched_sample(model), **model.params}):
        yield from ((("estimator",), *fault) for fault in _nulls(model, features))


def built_fault(model: Model, features: Mapping[str, Feature], function: Callable[..., Any]) -> Fault | None:
    """What is wrong with the estimator that a function of the folder gives for the declared parameters."""
    try:
        estimator = function(**model.params, **searched_sample(model))
    except Exception as error:  # noqa: BLE001  a system's own code may raise anything
        return f"{model.estimator!r} fails: {type(error).__name__}: {error}", "called with the declared parameters"
    fault = instance_fault(estimator, told=model.estimator)
    if fault is None and instance_refuses_nulls(estimator):
        fault = next(_nulls(model, features), None)
    return fault


def searched_sample(model: Model) -> dict[str, Any]:
    """One value of each searched parameter that is not declared: the low end, or the first choice."""
    space = model.search.space if model.search else {}
    return {
        name: values.low if isinstance(values, Range) else values[0]
        for name, values in space.items()
        if name not in model.params
    }


def _unknown(path: str) -> Fault | None:
    if path in ESTIMATOR_PARAMS:
        return None
    if path.partition(".")[0] == "lightgbm":
        return f"estimator is {path!r}", did_you_mean(path, ESTIMATOR_PARAMS)
    return estimator_class(path)[1]


def _params(model: Model) -> Iterator[PlacedFault]:
    wrong = False
    for param, value in model.params.items():
        for fault in _word(model.estimator, param):
            wrong = True
            yield ("params", param), *fault
        if model.estimator == LIGHTGBM:
            fault_of_value = value_fault(LIGHTGBM, {param: value})
            if fault_of_value is not None:
                yield ("params", param), *fault_of_value
    if not wrong and model.estimator != LIGHTGBM:
        fault_of_values = value_fault(model.estimator, model.params)
        if fault_of_values is not None:
            yield ("params",) if model.params else ("estimator",), *fault_of_values


def _word(estimator: str, param: str) -> Iterator[Fault]:
    allowed = allowed_params(estimator)
    if param in allowed:
        return
    synonym, field = SYNONYMS.get(estimator, {}).get(param), elsewhere(param)
    if synonym:
        hint = f"write {synonym}"
    elif field is not None:
        hint = f"the model's own {field} says it" if field else "models here are binary classifiers"
    else:
        hint = did_you_mean(param, allowed)
    yield f"{estimator} has no parameter {param!r}", hint


def _search(model: Model) -> Iterator[PlacedFault]:
    if model.search is None:
        return
    for param, values in model.search.space.items():
        spot = ("search", "space", param)
        if ":" not in model.estimator:
            wrong = list(_word(model.estimator, param))
            yield from ((spot, *fault) for fault in wrong)
            if wrong:
                continue
        if isinstance(values, Range):
            yield from ((spot, *fault) for fault in values.faults())
        yield from _ends(model, param, values)
    if model.rounds == "cross_validated" and "n_estimators" in model.search.space:
        yield ("search", "space", "n_estimators"), "rounds is cross_validated and n_estimators is searched", "keep one"


def _ends(model: Model, param: str, values: Range | list[Any]) -> Iterator[PlacedFault]:
    """Each choice, or both ends of a range, must be a value that the estimator takes."""
    if ":" in model.estimator:
        return
    if value_fault(model.estimator, model.params) is not None:
        return
    for value in (values.low, values.high) if isinstance(values, Range) else values:
        fault = value_fault(model.estimator, {**model.params, param: value})
        if fault is not None:
            yield ("search", "space", param), *fault
            return


def _rounds(model: Model) -> Iterator[PlacedFault]:
    chosen = "rounds" if model.rounds == "cross_validated" else "early_stopping" if model.early_stopping else None
    if chosen is None:
        return
    if model.estimator not in ROUNDS:
        hint = f"{' and '.join(sorted(ROUNDS))} do; leave it out"
        yield (chosen,), f"{model.estimator} does not add rounds one by one", hint
        return
    if model.rounds == "cross_validated" and model.early_stopping is not None:
        yield (
            ("early_stopping",),
            "early_stopping stands beside rounds: cross_validated",
            "both choose rounds: keep one",
        )
    most = model.params.get("n_estimators")
    if model.search and "n_estimators" in model.search.space:
        return
    if most is None:  # what is wrong with a number that is there, `_params` says
        told = "rounds is cross_validated" if chosen == "rounds" else "early_stopping is declared"
        hint = "declare params.n_estimators, the most rounds that are tried"
        yield (chosen,), f"{told} and n_estimators is {most}", hint


def _start(model: Model, features: Mapping[str, Feature]) -> Iterator[PlacedFault]:
    name = str(model.start_from)
    feature = features.get(name)
    if model.estimator != LIGHTGBM:
        yield ("start_from",), f"{model.estimator} has no start", f"{LIGHTGBM} has one; leave it out"
    elif model.preprocess != "none" or model.one_hot:
        yield ("start_from",), "start_from stands beside preprocess or one_hot", "trees need neither: leave them out"
    elif feature is None:
        yield ("start_from",), f"start_from {name!r} is none of the model's features", did_you_mean(name, features)
    elif feature.unit != "probability":
        yield ("start_from",), f"start_from {name!r} has unit {feature.unit}", "trees start from a probability"
    elif feature.nullable:
        hint = "trees start from a probability that is always there"
        yield ("start_from",), f"start_from {name!r} may be null", hint


def _weights(model: Model) -> Iterator[PlacedFault]:
    boosting = model.params.get("boosting_type", "gbdt")
    chosen = model.start_from is not None or model.rounds == "cross_validated" or model.early_stopping is not None
    if model.estimator == LIGHTGBM and boosting not in _ADDITIVE and chosen:
        text = f"boosting_type {boosting!r} has no start and no model of fewer rounds within it"
        yield ("params", "boosting_type"), text, f"use {' or '.join(_ADDITIVE)}, or leave start_from and rounds out"
    if model.class_weight is None:
        return
    if isinstance(model.class_weight, dict) and set(model.class_weight) != {"0", "1"}:
        yield ("class_weight",), "class_weight names one outcome", "write {0: …, 1: …}, or balanced"
    if model.calibrate in CENTERED:
        hint = "weights shift every probability: let calibrate be auto, or leave the weights out"
        yield ("class_weight",), f"class_weight stands beside calibrate: {model.calibrate}", hint
    twice = [p for p in ("class_weight", "is_unbalance", "scale_pos_weight", "auto_class_weights") if p in model.params]
    if twice:
        yield ("class_weight",), f"class_weight stands beside params.{twice[0]}", "say it once"
    if ":" not in model.estimator and not takes_weights(model.estimator):
        yield ("class_weight",), f"fit of {model.estimator} takes no weights", "leave class_weight out"


def _one_hot(model: Model, features: Mapping[str, Feature]) -> Iterator[PlacedFault]:
    for index, name in enumerate(model.one_hot):
        feature, spot = features.get(name), ("one_hot", index)
        if feature is None:
            yield spot, f"one_hot {name!r} is none of the model's features", did_you_mean(name, features)
        elif not feature.allowed:
            yield spot, f"one_hot {name!r} has no allowed values", "declare allowed: [1, 2, …] in its contract"
        elif name in model.one_hot[:index]:
            yield spot, f"one_hot names {name!r} twice", ""


def _nulls(model: Model, features: Mapping[str, Feature]) -> Iterator[Fault]:
    """The model's estimator takes no null: then something must stand in place of each."""
    names = [name for name, feature in features.items() if feature.nullable and name not in model.one_hot]
    if model.preprocess == "none" and names:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        text = f"{model.estimator} takes no null, and {', '.join(names[:SHOWN])}{more} may be null"
        yield text, "write preprocess: impute (or standard), or leave such features out"
