"""Which of many models asks to become champion: by what each said of training rows that it had not seen.

Belongs here: held-out rows of a model, their comparison, the members that are chosen for each segment.
Does not belong here: the gates on test rows (`gates.py`), several models as one (`ensemble.py`).
The test rows choose nothing: the best of fifty on them would be the luckiest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecastle.contract.errors import LearnError
from forecastle.contract.load import LoadedSystem
from forecastle.contract.matrix import Segment
from forecastle.learn.build import cluster_column, segment_mask
from forecastle.learn.cross_fit import cluster_folds
from forecastle.learn.train import TrainedModel
from forecastle.measure.calibrators import inside
from forecastle.measure.intervals import clustered_mean
from forecastle.measure.recalibration import fit_calibrator
from forecastle.measure.scores import log_scores

FloatArray = NDArray[np.float64]

CALIBRATION_FOLDS: Final = 5
CHOICE_COLUMNS: Final = ("model", "segment", "rows", "log_loss", "excess", "excess_se", "chosen")


@dataclass(frozen=True, slots=True)
class Member:
    """A chosen model and the rows that it answers (None: all that no other segment has)."""

    model: str
    segment: Segment | None


@dataclass(frozen=True)
class Choice:
    """The models that were chosen and why.

    `table` has one row a model (columns `CHOICE_COLUMNS`): log loss in nats a held-out row, what it is above the
    lowest of its segment and that difference's standard error over clusters.
    """

    members: tuple[Member, ...]
    table: pd.DataFrame
    reasons: tuple[str, ...]

    @property
    def is_one_model(self) -> bool:
        """One model answers every row, so its own bundle is the candidate."""
        return len(self.members) == 1 and self.members[0].segment is None


def held_out_rows(system: LoadedSystem, trained: TrainedModel, frame: pd.DataFrame) -> pd.DataFrame:
    """What a model said of its training rows without having seen them, calibrated by folds that did not hold them.

    Args:
        system: declares the cluster column.
        trained: the model.
        frame: the training set, all rows.

    Returns:
        Columns row (position in the training set), cluster, outcome and probability, one row a training row.
    """
    segment = system.declaration.models[trained.name].segment
    among = np.arange(len(frame)) if segment is None else np.flatnonzero(segment_mask(frame, segment))
    rows = among[trained.split.train]
    outcomes = frame["outcome"].to_numpy(np.float64)[rows]
    clusters = frame[cluster_column(system)].to_numpy()[rows]
    probability = cross_calibrated(trained.calibrator.name, outcomes, trained.held_out, clusters)
    return pd.DataFrame({"row": rows, "cluster": clusters, "outcome": outcomes, "probability": probability})


def cross_calibrated(name: str, outcomes: FloatArray, scores: FloatArray, clusters: NDArray[np.generic]) -> FloatArray:
    """Scores (n,) calibrated by calibrators of one kind, each fitted on the clusters of the other folds.

    A calibrator fitted on the very rows that it is judged on would favour the kind with the most steps.
    """
    folds = min(CALIBRATION_FOLDS, len(pd.unique(clusters)))
    fold = cluster_folds(clusters, folds=folds, seed=0)
    probability = np.empty_like(scores)
    for number in range(folds):
        held_out = fold == number
        calibrator = fit_calibrator(name, outcomes[~held_out], scores[~held_out])
        probability[held_out] = calibrator.apply(scores[held_out])
    return probability


def choose(system: LoadedSystem, held_out: Mapping[str, pd.DataFrame]) -> Choice:
    """Choose, for each segment, the model of lowest held-out log loss, or the `top` ones where an ensemble is declared.

    Args:
        system: declares `promote` and each model's segment.
        held_out: of each model that was made, as `held_out_rows` gives them.

    Raises:
        LearnError: no model was made, or two of one segment were trained on different rows.
    """
    if not held_out:
        raise LearnError("no model was made, so there is none to choose; read why each one failed")
    promote = system.declaration.promote
    most = promote.top if promote.choose == "ensemble" else 1
    tables, members, reasons = [], [], []
    for label, names in _by_segment(system, held_out).items():
        table = _compared({name: held_out[name] for name in names}, segment=label)
        table["chosen"] = np.arange(len(table)) < most
        tables.append(table)
        segment = system.declaration.models[names[0]].segment
        members += [Member(name, segment) for name in table["model"][table["chosen"]]]
        reasons.append(_reason(table, most=most))
    return Choice(tuple(members), pd.concat(tables, ignore_index=True), tuple(reasons))


def segment_text(segment: Segment | None) -> str:
    """A segment in words, such as `sex = 2`."""
    return "all rows" if segment is None else ", ".join(f"{column} = {value}" for column, value in segment.items())


def _by_segment(system: LoadedSystem, held_out: Mapping[str, pd.DataFrame]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in held_out:
        found.setdefault(segment_text(system.declaration.models[name].segment), []).append(name)
    return found


def _compared(tables: Mapping[str, pd.DataFrame], *, segment: str) -> pd.DataFrame:
    """Models of one segment, lowest log loss first; equal ones in the order of the declaration."""
    first = next(iter(tables.values()))
    if any(not table["row"].equals(first["row"]) for table in tables.values()):
        raise LearnError(f"models of {segment} were trained on different rows: materialise all of them again")
    outcomes, clusters = first["outcome"].to_numpy(np.float64), first["cluster"].to_numpy()
    losses = {
        name: log_scores(outcomes, inside(table["probability"].to_numpy(np.float64))) for name, table in tables.items()
    }
    best = min(losses.values(), key=lambda loss: float(loss.mean()))
    rows = []
    for name, loss in losses.items():
        excess, error = (0.0, 0.0) if loss is best else clustered_mean(loss - best, clusters)
        rows.append((name, segment, len(loss), float(loss.mean()), excess, error, False))
    return pd.DataFrame(rows, columns=list(CHOICE_COLUMNS)).sort_values("log_loss", kind="stable", ignore_index=True)


def _reason(table: pd.DataFrame, *, most: int) -> str:
    best, segment = table.iloc[0], table["segment"].iloc[0]
    chosen = list(table["model"][table["chosen"]])
    told = f"of {len(table)} models of {segment}, {best['model']} has the lowest held-out log loss, "
    told += f"{best['log_loss']:.6f} on {best['rows']} rows"
    return told if most == 1 else f"{told}; together with it answer {', '.join(chosen[1:]) or 'no others'}"
