"""Models of other packages than LightGBM: XGBoost's own format, scikit-learn through skops, pickles by leave.

Belongs here: opening checked bytes, the types that are trusted, one row and many rows with the same bits.
Does not belong here: whether this process may open a pickle at all (`bundle.py`), packing (`pack.py`).
skops: https://skops.readthedocs.io/en/stable/persistence.html
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forecastle.contract.errors import BundleError
from forecastle.learn.explanation import Explanation
from forecastle.learn.scoring import SKOPS, XGBOOST, Scoring
from forecastle.measure.calibrators import log_odds

FloatArray = NDArray[np.float64]

TRUSTED: Final = frozenset({
    "collections.OrderedDict", "lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier", "numpy.dtype",
    "scipy._lib.array_api_compat.numpy._aliases.asarray", "scipy.interpolate._bsplines.BSpline",
    "sklearn.calibration._CalibratedClassifier", "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels.ConstantKernel", "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.RBF", "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._ball_tree.BallTree", "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer", "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch", "xgboost.core.Booster", "xgboost.sklearn.XGBClassifier",
})  # fmt: skip
"""Types that a skops file may hold beyond those that skops itself trusts: they are arithmetic and nothing else.

A constant of this library and not of the file: a list beside the model could be changed with it.
"""

# Their trees compare and add row by row, so one row and many give the same bits; a matrix product does not.
_BY_ROW: Final = frozenset({
    "DecisionTreeClassifier", "ExtraTreeClassifier", "ExtraTreesClassifier", "GradientBoostingClassifier",
    "HistGradientBoostingClassifier", "LGBMClassifier", "RandomForestClassifier", "XGBClassifier",
})  # fmt: skip


class SklearnModel:
    """An estimator with `predict_proba`; its scores are the probability of outcome 1.

    Estimators that multiply matrices give other last bits for other numbers of rows, so they see each row alone.
    """

    def __init__(self, estimator: Any) -> None:
        """Takes the estimator over: it answers on one thread from now on.

        Raises:
            BundleError: it was not fitted on the outcomes 0 and 1.
        """
        self._estimator = _on_one_thread(estimator)
        classes = [int(value) for value in getattr(estimator, "classes_", ())]
        if classes != [0, 1]:
            raise BundleError(f"{type(estimator).__name__} knows the outcomes {classes}; 0 and 1 are needed")
        self.by_row = type(estimator).__name__ in _BY_ROW
        # CatBoost 1.2 says 0 of itself once it was pickled, and keeps its columns' names.
        names = getattr(estimator, "feature_names_", None) or ()
        self._width = int(getattr(estimator, "n_features_in_", 0) or len(names) or -1)

    @property
    def width(self) -> int:
        """How many features a row has."""
        return self._width

    def scores(self, matrix: FloatArray) -> FloatArray:
        """Probabilities (n,) of a (n, `width`) matrix."""
        rows = np.ascontiguousarray(matrix, dtype=np.float64)
        if self.by_row:
            return self._asked(rows) if len(rows) else np.empty(0)
        return np.array([self._asked(rows[i : i + 1])[0] for i in range(len(rows))], dtype=np.float64)

    def score_row(self, values: Sequence[float]) -> float:
        """The same of one row."""
        return float(self._asked(np.array([values], dtype=np.float64))[0])

    def explain_row(self, values: Sequence[float]) -> None:  # noqa: ARG002  the interface of every scorer
        """Such an estimator only answers; `explanation.one_at_a_time` asks it."""
        return

    def _asked(self, rows: FloatArray) -> FloatArray:
        return np.asarray(self._estimator.predict_proba(rows)[:, 1], dtype=np.float64)


class XGBoostModel:
    """An XGBoost booster of its own binary format; NaN is missing."""

    def __init__(self, content: bytes) -> None:
        """Read a model.

        Raises:
            BundleError: XGBoost is not installed or refuses the bytes.
        """
        _require("xgboost")
        import xgboost

        try:
            self._booster = xgboost.Booster(params={"nthread": 1}, model_file=bytearray(content))
            self._width = int(self._booster.num_features())
        except (xgboost.core.XGBoostError, ValueError) as error:
            raise BundleError(f"XGBoost refused the model: {error}") from error

    @property
    def width(self) -> int:
        """How many features a row has."""
        return self._width

    def scores(self, matrix: FloatArray) -> FloatArray:
        """Probabilities (n,) of a (n, `width`) matrix; XGBoost's own float32 numbers."""
        rows = np.ascontiguousarray(matrix, dtype=np.float64)
        found = self._booster.inplace_predict(rows) if len(rows) else np.empty(0)
        return np.asarray(found, dtype=np.float64)

    def score_row(self, values: Sequence[float]) -> float:
        """The same of one row."""
        return float(self._booster.inplace_predict(np.array([values], dtype=np.float64))[0])

    def explain_row(self, values: Sequence[float]) -> Explanation:
        """XGBoost's own Tree SHAP values, which are float32: the residual says what that leaves."""
        import xgboost

        row = xgboost.DMatrix(np.array([values], dtype=np.float64), nthread=1)
        *parts, expected = map(float, self._booster.predict(row, pred_contribs=True)[0])
        told = float(log_odds(self.score_row(values)))
        return Explanation(told, expected, tuple(parts), told - math.fsum([*parts, expected]))


