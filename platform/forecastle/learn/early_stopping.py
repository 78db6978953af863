"""Early stopping: how many rounds the newest training rows favour, watched by a model of the older ones.

Belongs here: the number of rounds, and why.
Does not belong here: rounds chosen on folds of clusters (`cross_fit.py`), one fit (`fit.py`).
Prechelt 1998, Early Stopping - But When?, https://doi.org/10.1007/3-540-49430-8_3.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from forecastle.contract.errors import LearnError
from forecastle.contract.system import Model
from forecastle.learn.fit import Code, Rows, fit
from forecastle.learn.split import newest_part


@dataclass(frozen=True, slots=True)
class Stop:
    """Rounds of the lowest log loss on the watched rows, and the sentence that says so."""

    rounds: int
    reason: str


def stopped(model: Model, rows: Rows, *, embargo: timedelta, code: Code | None = None) -> Stop | None:
    """How many rounds a model is given; None where it declares no early stopping.

    The newest `fraction` of the rows is watched by a model of those whose outcome was known `embargo` before the first
    of them: rows drawn at random would be the neighbours of rows that it learned.

    Raises:
        LearnError: too few rows on either side, or a fit fails.
    """
    declared = model.early_stopping
    if declared is None:
        return None
    if rows.times is None:
        raise LearnError("early stopping needs the rows' times")
    learned, watched = newest_part(rows.times, fraction=declared.fraction, embargo=embargo)
    for told, mask in (("older", learned), ("watched", watched)):
        outcomes = rows.outcomes[mask]
        if len(outcomes) == 0 or outcomes.min() == outcomes.max():
            raise LearnError(
                f"early stopping has {len(outcomes)} {told} rows, of {len(set(outcomes.tolist()))} outcomes: both are "
                "needed on either side; bring a longer history or another early_stopping.fraction"
            )
    fitted = fit(model, rows.take(learned), code=code, watched=rows.take(watched))
    best = max(1, int(fitted.rounds or 0))
    reason = (
        f"{best} rounds have the lowest log loss on the newest {int(watched.sum())} training rows, by a model of "
        f"{int(learned.sum())} older ones; it stopped after {declared.rounds} rounds without a lower one"
    )
    return Stop(best, reason)
