"""What a `matrix` may say: columns and values that rows can have, features that exist, names that differ.

Belongs here: faults of one matrix in words, each with its spot in the model, and the models to check as any other.
Does not belong here: faults of one concrete model (`model_check.py`), places in the file (`check.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from pydantic import ValidationError

from forecastle.contract.column import Feature
from forecastle.contract.document import Place
from forecastle.contract.errors import did_you_mean
from forecastle.contract.matrix import (
    NOT_OF_AN_ESTIMATOR,
    Matrix,
    MatrixEstimator,
    SegmentValue,
    concrete_model,
    variant_names,
)
from forecastle.contract.source_check import PlacedFault, name_faults
from forecastle.contract.system import Model, System

NAME_LENGTH: Final = 63
ENSEMBLE_NAME: Final = "ensemble"
"""The name of the candidate that is made of several models; no declared model may have it."""


def models_to_check(system: System) -> Iterator[tuple[Place, Model]]:
    """Every model that has an estimator; of a matrix without faults one model an estimator and feature set."""
    for name, model in system.models.items():
        place: Place = ("models", name)
        if any(matrix_faults(name, model, system)):
            continue
        if model.matrix is None:
            yield place, model
        else:
            for estimator in model.matrix.estimators or (None,):
                where = place if estimator is None else (*place, "matrix", "estimators", estimator)
                for features in model.matrix.feature_sets or (None,):
                    yield where, concrete_model(model, model.matrix, estimator=estimator, features=features)


def concrete_names(system: System) -> list[str]:
    """Names of all concrete models; a matrix with faults gives none."""
    whole = {n: m for n, m in system.models.items() if not any(matrix_faults(n, m, system))}
    return [name for n, m in whole.items() for name in ([n] if m.matrix is None else variant_names(n, m.matrix))]


def matrix_faults(name: str, model: Model, system: System) -> Iterator[PlacedFault]:
    """What is wrong with the matrix of a model, if it has one; spots are within the model."""
    matrix = model.matrix
    if name == ENSEMBLE_NAME:
        yield (), f"{name!r} is the name of what is made of several models", "give the model another name"
    if not model.estimator and not (matrix and matrix.estimators):
        yield (
            ("estimator",),
            "estimator is missing",
            "write the import path of a class, such as lightgbm.LGBMClassifier",
        )
    if matrix is None:
        return
    if not (matrix.segments or matrix.estimators or matrix.feature_sets):
        yield ("matrix",), "matrix is empty", "declare segments, estimators or feature_sets"
        return
    found = [
        *_segments(matrix, system),
        *_estimators(model, matrix),
        *_feature_sets(matrix, system),
    ]
    yield from found
    if not found:
        yield from _names(name, matrix, system)


def _segments(matrix: Matrix, system: System) -> Iterator[PlacedFault]:
    features = system.features()
    columns = set(matrix.segments)
    others = [set(m.matrix.segments) for m in system.models.values() if m.matrix and m.matrix.segments]
    if columns and any(other != columns for other in others):
        hint = "use the same columns in every matrix, so that each row has one segment"
        yield ("matrix", "segments"), "another matrix has segments of other columns", hint
    for column, values in matrix.segments.items():
        spot: Place = ("matrix", "segments", column)
        feature = features.get(column)
        if feature is None:
            hint = did_you_mean(column, features) or "a segment is told by a feature: the service must know it too"
            yield spot, f"segment {column!r} is no feature", hint
        else:
            yield from _values(spot, values, feature)


def _values(spot: Place, values: Sequence[SegmentValue], feature: Feature) -> Iterator[PlacedFault]:
    if not values:
        yield spot, "has no values", "list the values that have a model each"
    for text, times in Counter(map(str, values)).items():
        if times > 1:
            yield spot, f"names {text} {times} times", "name it once"
    for value in values:
        if feature.dtype == "string":
            if feature.allowed is not None and value not in feature.allowed:
                yield spot, f"has the value {value!r}, which the feature does not allow", f"allowed: {feature.allowed}"
        elif isinstance(value, str):
            yield spot, f"has the value {value!r}, and the feature is a number", "write the number"
        elif feature.allowed is not None and value not in feature.allowed:
            yield spot, f"has the value {value}, which the feature does not allow", f"allowed: {feature.allowed}"
        elif not _inside(float(value), feature):
            yield spot, f"has the value {value}, outside the feature's range", "name a value that rows can have"


def _inside(value: float, feature: Feature) -> bool:
    low = float("-inf") if feature.min is None else feature.min
    high = float("inf") if feature.max is None else feature.max
    return low <= value <= high


def _estimators(model: Model, matrix: Matrix) -> Iterator[PlacedFault]:
    if matrix.estimators and model.estimator:
        text = "estimator stands in the model and in its matrix"
        yield ("estimator",), text, "leave it out; the matrix names them all"
    if matrix.estimators and model.params:
        yield ("params",), "params stand in the model and its estimators in the matrix", "write them in each estimator"
    for short, estimator in matrix.estimators.items():
        yield from _fields(short, estimator, model, matrix)


def _fields(short: str, estimator: MatrixEstimator, model: Model, matrix: Matrix) -> Iterator[PlacedFault]:
    spot: Place = ("matrix", "estimators", short)
    allowed = set(type(model).model_fields) - NOT_OF_AN_ESTIMATOR
    unknown = sorted(set(estimator.model_extra or {}) - allowed)
    for field in unknown:
        yield (*spot, field), f"unknown key {field!r} of an estimator", did_you_mean(field, allowed)
    if unknown:
        return
    try:
        concrete_model(model, matrix, estimator=short, features=None)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            where = tuple(part for part in item["loc"] if isinstance(part, str | int))
            yield (*spot, *where), f"{'.'.join(map(str, where))}: {item['msg']}", ""


def _feature_sets(matrix: Matrix, system: System) -> Iterator[PlacedFault]:
    for short, names in matrix.feature_sets.items():
        spot: Place = ("matrix", "feature_sets", short)
        if not names:
            yield spot, "has no features", "list at least one"
        yield from name_faults(spot, names, system.features(), "feature")


def _names(name: str, matrix: Matrix, system: System) -> Iterator[PlacedFault]:
    taken = {other for other, declared in system.models.items() if declared.matrix is None}
    names = Counter(variant_names(name, matrix))
    for concrete, times in names.items():
        if times > 1 or concrete in taken:
            yield ("matrix",), f"gives {concrete!r} to two models", "use other values or short names"
        if len(concrete) > NAME_LENGTH:
            text = f"gives a model the name {concrete!r} of {len(concrete)} letters; {NAME_LENGTH} are allowed"
            yield ("matrix",), text, "use shorter names"
