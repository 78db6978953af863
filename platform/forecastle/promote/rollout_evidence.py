"""Evidence of a trial: champion and challenger on the same requests, once their outcomes are final.

Belongs here: which answers may be judged, the anytime-valid bounds of their Brier difference, the gates of a canary.
Does not belong here: computing either bundle's answers (`serve/replay.py`), what follows from it (`rollout.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from forecastle.contract.system import System
from forecastle.measure.arrays import FloatArray
from forecastle.measure.confidence_sequence import SequenceState
from forecastle.measure.multiple import benjamini_hochberg
from forecastle.promote.gates import GateResult
from forecastle.promote.rollout import Evidence

ALPHA: Final = 0.05

# Brier differences of two similar models vary little: the bounds are tightest where a phase usually ends.
_V_OPT: Final = 10.0
_BOTH: Final = ("challenger", "champion")


def judged_answers(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Rows of the outcomes table that may be judged: an outcome is known, and every outcome had its time to come.

    In the order in which they became so, which more of them do not change, only a source that takes over from a caller.
    """
    final = outcomes[outcomes["outcome"].notna() & outcomes["is_mature"]]
    judged_at = final[["matures_at", "first_known_at"]].max(axis=1)
    return final.assign(judged_at=judged_at).sort_values(["judged_at", "sequence"], kind="stable")


