"""What another policy would have earned, from the logs of the one that ran (off-policy evaluation).

Belongs here: inverse propensity (IPS), self-normalised (SNIPS) and doubly robust (DR) values with intervals.
Does not belong here: treatment effects without logged propensities (`effect.py`), policies themselves.
Source: Dudík, Langford & Li, ICML 2011; Swaminathan & Joachims, NIPS 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import as_finite, as_probabilities, same_length
from forecastle.measure.bootstrap import Interval, mean_interval

if TYPE_CHECKING:
    from forecastle.measure.arrays import FloatArray

ESS_LIMIT_ROWS = 100


@dataclass(frozen=True, slots=True)
class PolicyValue:
    """Mean reward the target policy would have had on the logged contexts.

    `on_policy` is the mean reward of the logging policy. `dr` needs a reward model and is None without one.
    `ess` = (sum w)² / sum w² says how many logged rows the weights leave. `reasons` holds what speaks against
    the numbers.
    """

    on_policy: Interval
    ips: Interval
    snips: Interval
    dr: Interval | None
    n: int
    ess: float
    max_weight: float
    mean_weight: float
    reasons: tuple[str, ...]


def off_policy_value(
    rewards: Any,
    logging_probabilities: Any,
    target_probabilities: Any,
    *,
    predicted_logged: Any | None = None,
    predicted_target: Any | None = None,
    clusters: Any | None = None,
    level: float = 0.95,
    seed: int,
) -> PolicyValue:
    """Value of a target policy from n logged actions; w = target / logging probability of the action taken.

    IPS = mean(w r); SNIPS = sum(w r) / sum(w); DR = mean(q_target) + mean(w (r - q_logged)), where
    `predicted_logged` is a model's reward of the action taken and `predicted_target` its mean reward under
    the target policy. Bootstrap intervals over rows or whole `clusters` (users).

    Raises:
        MeasureError: missing or mismatched input, a logging probability of 0, only one of the two
            predictions, or a target policy that never takes a logged action.
    """
    r, w = _weights(rewards, logging_probabilities, target_probabilities)
    options: dict[str, Any] = {"clusters": clusters, "level": level, "seed": seed}
    ess = float(w.sum() ** 2 / np.sum(w**2))
    return PolicyValue(
        on_policy=mean_interval(r, **options),
        ips=mean_interval(w * r, **options),
        snips=mean_interval(r, weights=w, **options),
        dr=_doubly_robust(r, w, predicted_logged, predicted_target, options),
        n=r.size,
        ess=ess,
        max_weight=float(w.max()),
        mean_weight=float(w.mean()),
        reasons=_objections(w, ess),
    )


def _weights(rewards: Any, logging: Any, target: Any) -> tuple[FloatArray, FloatArray]:
    r = as_finite(rewards, name="reward")
    logged = as_probabilities(logging, name="logging probability")
    wanted = as_probabilities(target, name="target probability")
    same_length(reward=r, logging_probability=logged, target_probability=wanted)
    if logged.min() <= 0:
        raise MeasureError(
            f"logging probability: got 0 in {int((logged == 0).sum())} rows; an action that was taken "
            "had a probability above 0; log it with the action"
        )
    if wanted.max() <= 0:
        raise MeasureError("target probability: got 0 in every row; the target policy never takes a logged action")
    return r, wanted / logged


def _doubly_robust(
    r: FloatArray, w: FloatArray, logged: Any | None, target: Any | None, options: dict[str, Any]
) -> Interval | None:
    if logged is None and target is None:
        return None
    if logged is None or target is None:
        raise MeasureError("doubly robust needs predicted_logged and predicted_target; pass both or neither")
    q_logged, q_target = (
        as_finite(logged, name="predicted_logged"),
        as_finite(target, name="predicted_target"),
    )
    same_length(reward=r, predicted_logged=q_logged, predicted_target=q_target)
    return mean_interval(q_target + w * (r - q_logged), **options)


def _objections(w: FloatArray, ess: float) -> tuple[str, ...]:
    against = []
    if ess < ESS_LIMIT_ROWS:
        against.append(f"the logs are worth {ess:.0f} rows to the target policy: it does what was hardly ever tried")
    # E[w] is 1 where the logging policy tries everything the target wants.
    error = float(w.std(ddof=1)) / np.sqrt(w.size) if w.size > 1 else 0.0
    if abs(w.mean() - 1) > 4 * error + 1e-9:
        against.append(f"weights average {w.mean():.3f} instead of 1: propensities are wrong or actions are missing")
    return tuple(against)
