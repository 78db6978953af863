"""What a model is made of, as one hash: equal hashes give equal models.

Belongs here: the hash over declaration, SQL, code, training set and packages.
Does not belong here: which models are made again (`assets/kept_models.py`), a bundle's own hash (`bundle.py`).
"""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from forecastle import __version__
from forecastle.contract.load import LoadedSystem
from forecastle.learn.build import TrainingSetIdentity
from forecastle.learn.bundle import canonical_json

_PACKAGES: Final = ("catboost", "lightgbm", "numpy", "optuna", "scikit-learn", "scipy", "xgboost", "xgboost-cpu")


def inputs_hash(system: LoadedSystem, identity: TrainingSetIdentity) -> str:
    """SHA-256 (hex) of all that a system's models are made of: the same for each of its models.

    The whole declaration counts, for a card tells of all of it.
    """
    told = {
        "declaration": system.declaration.model_dump(mode="json"),
        "sql": dict(system.sql),
        "code": dict(system.code),
        "training_set": [identity.version, identity.content_hash, identity.snapshot_hash],
        "packages": {"forecastle": __version__, **{name: _installed(name) for name in _PACKAGES}},
    }
    return hashlib.sha256(canonical_json(told)).hexdigest()


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
