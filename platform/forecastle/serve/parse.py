"""The body of one prediction request: strict JSON in, a typed request and every fault of it out.

Belongs here: JSON that hides nothing (duplicate keys, NaN, huge numbers), the keys a request may have.
Does not belong here: rules of features (`resolve.py`), HTTP (`application.py`), meaning of the answer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from forecastle.contract.errors import did_you_mean
from forecastle.contract.request import Violation, check_value, shown
from forecastle.contract.system import Column
from forecastle.serve.refusal import Refusal

KEYS: Final = ("entity", "features", "request_id")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """One request; `entity` is None when the request names none."""

    entity: Mapping[str, Any] | None
    features: Mapping[str, Any]
    request_id: str | None

    def sha256(self) -> str:
        """Digest of what is asked, whatever the order of keys: the same for a repeat, another for a reuse."""
        text = json.dumps([self.entity, self.features], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def parse_request(body: bytes, *, keys: Mapping[str, str]) -> tuple[PredictRequest, list[Violation]]:
    """The request in `body` and its faults; `keys` maps the entity's key columns to their dtypes.

    Raises:
        Refusal: `not_json`, when there is no JSON object at all.
    """
    try:
        data = _DECODER.decode(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refusal("not_json", f"the body is not JSON: {_reason(error)}") from error
    if not isinstance(data, dict):
        raise Refusal("not_json", f"the body is a JSON {_kind(data)}; an object with {', '.join(KEYS)} is needed")
    violations = _repeats(data)
    for name in data:
        if name not in KEYS:
            violations.append(_unknown(name, KEYS, "a request has no key"))
    entity = _entity(data, keys, violations)
    features = _object(data, "features", violations) or {}
    if entity is None and not features and not violations:
        text = "the request names no entity and gives no features; one of them is needed"
        violations.append(Violation("entity", None, "missing", text))
    return PredictRequest(entity, features, _request_id(data, violations)), violations


def _entity(data: Mapping[str, Any], keys: Mapping[str, str], violations: list[Violation]) -> dict[str, Any] | None:
    if "entity" not in data:
        return None
    entity = _object(data, "entity", violations)
    if entity is None:
        return None
    violations += [_unknown(name, keys, "the entity has no key") for name in entity if name not in keys]
    for name, dtype in keys.items():
        if name not in entity:
            violations.append(Violation(name, None, "missing", f"{name} is missing in the entity"))
        elif fault := check_value(name, entity[name], _KEY_COLUMNS[dtype]):
            violations.append(fault)
    return entity


def _object(data: Mapping[str, Any], name: str, violations: list[Violation]) -> dict[str, Any] | None:
    if name not in data:
        return None
    value = data[name]
    if not isinstance(value, dict):
        violations.append(Violation(name, shown(value), "dtype", f"{name} is a {_kind(value)}; an object is needed"))
        return None
    violations += _repeats(value)
    return value


def _request_id(data: Mapping[str, Any], violations: list[Violation]) -> str | None:
    value = data.get("request_id")
    if value is None or (isinstance(value, str) and _REQUEST_ID.fullmatch(value)):
        return value
    text = "request_id is 1 to 128 of the characters A-Z a-z 0-9 . _ : -"
    rule = "allowed" if isinstance(value, str) else "dtype"
    violations.append(Violation("request_id", shown(value), rule, text))
    return None


class _Repeated(dict[str, Any]):
    """A JSON object that said some key more than once."""

    names: tuple[str, ...] = ()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) == len(pairs):
        return data
    seen: set[str] = set()
    repeated = _Repeated(data)
    repeated.names = tuple(dict.fromkeys(name for name, _ in pairs if name in seen or seen.add(name)))  # type: ignore[func-returns-value]
    return repeated


def _repeats(data: Mapping[str, Any]) -> list[Violation]:
    names = data.names if isinstance(data, _Repeated) else ()
    return [Violation(shown(name), None, "duplicate", f"{shown(name)} is given more than once") for name in names]


def _unknown(name: str, allowed: Any, text: str) -> Violation:
    hint = did_you_mean(name, allowed) if len(name) <= 80 else ""
    return Violation(shown(name), None, "unknown", f"{text} {shown(name)!r}" + (f" ({hint})" if hint else ""))


def _kind(value: Any) -> str:
    names = {list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    return "it nests too deep" if isinstance(error, RecursionError) else "a number has too many digits"


# NaN and Infinity are read on purpose: the contract refuses them by the feature's name and the rule `finite`.
_DECODER: Final = json.JSONDecoder(object_pairs_hook=_pairs)
_KEY_COLUMNS: Final = {
    "int64": Column(dtype="int64", unit="id"),
    "string": Column(dtype="string", unit="id"),
}
