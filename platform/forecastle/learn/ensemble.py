"""Several models as one: the mean of calibrated probabilities, by the members of the segment that a row is of.

Belongs here: the members' bytes in one file, opening it, which members answer a row, their mean.
Does not belong here: choosing members (`choose.py`), building the bundle (`combine.py`). Served: opens each member as
`scorer.py` opens a bundle's model.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecastle.contract.category import NO_CODES, Codes
from forecastle.contract.errors import BundleError
from forecastle.contract.matrix import Segment, SegmentValue
from forecastle.learn.bundle import Bundle, canonical_json
from forecastle.learn.explanation import Explanation
from forecastle.learn.scorer import Scorer, scorer_of
from forecastle.learn.scoring import PICKLE, scoring_from_json
from forecastle.measure.calibrators import Calibrator, calibrator_from_json

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EnsembleMember:
    """One model within an ensemble: the columns of a row that it sees, and the rows that it answers (None: others)."""

    name: str
    columns: tuple[int, ...]
    segment: Segment | None
    scorer: Scorer
    calibrator: Calibrator

    def probabilities(self, matrix: FloatArray) -> FloatArray:
        """Calibrated probabilities (n,) of rows in the ensemble's order of features."""
        return self.calibrator.apply(self.scorer.scores(np.ascontiguousarray(matrix[:, self.columns])))

    def probability(self, values: Sequence[float]) -> float:
        """The same of one row, bit for bit."""
        return float(self.calibrator.apply_scalar(self.scorer.score_row([values[column] for column in self.columns])))


class Ensemble:
    """A scorer of several members; a row without one is answered by NaN, which is no probability.

    The members of a row are those of its segment, else those without a segment.
    """

    def __init__(self, members: Sequence[EnsembleMember], *, features: Sequence[str], codes: Codes = NO_CODES) -> None:
        """`features` are the columns of a row, in order; every segment's column is one of them.

        `codes` are the numbers of those features that are words.
        """
        self.width = len(features)
        self.members = tuple(members)
        columns = dict.fromkeys(name for member in members for name in member.segment or {})
        self._by = tuple(list(features).index(name) for name in columns)
        self._routes: dict[tuple[float, ...] | None, tuple[EnsembleMember, ...]] = {}
        for member in self.members:
            segment = member.segment
            place = None if segment is None else tuple(_number(segment[name], codes.get(name)) for name in columns)
            self._routes[place] = (*self._routes.get(place, ()), member)

    def scores(self, matrix: FloatArray) -> FloatArray:
        """Means (n,) of the members' probabilities; NaN where a row has no member."""
        found = np.full(len(matrix), np.nan)
        rest = np.ones(len(matrix), dtype=bool)
        for place, members in self._routes.items():
            if place is not None:
                rows = np.all(matrix[:, self._by] == np.array(place), axis=1)
                rest &= ~rows
                found[rows] = _mean(members, matrix[rows])
        found[rest] = _mean(self._routes.get(None, ()), matrix[rest])
        return found

    def score_row(self, values: Sequence[float]) -> float:
        """The mean for one row, the bits that `scores` gives."""
        members = self.members_of(values)
        if not members:
            return math.nan
        total = 0.0
        for member in members:
            total += member.probability(values)
        return total / len(members)

    def members_of(self, values: Sequence[float]) -> tuple[EnsembleMember, ...]:
        """Who answers a row; nobody where its segment has no model and there is none for all rows."""
        place = tuple(float(values[column]) for column in self._by)
        return self._routes.get(place) or self._routes.get(None, ())

    def answered_by(self, values: Sequence[float]) -> str:
        """The names of a row's members, as its receipt tells them."""
        return ", ".join(member.name for member in self.members_of(values))

    def explain_row(self, values: Sequence[float]) -> Explanation | None:  # noqa: ARG002
        """None: a mean of calibrated probabilities has no sum of log-odds."""
        return None


def ensemble_bytes(members: Sequence[tuple[str, Segment | None, Bundle]]) -> bytes:
    """The file of an ensemble: of each member (name, segment, bundle) all that is needed to open it; same in, same out.

    Raises:
        BundleError: a member is a pickle; what an ensemble holds must be safe to open.
    """
    for name, _, bundle in members:
        if bundle.scoring.kind == PICKLE:
            raise BundleError(f"{name} is a pickle, and an ensemble holds none: choose another estimator or `best`")
    return canonical_json({"members": [_member_json(*member) for member in members]})


def open_ensemble(content: bytes, *, features: Sequence[str], codes: Codes = NO_CODES) -> Ensemble:
    """Open what `ensemble_bytes` wrote; `features` is the order of the ensemble's rows, `codes` as `Ensemble` takes it.

    Raises:
        BundleError: the file is not of this shape, a member cannot be opened or asks for a feature that is not there.
    """
    try:
        members = [_member(data, list(features)) for data in json.loads(content)["members"]]
        if not members:
            raise BundleError("an ensemble has at least one member; build the bundle again")
        return Ensemble(members, features=features, codes=codes)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"the ensemble cannot be read: {error!r}; build the bundle again") from error


def _number(value: SegmentValue, words: Mapping[str, float] | None) -> float:
    """What a row of a segment has in its column."""
    return float(value) if words is None else words[str(value)]


def _member_json(name: str, segment: Segment | None, bundle: Bundle) -> dict[str, Any]:
    names = bundle.feature_set.model_features
    return {
        "name": name,
        "segment": None if segment is None else dict(segment),
        "bundle": bundle.hash,
        "model_version": bundle.facts.get("model_version"),
        "features": list(names),
        "start_from": None if bundle.start is None else names[bundle.start],
        "scoring": bundle.scoring.to_json(),
        "calibrator": bundle.calibrator.to_json(),
        "model": base64.b64encode(bundle.model_bytes).decode(),
    }


def _member(data: Mapping[str, Any], features: list[str]) -> EnsembleMember:
    scoring = scoring_from_json(data["scoring"])
    if scoring.kind == PICKLE:
        raise BundleError(f"member {data['name']!r} is a pickle, and an ensemble holds none")
    content, names, start = base64.b64decode(data["model"]), list(data["features"]), data["start_from"]
    scorer = scorer_of(
        content,
        scoring,
        start=None if start is None else names.index(start),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    if scorer.width != len(names):
        raise BundleError(f"member {data['name']!r} takes {scorer.width} values and names {len(names)} features")
    return EnsembleMember(
        name=data["name"],
        columns=tuple(features.index(name) for name in names),
        segment=data["segment"],
        scorer=scorer,
        calibrator=calibrator_from_json(data["calibrator"]),
    )


def _mean(members: Sequence[EnsembleMember], matrix: FloatArray) -> FloatArray:
    """Added up in the members' order, as one row is: floating-point sums depend on it."""
    if not members or not len(matrix):
        return np.full(len(matrix), np.nan)
    total = np.zeros(len(matrix))
    for member in members:
        total = total + member.probabilities(matrix)
    return total / len(members)
