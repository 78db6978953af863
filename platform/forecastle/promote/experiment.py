"""The read-out of an experiment: champion and challenger on the entities that fell to each, in one phase of a trial.

Belongs here: units, arms and metrics of served answers; the table and its sentences.
Does not belong here: the statistics (`measure/experiment.py`), advancing a trial (`rollout.py`).
An entity is the unit: it was assigned once, by a hash, and all of its answers are one arm's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from forecastle.measure.experiment import Readout, SampleRatio, arm_summary, sample_ratio, sequential_read_out
from forecastle.promote.rollout_evidence import judged_answers

EXPERIMENT_COLUMNS: Final = (
    "metric", "control", "treatment", "control_mean", "treatment_mean", "difference", "low", "high", "p_value",
    "verdict", "reason",
)  # fmt: skip
UNITS_MIN: Final = 30


@dataclass(frozen=True, slots=True)
class ExperimentReadout:
    """What one phase of a trial says; `table` has `EXPERIMENT_COLUMNS`, one row a metric, none while units are few.

    `waiting` answers are of the phase and not final: their outcomes are not counted before they had their time.
    """

    ratio: SampleRatio | None
    table: pd.DataFrame
    waiting: int
    reasons: tuple[str, ...]


def experiment_read_out(
    outcomes: pd.DataFrame, *, shares: Mapping[str, float], keys: Sequence[str], metric: str | None = None
) -> ExperimentReadout:
    """Compare the arms of `shares` (control first) on answers that were given since the phase began.

    `outcomes` are rows of the outcomes table of that phase, `keys` the columns that name the entity, `metric` a numeric
    label column that is compared beside the Brier score. The sample ratio is tested on every entity that was asked
    about, the metrics on entities whose outcomes are final. All statements are anytime-valid at 95 %.
    """
    asked = outcomes[outcomes["variant"].isin(list(shares))].dropna(subset=list(keys))
    if asked.empty:
        return ExperimentReadout(None, _table([]), 0, ("nobody was asked about in this phase yet",))
    arms = asked.groupby(list(keys))["variant"].agg(["first", "nunique"])
    mixed = int((arms["nunique"] > 1).sum())
    counts = {arm: int((arms["first"] == arm).sum()) for arm in shares}
    ratio = sample_ratio(counts, shares)
    pure = asked.set_index(list(keys)).loc[arms.index[arms["nunique"] == 1]].reset_index()
    judged = judged_answers(pure)
    judged = judged.assign(brier=(judged["probability"] - judged["outcome"]) ** 2)
    read = [_read(judged, name, list(shares), keys, ratio) for name in ("brier", *([metric] if metric else []))]
    waiting = int((pure["status"].isin(["waiting", "known"]) & ~pure["is_mature"]).sum())
    reasons = [*ratio.reasons, *(sentence for sentence, _ in read)]
    if mixed:
        reasons.append(f"{mixed} entities were answered by both arms and are left out")
    return ExperimentReadout(ratio, _table([row for _, row in read if row is not None]), waiting, tuple(reasons))


def _read(
    judged: pd.DataFrame, metric: str, arms: Sequence[str], keys: Sequence[str], ratio: SampleRatio
) -> tuple[str, dict[str, object] | None]:
    known = judged.dropna(subset=[metric])
    means = known.groupby([*keys, "variant"])[metric].mean().reset_index()
    values = [means.loc[means["variant"] == arm, metric].to_numpy(np.float64) for arm in arms]
    control, treatment = (len(v) for v in values)
    if min(control, treatment) < UNITS_MIN or all(v.var() == 0 for v in values):
        return (
            f"{metric}: {control} and {treatment} entities with a final outcome; {UNITS_MIN} in each arm are needed",
            None,
        )
    read = sequential_read_out(*(arm_summary(v) for v in values), ratio=ratio)
    return _sentence(metric, read), {
        "metric": metric, "control": control, "treatment": treatment, "control_mean": read.control.mean,
        "treatment_mean": read.treatment.mean, "difference": read.estimate, "low": read.low, "high": read.high,
        "p_value": read.p_value, "verdict": read.verdict, "reason": _sentence(metric, read),
    }  # fmt: skip


def _sentence(metric: str, read: Readout) -> str:
    return (
        f"{metric}: challenger − champion {read.estimate:+.4f}, anytime-valid 95 % interval {read.low:+.4f} to"
        f" {read.high:+.4f} ({read.control.n} and {read.treatment.n} entities): {read.verdict}"
    )


def _table(rows: list[dict[str, object]]) -> pd.DataFrame:
    kinds = dict.fromkeys(("metric", "verdict", "reason"), "str") | dict.fromkeys(("control", "treatment"), "int64")
    floats = dict.fromkeys(("control_mean", "treatment_mean", "difference", "low", "high", "p_value"), "float64")
    return pd.DataFrame(rows, columns=list(EXPERIMENT_COLUMNS)).astype(kinds | floats)
