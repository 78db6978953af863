"""What `scoring.json` of a bundle says: the kind of its model and whatever is needed beside its bytes.

Belongs here: the kinds with their files, the record, its JSON.
Does not belong here: opening a model (`scorer.py`), files and hashes (`bundle.py`). Served: plain data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from forecastle.contract.errors import BundleError
from forecastle.learn.preprocess import Preprocess, preprocess_from_json

LIGHTGBM, LINEAR, XGBOOST, SKOPS, PICKLE = "lightgbm", "linear", "xgboost", "skops", "pickle"
ENSEMBLE = "ensemble"
MODEL_FILES: Final[dict[str, str]] = {
    LIGHTGBM: "model.txt",
    LINEAR: "model.json",
    XGBOOST: "model.ubj",
    SKOPS: "model.skops",
    PICKLE: "model.pickle",
    ENSEMBLE: "ensemble.json",
}
"""The file that holds a model of each kind."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """How a model's bytes become scores.

    `requires` are packages and versions that made it and that a process needs to open it. `types` are those that the
    file holds beyond plain ones: each must be trusted by the library that opens it, and none other may appear.
    """

    kind: str = LIGHTGBM
    preprocess: Preprocess | None = None
    types: tuple[str, ...] = ()
    requires: Mapping[str, str] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """Name of the model's file."""
        return MODEL_FILES[self.kind]

    def to_json(self) -> dict[str, Any]:
        """Plain data; `scoring_from_json` gives an equal record."""
        return {
            "kind": self.kind,
            "preprocess": None if self.preprocess is None else self.preprocess.to_json(),
            "types": list(self.types),
            "requires": dict(self.requires),
        }


def scoring_from_json(data: Mapping[str, Any]) -> Scoring:
    """Read what `to_json` wrote; of a bundle that names no kind the model is LightGBM's.

    Raises:
        BundleError: the kind is unknown, or the preprocessing cannot be read.
    """
    kind = data.get("kind", LIGHTGBM)
    if kind not in MODEL_FILES:
        raise BundleError(f"scoring.json names kind {kind!r}; this library opens {', '.join(MODEL_FILES)}")
    preprocess = data.get("preprocess")
    return Scoring(
        kind=kind,
        preprocess=None if preprocess is None else preprocess_from_json(preprocess),
        types=tuple(data.get("types", ())),
        requires=dict(data.get("requires", {})),
    )
