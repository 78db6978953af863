"""Which estimators a declaration may name, and the parameters each one takes.

Belongs here: an estimator's words and what it says of their values, from its class, which is imported only when a
system names it.
Does not belong here: LightGBM's words, which are data (`lightgbm_words.py`), building or fitting (`learn/`).
Interface: https://scikit-learn.org/stable/developers/develop.html
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from forecastle.contract import lightgbm_words
from forecastle.contract.errors import did_you_mean
from forecastle.contract.faults import Fault

ESTIMATOR_PARAMS: Final[Mapping[str, frozenset[str]]] = {"lightgbm.LGBMClassifier": frozenset(lightgbm_words.WORDS)}
"""The parameters that a declaration may set, by estimator; the seed is the model's own field."""

SYNONYMS: Final[Mapping[str, Mapping[str, str]]] = {"lightgbm.LGBMClassifier": lightgbm_words.OTHER_WORDS}
"""Other names of the same parameters, by estimator, with the word to write instead."""

LIGHTGBM: Final = "lightgbm.LGBMClassifier"
XGBOOST: Final = "xgboost.XGBClassifier"
ROUNDS: Final = frozenset({LIGHTGBM, XGBOOST})
"""Estimators that add rounds one by one, so that a model of fewer rounds lies within: theirs can be chosen."""

# What a declaration says in a field of its own, or what would make the model no binary classifier.
_ELSEWHERE: Final = {
    "random_state": "seed", "random_seed": "seed", "early_stopping_rounds": "early_stopping", "objective": "",
}  # fmt: skip


@cache
def estimator_class(path: str) -> tuple[type | None, Fault | None]:
    """The class at an import path; None, what is wrong and a hint where there is none that gives probabilities."""
    module_name, _, name = path.rpartition(".")
    top = module_name.partition(".")[0]
    if importlib.util.find_spec(top) is None:
        return None, (f"estimator is {path!r}, and the package {top} is not installed", _install(top))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = importlib.import_module(module_name)
    except Exception as error:  # noqa: BLE001  a module may raise anything when it is imported
        return None, (f"estimator is {path!r}, and {module_name} cannot be imported: {error}", "")
    found = getattr(module, name, None)
    if not inspect.isclass(found):
        classifiers = [n for n, value in vars(module).items() if inspect.isclass(value) and _forecasts(value)]
        hint = did_you_mean(f"{module_name}.{name}", [f"{module_name}.{other}" for other in classifiers])
        return None, (f"estimator is {path!r}, and {module_name} has no class {name!r}", hint)
    if not _forecasts(found):
        return None, (f"estimator {path!r} has no fit and predict_proba", "name a classifier that gives probabilities")
    return found, None


@cache
def allowed_params(path: str) -> frozenset[str]:
    """The parameters that a declaration may set; `path` names an estimator that `estimator_class` finds."""
    if path in ESTIMATOR_PARAMS:
        return ESTIMATOR_PARAMS[path]
    found, _ = estimator_class(path)
    words = set(inspect.signature(found).parameters) if found is not None else set()
    if found is not None and hasattr(found, "get_params"):
        # Parameters of base classes: XGBoost hands them on as **kwargs.
        words |= set(found().get_params(deep=False)) if not _needs(found) else set()
    return frozenset(words - {"self", "args", "kwargs", *_ELSEWHERE})


def elsewhere(param: str) -> str | None:
    """The field of a model that says what this parameter would; None for an ordinary parameter."""
    return _ELSEWHERE.get(param)


def value_fault(path: str, params: Mapping[str, Any]) -> Fault | None:
    """What the estimator itself says of these values before it has seen a row; None where it has nothing to say."""
    if path == LIGHTGBM:
        known = ((param, value) for param, value in params.items() if param in lightgbm_words.WORDS)
        return next((fault for param, value in known if (fault := lightgbm_words.fault_of(param, value))), None)
    found, _ = estimator_class(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator: Any = found(**params) if found is not None else None
            if hasattr(estimator, "_parameter_constraints"):
                estimator._validate_params()  # noqa: SLF001  scikit-learn asks its subclasses to call it in fit
            elif path == XGBOOST:
                _one_round(estimator)
    except Exception as error:  # noqa: BLE001  an estimator may raise anything
        return f"{path} refuses its parameters: {_sentence(error)}", ""
    return instance_fault(estimator, told=path)


def instance_fault(estimator: Any, *, told: str) -> Fault | None:
    """What an estimator that was built lacks of the interface."""
    lacking = [name for name in ("fit", "predict_proba", "get_params") if not hasattr(estimator, name)]
    if lacking:
        return f"{told} gives a {type(estimator).__name__} without {' and '.join(lacking)}", (
            "a classifier with predict_proba is needed; some have it only with certain parameters"
        )
    return None


def refuses_nulls(path: str, params: Mapping[str, Any]) -> bool:
    """Does the estimator at an import path, built with these values, say that it takes no null?"""
    if path in ESTIMATOR_PARAMS or value_fault(path, params) is not None:
        return False
    found: Any = estimator_class(path)[0]
    return found is not None and instance_refuses_nulls(found(**params))


def instance_refuses_nulls(estimator: Any) -> bool:
    """Does an estimator of scikit-learn say that it takes no null?

    A pipeline is asked for its first step; what holds other estimators speaks for itself alone, and so counts as taking
    nulls. Tags: https://scikit-learn.org/stable/developers/develop.html#estimator-tags
    """
    if type(estimator).__module__.partition(".")[0] != "sklearn":
        return False
    if hasattr(estimator, "steps"):
        return instance_refuses_nulls(estimator.steps[0][1])
    if any(hasattr(value, "fit") for value in estimator.get_params().values()):
        return False
    tags = estimator.__sklearn_tags__()
    return not (tags.input_tags.allow_nan or tags.no_validation)


def takes_weights(path: str) -> bool:
    """Does `fit` of the class take sample weights?"""
    if path in ESTIMATOR_PARAMS:
        return True
    found: Any = estimator_class(path)[0]
    return found is not None and "sample_weight" in inspect.signature(found.fit).parameters


def _one_round(estimator: Any) -> None:
    """XGBoost looks at its parameters when it trains: one round of eight rows, a hundredth of a second."""
    rounds = estimator.n_estimators
    if rounds is not None and (not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 1):
        raise ValueError(f"n_estimators is {rounds!r}; a whole number of at least 1 is required")
    rows, outcomes = [[float(row)] for row in range(8)], [row % 2 for row in range(8)]
    estimator.set_params(n_estimators=1, n_jobs=1).fit(rows, outcomes)


def _sentence(error: Exception) -> str:
    """What an error says, without the place in its C++ source and without its stack."""
    text = str(error)
    if text.startswith("["):
        return text.partition("\n")[0].rpartition(": ")[2]
    return text


def _forecasts(found: Any) -> bool:
    return hasattr(found, "fit") and hasattr(found, "predict_proba")


def _needs(found: Any) -> list[str]:
    """Arguments without a default, such as the estimators of an ensemble."""
    parameters = inspect.signature(found).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]


def _install(package: str) -> str:
    known = ("sklearn", "lightgbm", "xgboost", "catboost")
    return "install it, or name another estimator" if package in known else did_you_mean(package, known)
