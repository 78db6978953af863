"""Which estimators a declaration may name, and the parameters each one takes.

Belongs here: the words, as data, so that definitions load without importing LightGBM (a second and 190 MB).
Does not belong here: building or fitting an estimator (`learn/`). A test compares the words with the installed package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Arguments of LGBMClassifier, and LightGBM's own training parameters that it passes on.
_LIGHTGBM: Final = frozenset({
    "boosting_type", "num_leaves", "max_depth", "learning_rate", "n_estimators", "subsample_for_bin", "class_weight",
    "min_split_gain", "min_child_weight", "min_child_samples", "subsample", "subsample_freq", "colsample_bytree",
    "reg_alpha", "reg_lambda", "n_jobs", "importance_type",
    "deterministic", "force_row_wise", "force_col_wise", "num_threads", "verbosity", "feature_fraction",
    "feature_fraction_bynode", "bagging_fraction", "bagging_freq", "lambda_l1", "lambda_l2", "min_data_in_leaf",
    "max_bin", "min_data_in_bin", "extra_trees", "path_smooth", "max_delta_step", "min_gain_to_split",
    "scale_pos_weight", "is_unbalance", "linear_tree", "use_missing", "zero_as_missing", "boost_from_average",
})  # fmt: skip

ESTIMATOR_PARAMS: Final[Mapping[str, frozenset[str]]] = {"lightgbm.LGBMClassifier": _LIGHTGBM}
