"""`matrix`: one declared model that stands for many, a segment, an estimator and a feature set each.

Belongs here: the declaration of a matrix, and the concrete models that it expands to, with their names.
Does not belong here: what is wrong with a matrix (`matrix_check.py`), training (`learn/`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic import ConfigDict, Field

from forecastle.contract.column import Declared
from forecastle.contract.tuning import Param
from forecastle.contract.types import EstimatorPath, Name

if TYPE_CHECKING:
    from forecastle.contract.system import Model

SEPARATOR: Final = "__"
NOT_OF_AN_ESTIMATOR: Final = frozenset({"matrix", "score", "features", "description"})
"""Fields of a model that one estimator of its matrix cannot say: they are the whole matrix's."""

SegmentValue = str | int | bool
Segment = Mapping[str, SegmentValue]
"""The rows that a model is trained on and answers: those equal to each value in its column."""


class MatrixEstimator(Declared):
    """One estimator of a matrix; each field of a model that it names stands in place of what the model says."""

    model_config = ConfigDict(extra="allow")

    estimator: EstimatorPath
    params: dict[str, Param] = Field(default_factory=dict)


class Matrix(Declared):
    """Segments × estimators × feature sets; any of the three may be absent."""

    segments: dict[Name, list[SegmentValue]] = Field(
        default_factory=dict,
        description="Column and its values; one model for each value (each combination where several columns are "
        "named), trained on those rows alone.",
    )
    estimators: dict[Name, MatrixEstimator] = Field(
        default_factory=dict, description="Short name and estimator; in place of the model's own estimator."
    )
    feature_sets: dict[Name, list[Name]] = Field(
        default_factory=dict, description="Short name and features; in place of the model's own features."
    )


def expand(models: Mapping[str, Model]) -> dict[str, Model]:
    """Concrete models by name, in the order of the declaration: a matrix becomes all of its models.

    A model without a matrix keeps its name. The others are named NAME__SEGMENT__ESTIMATOR__FEATURES, without the
    parts that their matrix does not have.

    Raises:
        ValueError: a field of an estimator is none of a model, or not of a value that the field takes.
    """
    found: dict[str, Model] = {}
    for name, model in models.items():
        if model.matrix is None:
            found[name] = model
        else:
            found.update(variants(name, model, model.matrix))
    return found


def variants(name: str, model: Model, matrix: Matrix) -> Iterator[tuple[str, Model]]:
    """The concrete models of one matrix with their names; two may have one name where labels meet."""
    concrete = {
        (estimator, features): concrete_model(model, matrix, estimator=estimator, features=features)
        for estimator in matrix.estimators or (None,)
        for features in matrix.feature_sets or (None,)
    }
    for segment, *chosen in itertools.product(segments(matrix), *_short_names(matrix)):
        found = concrete[(chosen[0], chosen[1])].of_group(name, segment)
        yield _name(name, segment, chosen), found


def variant_names(name: str, matrix: Matrix) -> Iterator[str]:
    """The names of the concrete models of one matrix."""
    for segment, *chosen in itertools.product(segments(matrix), *_short_names(matrix)):
        yield _name(name, segment, chosen)


def _short_names(matrix: Matrix) -> tuple[Sequence[str | None], Sequence[str | None]]:
    """Short names of estimators and of feature sets; one None where there are none."""
    return tuple(matrix.estimators) or (None,), tuple(matrix.feature_sets) or (None,)


def _name(name: str, segment: Segment | None, chosen: Sequence[str | None]) -> str:
    return SEPARATOR.join(filter(None, [name, segment_label(segment) if segment else None, *chosen]))


def segments(matrix: Matrix) -> list[Segment | None]:
    """Every combination of the segments' values; one None where no segment is declared."""
    if not matrix.segments:
        return [None]
    return [dict(zip(matrix.segments, values, strict=True)) for values in itertools.product(*matrix.segments.values())]


def segment_label(segment: Segment) -> str:
    """The segment in a name: its values, with nothing in them but lower-case letters, digits and single _."""
    return "_".join(_label(value) for value in segment.values())


def concrete_model(model: Model, matrix: Matrix, *, estimator: str | None, features: str | None) -> Model:
    """The model with one estimator and one feature set of its matrix, by their short names.

    Raises:
        ValueError: a field of the estimator is none of a model, or not of a value that the field takes.
    """
    changed: dict[str, Any] = {"matrix": None}
    if estimator is not None:
        chosen = matrix.estimators[estimator]
        changed |= {"estimator": chosen.estimator, "params": chosen.params, **(chosen.model_extra or {})}
    if features is not None:
        changed["features"] = list(matrix.feature_sets[features])
    return type(model).model_validate(_declared(model) | changed)


def _declared(model: Model) -> dict[str, Any]:
    """What was declared, so that an estimator may say the rest."""
    return {name: getattr(model, name) for name in model.model_fields_set}


def _label(value: SegmentValue) -> str:
    text = str(value).lower().replace("-", "minus" if isinstance(value, int) else "_")
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")


def group_names(models: Mapping[str, Model]) -> dict[str, tuple[str, ...]]:
    """Names of the concrete models of each matrix, by the name that was declared."""
    grouped: dict[str, list[str]] = {}
    for name, model in models.items():
        if model.group is not None:
            grouped.setdefault(model.group, []).append(name)
    return {group: tuple(names) for group, names in grouped.items()}


def segment_columns(models: Sequence[Model]) -> tuple[str, ...]:
    """The columns that divide the models' rows, each once, in the order of the declaration."""
    return tuple(dict.fromkeys(column for model in models for column in model.segment or {}))
