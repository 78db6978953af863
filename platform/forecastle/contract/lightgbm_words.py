"""LightGBM's parameters as data: which words a declaration may write, and which values each takes.

Belongs here: what LightGBM's own documentation says of its parameters, so that definitions load without importing it
(a second and 190 MB), and LightGBM itself takes `n_estimators: eighty` until it trains.
Does not belong here: other estimators, which are asked themselves (`estimators.py`).
https://lightgbm.readthedocs.io/en/stable/Parameters.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from forecastle.contract.faults import Fault


@dataclass(frozen=True, slots=True)
class Values:
    """The values of one parameter: numbers of a kind with their bounds, or a list of words and flags."""

    kind: type = float
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    words: tuple[str, ...] = ()

    def allow(self, value: Any) -> bool:
        """Does LightGBM take that value?"""
        if self.words:
            return value in self.words
        if self.kind is bool or isinstance(value, bool):
            return self.kind is bool and isinstance(value, bool)
        if not isinstance(value, int if self.kind is int else (int, float)):
            return False
        low = (self.at_least is None or value >= self.at_least) and (self.above is None or value > self.above)
        return low and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        """What is required, in words."""
        if self.words:
            return " or ".join(self.words)
        if self.kind is bool:
            return "true or false"
        bounds = [f"{said} {bound}" for said, bound in self._bounds() if bound is not None]
        return ("a whole number" if self.kind is int else "a number") + (f" {' and '.join(bounds)}" if bounds else "")

    def _bounds(self) -> tuple[tuple[str, float | None], ...]:
        return ("of at least", self.at_least), ("above", self.above), ("of at most", self.at_most)


_WHOLE: Final = Values(int)
_COUNT: Final = Values(int, at_least=1)
_FLAG: Final = Values(bool)
_SHARE: Final = Values(above=0, at_most=1)
_NOT_NEGATIVE: Final = Values(at_least=0)
_POSITIVE: Final = Values(above=0)

WORDS: Final[Mapping[str, Values]] = {
    "boosting_type": Values(words=("gbdt", "dart", "rf", "goss")),
    "num_leaves": Values(int, at_least=2, at_most=131_072),
    "max_depth": _WHOLE,
    "learning_rate": _POSITIVE,
    "n_estimators": _COUNT,
    "subsample_for_bin": _COUNT,
    "class_weight": Values(words=("balanced",)),
    "min_split_gain": _NOT_NEGATIVE,
    "min_child_weight": _NOT_NEGATIVE,
    "min_child_samples": Values(int, at_least=0),
    "subsample": _SHARE,
    "subsample_freq": _WHOLE,
    "colsample_bytree": _SHARE,
    "reg_alpha": _NOT_NEGATIVE,
    "reg_lambda": _NOT_NEGATIVE,
    "n_jobs": _WHOLE,
    "importance_type": Values(words=("split", "gain")),
    "deterministic": _FLAG,
    "force_row_wise": _FLAG,
    "force_col_wise": _FLAG,
    "verbosity": _WHOLE,
    "feature_fraction_bynode": _SHARE,
    "max_bin": Values(int, at_least=2),
    "min_data_in_bin": _COUNT,
    "extra_trees": _FLAG,
    "path_smooth": _NOT_NEGATIVE,
    "max_delta_step": Values(),
    "scale_pos_weight": _POSITIVE,
    "is_unbalance": _FLAG,
    "linear_tree": _FLAG,
    "use_missing": _FLAG,
    "zero_as_missing": _FLAG,
    "boost_from_average": _FLAG,
}
"""Arguments of LGBMClassifier, and LightGBM's own training parameters that it passes on: one word for each."""

# LightGBM takes several names for one parameter and, given two, silently keeps one.
OTHER_WORDS: Final[Mapping[str, str]] = {
    "num_threads": "n_jobs", "feature_fraction": "colsample_bytree", "bagging_fraction": "subsample",
    "bagging_freq": "subsample_freq", "lambda_l1": "reg_alpha", "lambda_l2": "reg_lambda",
    "min_data_in_leaf": "min_child_samples", "min_sum_hessian_in_leaf": "min_child_weight",
    "min_gain_to_split": "min_split_gain", "boosting": "boosting_type", "num_iterations": "n_estimators",
    "num_boost_round": "n_estimators", "eta": "learning_rate", "verbose": "verbosity",
    "bin_construct_sample_cnt": "subsample_for_bin", "unbalance": "is_unbalance",
}  # fmt: skip


def fault_of(param: str, value: Any) -> Fault | None:
    """What is wrong with the value of one of `WORDS`."""
    allowed = WORDS[param]
    if allowed.allow(value):
        return None
    got = "null" if value is None else "a list" if isinstance(value, list) else repr(value)
    return f"params.{param} is {got}; {allowed} is required", ""
