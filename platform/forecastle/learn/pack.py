"""A fitted estimator as bytes: in its own safe format where it has one, by skops, or as a pickle by leave.

Belongs here: choosing the format, the bytes, the packages and types that opening them needs.
Does not belong here: fitting (`fit.py`), opening (`scorer.py`), files (`bundle.py`).
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecastle.contract.errors import LearnError
from forecastle.learn.foreign_model import TRUSTED, untrusted_types
from forecastle.learn.linear_model import LinearModel
from forecastle.learn.preprocess import Preprocess
from forecastle.learn.scoring import LIGHTGBM, LINEAR, PICKLE, SKOPS, XGBOOST, Scoring


@dataclass(frozen=True, slots=True)
class Packed:
    """A model's bytes and how they become scores."""

    model_bytes: bytes
    scoring: Scoring


def pack(estimator: Any, preprocess: Preprocess | None, *, rounds: int | None, trust: str | None) -> Packed:
    """Bytes of a fitted estimator, of its first `rounds` only where that is given.

    Raises:
        LearnError: no safe format holds it, and `trust` does not say pickle.
    """
    kind = type(estimator)
    name = f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
    if name == "lightgbm.LGBMClassifier":
        text = estimator.booster_.model_to_string(num_iteration=rounds)
        return Packed(bytes(text.encode()), Scoring(LIGHTGBM, preprocess))
    if name == "xgboost.XGBClassifier":
        booster = estimator.get_booster()
        content = (booster if rounds is None else booster[:rounds]).save_raw("ubj")
        return Packed(bytes(content), Scoring(XGBOOST, preprocess, requires=_versions("xgboost")))
    if name == "sklearn.LogisticRegression" and estimator.coef_.shape[0] == 1:
        return Packed(_linear(estimator).to_bytes(), Scoring(LINEAR, preprocess))
    return _foreign(estimator, preprocess, trust)


def with_means(packed: Packed, matrix: np.ndarray) -> Packed:
    """A logistic regression that knows the mean of each of its columns over training rows (n, k); else the same."""
    if packed.scoring.kind != LINEAR:
        return packed
    preprocess = packed.scoring.preprocess
    seen = matrix if preprocess is None else preprocess.apply(matrix)
    model = LinearModel.from_bytes(packed.model_bytes)
    found = LinearModel(model.intercept, model.coefficients, tuple(map(float, seen.mean(axis=0))))
    return Packed(found.to_bytes(), packed.scoring)


def _linear(estimator: Any) -> LinearModel:
    coefficients = tuple(float(value) for value in estimator.coef_[0])
    return LinearModel(float(estimator.intercept_[0]), coefficients, (0.0,) * len(coefficients))


def _foreign(estimator: Any, preprocess: Preprocess | None, trust: str | None) -> Packed:
    try:
        content, types = _skops(estimator)
        unknown = [name for name in types if name not in TRUSTED]
        reason = f"it holds {', '.join(unknown)}, which no reader trusts" if unknown else ""
    except Exception as error:  # noqa: BLE001  skops may raise anything on what it does not know
        content, types, reason = b"", (), f"{type(error).__name__}: {error}"
    if not reason:
        requires = _versions("scikit-learn", "skops", *_beyond(types))
        return Packed(content, Scoring(SKOPS, preprocess, types=types, requires=requires))
    if trust != "pickle":
        raise LearnError(
            f"skops cannot hold this {type(estimator).__name__}: {reason}; name another estimator, or declare "
            "trust: pickle and set FORECASTLE_TRUST=pickle where the bundle is opened"
        )
    return Packed(_pickled(estimator), Scoring(PICKLE, preprocess, requires=_versions(*_packages(estimator))))


def _skops(estimator: Any) -> tuple[bytes, tuple[str, ...]]:
    from skops.io import dumps  # type: ignore[import-untyped]

    content = bytes(dumps(estimator))
    return content, untrusted_types(content)


def _pickled(estimator: Any) -> bytes:
    import pickle

    try:
        return pickle.dumps(estimator, protocol=5)
    except Exception as error:  # a pickle may refuse anything
        raise LearnError(
            f"{type(estimator).__name__} cannot be pickled: {error}; use classes of installed packages, for a bundle "
            "carries no class of the system's own folder"
        ) from error


def _packages(estimator: Any) -> list[str]:
    """The estimator's own distribution, and scikit-learn."""
    top = type(estimator).__module__.partition(".")[0]
    return sorted({"scikit-learn", *importlib.metadata.packages_distributions().get(top, ())[:1]})


def _beyond(types: tuple[str, ...]) -> list[str]:
    tops = {name.partition(".")[0] for name in types}
    return sorted(tops & {"lightgbm", "xgboost"})


def _versions(*packages: str) -> dict[str, str]:
    """Installed versions by distribution; XGBoost comes as one of two."""
    found = {}
    for package in packages:
        for name in (package, f"{package}-cpu"):
            try:
                found[name] = importlib.metadata.version(name)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found
