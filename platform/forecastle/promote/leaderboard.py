"""All models of a system in one table: what each is worth on its test rows, and which were chosen before.

Belongs here: joining scores, intervals and the choice; the correction for how many models were looked at.
Does not belong here: scores (`evaluate.py`), choosing (`choose.py`), the picture (`draw/leaderboard.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from forecastle.contract.matrix import Segment
from forecastle.learn.choose import Choice, segment_text
from forecastle.learn.evaluate import BASELINE, MODEL, Evaluation
from forecastle.measure.multiple import holm
from forecastle.promote.gates import Decision

BOARD_COLUMNS: Final = (
    "segment", "held_out_log_loss", "chosen", "difference", "difference_low", "difference_high", "p_adjusted", "gates",
)  # fmt: skip
# Half of a 95 % interval in standard errors.
_HALF: Final = 1.959963984540054


def against_baseline(evaluation: Evaluation) -> str:
    """The comparison with the baseline as JSON text, to be kept beside the scores."""
    found = evaluation.comparison(BASELINE)
    if found is None:
        return "null"
    return json.dumps([found.difference.estimate, found.difference.low, found.difference.high])


def leaderboard(
    scores: Mapping[str, pd.DataFrame],
    differences: Mapping[str, str],
    segments: Mapping[str, Segment | None],
    decisions: Mapping[str, Decision],
    choice: Choice,
    *,
    failed: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """One row a forecaster, lowest Brier first: each model under its name; baseline and champion once a segment.

    Args:
        scores: of each model, as `Evaluation.scores`.
        differences: of each model, as `against_baseline` gives it.
        segments: of each model.
        decisions: what the gates say of each model.
        choice: which were chosen on held-out rows.
        failed: why each model is not of the newest training; they come last, without scores.

    Returns:
        The columns of the scores and `BOARD_COLUMNS`: `difference` is Brier minus the baseline's on the same rows with
        its 95 % interval, `p_adjusted` the p-value of no difference (normal, from the interval's width) by Holm over
        all models: of fifty worthless models two or three would pass 5 % unadjusted; `gates` is "passed", the first
        refusal or "failed: " and why, empty where there is no decision.
    """
    failed = failed or {}
    rows = [row for name in scores for row in _rows(name, scores[name], differences[name], segments[name])]
    rows += [{"forecaster": n, "slice": "all", "segment": segment_text(segments[n])} for n in failed]
    table = pd.DataFrame(rows).drop_duplicates("forecaster").sort_values("brier", kind="stable", ignore_index=True)
    held_out = choice.table.set_index("model")
    table["held_out_log_loss"] = table["forecaster"].map(held_out["log_loss"]).astype(float)
    table["chosen"] = table["forecaster"].isin(held_out.index[held_out["chosen"]])
    error = (table["difference_high"] - table["difference_low"]) / (2 * _HALF)
    known = error.notna() & (error > 0)
    told = {name: "passed" if d.promote else f"refused: {d.reasons[0]}" for name, d in decisions.items()}
    told |= {name: f"failed: {reason}" for name, reason in failed.items()}
    table["gates"] = table["forecaster"].map(told).fillna("")
    table["p_adjusted"] = np.nan
    table.loc[known, "p_adjusted"] = holm(_p_values((table["difference"] / error)[known].to_numpy(np.float64)))
    return table[[*(column for column in table if column not in BOARD_COLUMNS), *BOARD_COLUMNS]]


def caveat(table: pd.DataFrame) -> str:
    """What a reader of the table must not conclude."""
    models = int(table["held_out_log_loss"].notna().sum())
    if models < 2:
        return ""
    better = int(((table["p_adjusted"] < 0.05) & (table["difference"] < 0)).sum())
    return (
        f"{models} models were looked at. The first of them on test rows is also the luckiest, so its score there is "
        f"too good by some of that luck; the choice was made on held-out rows before the test part. After Holm's "
        f"correction {better} differ from the baseline for the better."
    )


def _rows(name: str, scores: pd.DataFrame, difference: str, segment: Segment | None) -> list[dict[str, Any]]:
    """A model's "all" slice, and those of whom it was compared with under names that tell their segment."""
    estimate, low, high = json.loads(difference) or (np.nan, np.nan, np.nan)
    told = segment_text(segment)
    rows: list[dict[str, Any]] = []
    for found in scores[scores["slice"] == "all"].to_dict("records"):
        row = {str(column): value for column, value in found.items()}
        other = row["forecaster"] if segment is None else f"{row['forecaster']}, {told}"
        is_model = row["forecaster"] == MODEL
        ends = (estimate, low, high) if is_model else (np.nan, np.nan, np.nan)
        told_ends = dict(zip(("difference", "difference_low", "difference_high"), ends, strict=True))
        rows.append({**row, "forecaster": name if is_model else other, "segment": told, **told_ends})
    return rows


def _p_values(z: np.ndarray) -> np.ndarray:
    """Two-sided, of standard normal values."""
    from scipy.special import erfc

    found: np.ndarray = erfc(np.abs(z) / np.sqrt(2.0))
    return found
