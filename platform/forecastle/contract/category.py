"""Features that are one of a few words: a model sees a word as its place among the allowed values.

Belongs here: the numbers of a feature's words, the same in training, in batch and for one request.
Does not belong here: rules of values (`request.py`, `table.py`), one-hot columns (`learn/preprocess.py`).
Contract and standard library only: it is served.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from forecastle.contract.column import Feature
from forecastle.contract.types import NUMERIC_DTYPES

Codes = Mapping[str, Mapping[str, float]]
"""Of each feature of words: word → 0, 1, 2, … in the order of `allowed`."""

NO_CODES: Final[Codes] = MappingProxyType({})


def codes_of(features: Mapping[str, Feature]) -> Codes:
    """The codes of those features that are words."""
    return {
        name: {str(word): float(place) for place, word in enumerate(feature.allowed or ())}
        for name, feature in features.items()
        if feature.dtype == "string"
    }


def is_modelled(feature: Feature) -> bool:
    """Whether a model can see the feature: a number, or one of the words that its contract lists."""
    return feature.dtype in NUMERIC_DTYPES or (feature.dtype == "string" and feature.allowed is not None)
