"""A feature set: the ordered, hashed list of features one model is trained on and served with.

Belongs here: the record that travels in the bundle, its hash, and the on-demand functions compiled from its
code.
Does not belong here: values, joins, request handling. Standard library and pydantic only: it is served.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from forecastle.contract.category import Codes, codes_of
from forecastle.contract.column import Feature
from forecastle.contract.errors import BundleError

_PROSE: Final = frozenset({"description", "owner"})
_LOADING: Final = threading.RLock()


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """One feature: its contract and where it comes from (`view` is None for an on-demand feature)."""

    name: str
    contract: Feature
    view: str | None
    ttl_seconds: float | None


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """One feature view as the model knew it."""

    name: str
    keys: tuple[str, ...]
    ttl_seconds: float
    features: tuple[str, ...]
    sql_sha256: str


@dataclass(frozen=True, slots=True)
class OnDemandSpec:
    """One on-demand function: `module:function`, its inputs and the features it returns."""

    name: str
    function: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class FeatureSet:
    """Everything needed to build a model's input vector, by name.

    `model_features` is the estimator's column order; `features` also holds inputs that only on-demand
    functions read.
    """

    system: str
    entity: str
    keys: Mapping[str, str]
    model_features: tuple[str, ...]
    features: tuple[FeatureSpec, ...]
    views: tuple[ViewSpec, ...]
    on_demand: tuple[OnDemandSpec, ...]
    code: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of the canonical JSON: contract, order, TTLs, SQL and on-demand code.

        Descriptions and owners stay out of it: they change no value.
        """
        data = self.to_json()
        for feature in data["features"]:
            feature["contract"] = {k: v for k, v in feature["contract"].items() if k not in _PROSE}
        text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def by_name(self) -> Mapping[str, FeatureSpec]:
        """Feature specs by name."""
        return {spec.name: spec for spec in self.features}

    @cached_property
    def codes(self) -> Codes:
        """What a model sees of each word of those features that are words."""
        return codes_of({spec.name: spec.contract for spec in self.features})

    def shown(self, name: str, value: float) -> float | str:
        """A number that a model saw as its contract says it: the word that it stands for, or the number itself."""
        return next((word for word, number in self.codes.get(name, {}).items() if number == value), value)

    def spec(self, name: str) -> FeatureSpec:
        """The spec of one feature.

        Raises:
            KeyError: no such feature in this set.
        """
        return self.by_name[name]

    def to_json(self) -> dict[str, Any]:
        """Plain data, canonical: `from_json` gives an equal set with the same hash."""
        return {
            "system": self.system,
            "entity": self.entity,
            "keys": dict(self.keys),
            "model_features": list(self.model_features),
            "features": [
                {
                    "name": f.name,
                    "view": f.view,
                    "ttl_seconds": f.ttl_seconds,
                    "contract": f.contract.model_dump(mode="json"),
                }
                for f in self.features
            ],
            "views": [
                {
                    "name": v.name,
                    "keys": list(v.keys),
                    "ttl_seconds": v.ttl_seconds,
                    "features": list(v.features),
                    "sql_sha256": v.sql_sha256,
                }
                for v in self.views
            ],
            "on_demand": [
                {"name": o.name, "function": o.function, "inputs": list(o.inputs), "outputs": list(o.outputs)}
                for o in self.on_demand
            ],
            "code": dict(sorted(self.code.items())),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FeatureSet:
        """Read what `to_json` wrote.

        Raises:
            BundleError: a key is missing or a contract does not validate.
        """
        try:
            return cls(
                system=data["system"],
                entity=data["entity"],
                keys=dict(data["keys"]),
                model_features=tuple(data["model_features"]),
                features=tuple(
                    FeatureSpec(f["name"], Feature.model_validate(f["contract"]), f["view"], f["ttl_seconds"])
                    for f in data["features"]
                ),
                views=tuple(
                    ViewSpec(v["name"], tuple(v["keys"]), v["ttl_seconds"], tuple(v["features"]), v["sql_sha256"])
                    for v in data["views"]
                ),
                on_demand=tuple(
                    OnDemandSpec(o["name"], o["function"], tuple(o["inputs"]), tuple(o["outputs"]))
                    for o in data["on_demand"]
                ),
                code=dict(data["code"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"a feature set cannot be read: {error!r}; build the bundle again") from error

    def functions(self) -> dict[str, Callable[..., Mapping[str, Any]]]:
        """On-demand functions by name, compiled from the code this set carries (never from the working tree).

        Raises:
            BundleError: the code is missing a function or does not run.
        """
        found: dict[str, Callable[..., Mapping[str, Any]]] = {}
        for spec in self.on_demand:
            module, _, function = spec.function.partition(":")
            try:
                found[spec.name] = getattr(load_module(module, self.code[module], origin=self.system), function)
            except Exception as error:  # a bundle's own code may raise anything
                raise BundleError(
                    f"{spec.function} of {self.system!r} cannot be loaded: {error!r}; build the bundle again"
                ) from error
        return found


def load_module(name: str, text: str, *, origin: str) -> types.ModuleType:
    """A module made from source text, registered under a name that no import statement reaches.

    Raises:
        SyntaxError, Exception: whatever the text raises.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    unique = f"forecastle_system_{origin}.{name}.{digest}"
    # Two threads may ask for one module; neither may see it half made.
    with _LOADING:
        if unique in sys.modules:
            return sys.modules[unique]
        module = types.ModuleType(unique)
        module.__file__ = f"<{origin}/{name}.py>"
        # Registered first: dataclasses look their own module up while it runs.
        sys.modules[unique] = module
        try:
            # The code is the system's own, declared by it.
            exec(compile(text, module.__file__, "exec"), module.__dict__)  # noqa: S102
        except BaseException:
            del sys.modules[unique]
            raise
        return module
