"""A feature view as rows are pushed into it: its keys and the contract of every feature, used by a model or not.

Belongs here: the record that travels in a bundle: the service checks pushed rows without the system's folder.
Does not belong here: reading pushed rows (`serve/push_events.py`), storing them. Served: pydantic at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forecastle.contract.column import Feature
from forecastle.contract.errors import BundleError


@dataclass(frozen=True, slots=True)
class PushView:
    """One view: `keys` maps key columns to their dtypes, `features` every feature to its contract."""

    name: str
    keys: Mapping[str, str]
    features: Mapping[str, Feature]

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_json` gives an equal view. Keys are pairs: their order is that of the stored key."""
        features = {name: feature.model_dump(mode="json") for name, feature in self.features.items()}
        return {"name": self.name, "keys": [list(pair) for pair in self.keys.items()], "features": features}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PushView:
        """Read what `to_json` wrote.

        Raises:
            BundleError: a key is missing or a contract does not validate.
        """
        try:
            features = {name: Feature.model_validate(contract) for name, contract in data["features"].items()}
            return cls(data["name"], dict(data["keys"]), features)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"a pushed view cannot be read: {error!r}; build the bundle again") from error
