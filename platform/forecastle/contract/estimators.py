"""Which estimators a declaration may name, and the parameters each one takes.

Belongs here: the words, as data, so that definitions load without importing LightGBM (a second and 190 MB).
Does not belong here: building or fitting an estimator (`learn/`). A test compares the words with the
installed package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Arguments of LGBMClassifier, and LightGBM's own training parameters that it passes on: one word for each.
_LIGHTGBM: Final = frozenset({
    "boosting_type", "num_leaves", "max_depth", "learning_rate", "n_estimators", "subsample_for_bin",
    "class_weight", "min_split_gain", "min_child_weight", "min_child_samples", "subsample", "subsample_freq",
    "colsample_bytree", "reg_alpha", "reg_lambda", "n_jobs", "importance_type", "deterministic",
    "force_row_wise", "force_col_wise", "verbosity", "feature_fraction_bynode", "max_bin", "min_data_in_bin",
    "extra_trees", "path_smooth", "max_delta_step", "scale_pos_weight", "is_unbalance", "linear_tree",
    "use_missing", "zero_as_missing", "boost_from_average",
})  # fmt: skip

# LightGBM takes several names for one parameter and, given two, silently keeps one.
_LIGHTGBM_SYNONYMS: Final = {
    "num_threads": "n_jobs", "feature_fraction": "colsample_bytree", "bagging_fraction": "subsample",
    "bagging_freq": "subsample_freq", "lambda_l1": "reg_alpha", "lambda_l2": "reg_lambda",
    "min_data_in_leaf": "min_child_samples", "min_sum_hessian_in_leaf": "min_child_weight",
    "min_gain_to_split": "min_split_gain", "boosting": "boosting_type", "num_iterations": "n_estimators",
    "num_boost_round": "n_estimators", "eta": "learning_rate", "verbose": "verbosity",
    "bin_construct_sample_cnt": "subsample_for_bin", "unbalance": "is_unbalance",
}  # fmt: skip

ESTIMATOR_PARAMS: Final[Mapping[str, frozenset[str]]] = {"lightgbm.LGBMClassifier": _LIGHTGBM}
"""The parameters that a declaration may set, by estimator; the seed is the model's own field."""

SYNONYMS: Final[Mapping[str, Mapping[str, str]]] = {"lightgbm.LGBMClassifier": _LIGHTGBM_SYNONYMS}
"""Other names of the same parameters, by estimator, with the word to write instead."""
