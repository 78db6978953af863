"""Declared conditions for promotion.

Belongs here: the fields under `gates:`.
Does not belong here: what they may not say together (`gates_check.py`), measuring and judging
(`promote/gate_evidence.py`, `promote/gates.py`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from forecastle.contract.column import Declared
from forecastle.contract.types import Name

FairnessMeasure = Literal["mean_error", "brier", "selection_rate", "true_positive_rate", "false_positive_rate"]


class FairnessGate(Declared):
    """Groups that a model must treat alike, by one measure."""

    groups: list[Name] = Field(min_length=1, description="Label columns; each value of one is a group.")
    measure: FairnessMeasure = Field(
        "mean_error",
        description="mean_error: probability minus outcome; brier: squared error; rates: share of the rows (of those "
        "with outcome 1, or 0) whose probability is at least `threshold`.",
    )
    difference_max: float = Field(
        gt=0, le=1, description="A group may differ from all other rows by at most this, as far as is known."
    )
    threshold: float = Field(0.5, ge=0, le=1, description="From this probability on a row is selected.")
    rows_min: int = Field(100, ge=2, description="Smaller groups are shown and not judged.")


class LatencyGate(Declared):
    """How long the bundle may take for one row, alone and in process."""

    p99_ms: float = Field(gt=0, description="Largest 99th percentile of model and calibrator for one row, in ms.")
    rows: int = Field(2_000, ge=500, description="Rows timed, one by one, after a tenth as many that are not.")


class Gates(Declared):
    """Conditions for promotion; every comparison carries an interval."""

    brier_margin: float = Field(0.0, ge=0, description="Brier may exceed the baseline's by at most this.")
    champion_margin: float = Field(0.0, ge=0, description="Brier may exceed the champion's by at most this.")
    miscalibration_max: float = Field(
        gt=0, le=1, description="Miscalibration (CORP, Brier) may be at most this, its whole interval."
    )
    suspicious_gain: float = Field(gt=0, le=1, description="A Brier gain on the baseline above this means a leak.")
    rows_min: int = Field(200, ge=1, description="Fewest test rows a decision may rest on.")
    fairness: list[FairnessGate] = Field(default_factory=list, description="Groups that must be treated alike.")
    latency: LatencyGate | None = Field(None, description="How long one answer of the bundle may take.")
    parity: bool = Field(
        True, description="The parity check passed for the feature tables as they are; false: it may be older."
    )
    leakage: bool = Field(True, description="The leakage check passed for the very rows the model was trained on.")