def open_model(content: bytes, scoring: Scoring) -> SklearnModel | XGBoostModel:
    """A model of checked bytes.

    Raises:
        BundleError: a package is missing, a type is not trusted, or the bytes cannot be read.
    """
    for package in scoring.requires:
        _require(package)
    if scoring.kind == XGBOOST:
        return XGBoostModel(content)
    return SklearnModel(_read_skops(content, scoring) if scoring.kind == SKOPS else _read_pickle(content))


def untrusted_types(content: bytes) -> tuple[str, ...]:
    """Types in a skops file that skops does not trust by itself, sorted."""
    from skops.io import get_untrusted_types  # type: ignore[import-untyped]

    return tuple(sorted(get_untrusted_types(data=content)))


def _read_skops(content: bytes, scoring: Scoring) -> Any:
    """An estimator from skops, after its types were compared with what was recorded and with `TRUSTED`."""
    _require("skops")
    from skops.io import loads

    try:
        found = untrusted_types(content)
        trusted = [name for name in found if name in TRUSTED and name in scoring.types]
        if len(trusted) == len(found):
            return loads(content, trusted=trusted)
    except Exception as error:  # skops may raise anything on bytes that are no file of its own
        raise BundleError(f"model.skops cannot be read: {type(error).__name__}: {error}") from error
    unknown = [name for name in found if name not in trusted]
    who = "this library" if set(unknown) - TRUSTED else "the bundle's scoring.json"
    raise BundleError(f"model.skops holds {', '.join(unknown)}, which {who} does not list as trusted; it is not opened")


def _read_pickle(content: bytes) -> Any:
    """An estimator from a pickle: `load_bundle` has asked whether this process may."""
    import pickle

    try:
        return pickle.loads(content)  # noqa: S301  declared with trust: pickle, allowed by FORECASTLE_TRUST=pickle
    except Exception as error:  # a pickle may raise anything
        raise BundleError(f"model.pickle cannot be read: {type(error).__name__}: {error}") from error


def _on_one_thread(estimator: Any) -> Any:
    """Threads add trees in the order in which they finish; one thread always gives the same bits."""
    params = estimator.get_params() if hasattr(estimator, "get_params") else ()
    jobs = [name for name in params if name == "n_jobs" or name.endswith("__n_jobs")]
    return estimator.set_params(**dict.fromkeys(jobs, 1)) if jobs else estimator


def _require(package: str) -> None:
    module = {"scikit-learn": "sklearn", "xgboost-cpu": "xgboost"}.get(package, package)
    if importlib.util.find_spec(module) is None:
        raise BundleError(f"the bundle's model needs {package}, which is not installed here: pip install {package}")