def once_each(judged: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Of the answers that wait for the same outcome the first: `keys` name the entity, `first_known_at` its outcome.

    A caller does not say which outcome of an entity it is, so of what callers told each entity counts once; what was
    asked without an entity counts by itself.
    """
    by_caller = judged["told_by"].eq("caller") if "told_by" in judged else pd.Series(False, index=judged.index)
    moment = judged["first_known_at"].where(~by_caller)
    repeated = judged.assign(first_known_at=moment).duplicated([*keys, "first_known_at"])
    return judged[~repeated | judged[list(keys)].isna().any(axis=1)]


def rollout_evidence(outcomes: pd.DataFrame, pairs: pd.DataFrame, *, declared: System) -> Evidence:
    """What the answers since the start of a trial say of its challenger.

    `outcomes` are rows of the outcomes table, `pairs` holds for a `prediction_id` what `champion` and `challenger` say
    to that request (probabilities; NaN where a bundle reads features that the other did not log) and whether the
    challenger said it then (`is_said`) or was asked afterwards. An outcome that several answers wait for counts once,
    with the first of them. `rows` counts what the challenger said; the bounds rest on all requests that both have a
    number for. Where none has, each is judged on its own entities, which a hash gave it: wider bounds of the same.
    Every statement is anytime-valid at 95 %: of the Brier difference, of the challenger's calibration, and of the
    slices together (Benjamini-Hochberg on e-values: Wang & Ramdas 2022; Bonferroni where nothing is paired).
    Different outcomes are taken as independent of one another; several of one game or day are fewer than they count.

    Raises:
        MeasureError: an outcome or a probability lies outside [0, 1].
    """
    judged = judged_answers(outcomes).merge(pairs, on="prediction_id", how="inner")
    rows = once_each(judged, list(declared.entity_of_label().keys))
    pending = outcomes["status"].isin(["waiting", "known"]) & ~outcomes["is_mature"]
    if rows.empty:
        return Evidence(0, (), (), -1.0, 1.0, waiting=int(pending.sum()))
    errors = (rows["challenger"] - rows["outcome"]).dropna().to_numpy(np.float64)
    losses = {name: (rows[name] - rows["outcome"]) ** 2 for name in _BOTH}
    # From here on both columns hold losses.
    rows = rows.assign(**losses, excess=losses["challenger"] - losses["champion"])
    is_paired = bool(rows["excess"].notna().any())
    low, high = _bounds(rows, is_paired=is_paired)
    slices, margin = declared.evaluate.slices, declared.rollout.canary.margin
    return Evidence(
        rows=int(rows["is_said"].sum()),
        predictive=(_calibration(errors, maximum=declared.gates.miscalibration_max),) if errors.size else (),
        fairness=_fairness(rows, slices, margin=margin, is_paired=is_paired),
        low=low,
        high=high,
        waiting=int(pending.sum()),
        is_paired=is_paired,
    )


def _bounds(rows: pd.DataFrame, *, is_paired: bool, level: float = 1.0 - ALPHA) -> tuple[float, float]:
    """Of the mean loss of the challenger minus the champion's, at all times together."""
    if is_paired:
        excess = rows["excess"].dropna().to_numpy(np.float64)
        return SequenceState(2.0, level=level, v_opt=_V_OPT).update_many(excess).interval()
    each = SequenceState(1.0, level=(1.0 + level) / 2.0, v_opt=_V_OPT)
    ours, theirs = (each.update_many(rows[name].dropna().to_numpy(np.float64) - 0.5).interval() for name in _BOTH)
    return ours[0] - theirs[1], ours[1] - theirs[0]


def _calibration(errors: FloatArray, *, maximum: float) -> GateResult:
    """Fails when miscalibration is certainly too large: it is at least the square of the mean error (Jensen)."""
    low, high = SequenceState(2.0, v_opt=_V_OPT).update_many(errors).interval()
    least = max(low, -high, 0.0) ** 2
    word = "within" if least <= maximum else "above"
    numbers = f"probability minus outcome is on average in [{low:+.4f}, {high:+.4f}]"
    reason = f"{numbers}, so miscalibration is at least {least:.5f}: {word} {maximum:g}"
    return GateResult("calibration", least <= maximum, reason)


def _fairness(rows: pd.DataFrame, slices: Sequence[str], *, margin: float, is_paired: bool) -> tuple[GateResult, ...]:
    """One gate a declared slice column: no group is certainly worse off by more than the margin."""
    if not slices:
        return (GateResult("fairness", passed=True, reason="no slices are declared, so no groups are compared"),)
    asked = rows[rows["excess"].notna()] if is_paired else rows
    groups = [(name, value, part) for name in slices for value, part in asked.groupby(name, sort=True)]
    parts = [part for _, _, part in groups]
    told = _worse_pairs(parts, margin) if is_paired else _worse_arms(parts, margin)
    worse: dict[str, list[str]] = {name: [] for name in slices}
    for (name, value, _), how in zip(groups, told, strict=True):
        if how is not None:
            worse[name].append(f"{value} ({how})")
    return tuple(
        GateResult(f"fairness/{name}", passed=False, reason=f"{name}: worse by more than {margin:g} for {', '.join(w)}")
        if w
        else GateResult(f"fairness/{name}", passed=True, reason=f"{name}: no group is known to be worse by {margin:g}")
        for name, w in worse.items()
    )


def _worse_pairs(groups: Sequence[pd.DataFrame], margin: float) -> list[str | None]:
    """Of each group by how much it is worse off, None where that is not certain; both spoke on every row."""
    q_values = benjamini_hochberg([_p_value(group["excess"].to_numpy(), margin) for group in groups])
    return [
        f"{group['excess'].mean():+.4f} on {len(group)} rows, q {q:.2g}" if q <= ALPHA else None
        for group, q in zip(groups, q_values, strict=True)
    ]


def _worse_arms(groups: Sequence[pd.DataFrame], margin: float) -> list[str | None]:
    """The same where each spoke on its own rows."""
    told: list[str | None] = []
    for group in groups:
        low, _ = _bounds(group, is_paired=False, level=1.0 - ALPHA / len(groups))
        ours, theirs = (group[name] for name in _BOTH)
        text = f"{ours.mean() - theirs.mean():+.4f} between {ours.count()} and {theirs.count()} rows"
        told.append(text if low > margin else None)
    return told


def _p_value(excess: FloatArray, margin: float) -> float:
    """Anytime-valid p-value against "the mean excess is at most the margin": one over its e-value."""
    state = SequenceState(2.0 * (1.0 + margin), v_opt=_V_OPT).update_many(excess - margin)
    return math.exp(min(-state.log_e_values()[0], 0.0))
