"""The body of one prediction request: strict JSON in, a typed request and every fault of it out.

Belongs here: JSON that hides nothing (duplicate keys, NaN, huge numbers), the keys a request may have.
Does not belong here: rules of features (`resolve.py`), HTTP (`application.py`), meaning of the answer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from forecastle.contract.column import Column
from forecastle.contract.errors import did_you_mean
from forecastle.contract.request import INT64_LIMIT, Violation, check_value, shown
from forecastle.serve.receipt import microseconds
from forecastle.serve.refusal import Refusal, broken_contract
from forecastle.store.prediction_batch import iso

KEYS: Final = ("entity", "features", "request_id")
EARLIEST_US: Final = microseconds(datetime(1900, 1, 1, tzinfo=UTC))
_WORD: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class PredictRequest(msgspec.Struct, frozen=True, gc=False):
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
    return request_of(json_object(body, KEYS), keys=keys)


def json_object(body: bytes, allowed: Sequence[str]) -> Mapping[str, Any]:
    """The JSON object in `body`; `top_faults` tells which of its keys are not `allowed` or stand twice.

    Raises:
        Refusal: `not_json`, when there is no JSON object at all.
    """
    data = _plain(body)
    if data is not None:
        return data
    try:
        data = _DECODER.decode(body.decode("utf-8"))
        if b"\\u" in body:  # half of a surrogate pair can be neither stored nor answered
            json.dumps(data, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise Refusal("not_json", f"the body is not JSON: {_reason(error)}") from error
    if not isinstance(data, dict):
        raise Refusal("not_json", f"the body is a JSON {_kind(data)}; an object with {', '.join(allowed)} is needed")
    return data


def _plain(body: bytes) -> dict[str, Any] | None:
    """A JSON object that certainly says no key twice; None says nothing, and the careful decoder looks.

    Every pair of name and value has a colon: where a quick decoder kept as many names as there are colons, none was
    overwritten by another. A colon in a text, or an object deeper than any request has, makes the counts differ.
    """
    try:
        data = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return data if type(data) is dict and _names_in(data) == body.count(b":") else None


def _names_in(data: dict[str, Any]) -> int:
    count = len(data)
    for value in data.values():
        if type(value) is dict:
            count += len(value)
        elif type(value) is list:
            count += sum(_names_in(row) for row in value if type(row) is dict)
    return count


def top_faults(data: Mapping[str, Any], allowed: Sequence[str]) -> list[Violation]:
    """Keys of an object that are unknown or given more than once."""
    unknown = [_unknown(name, allowed, "a request has no key") for name in data if name not in allowed]
    return [*repeats(data), *unknown]


def request_of(data: Mapping[str, Any], *, keys: Mapping[str, str]) -> tuple[PredictRequest, list[Violation]]:
    """The request in a JSON object and its faults; the two usual shapes, which have none, go first."""
    if len(data) == 1 and type(data) is dict:
        features = data.get("features")
        if features and type(features) is dict:
            return PredictRequest(None, features, None), []
        entity = data.get("entity")
        if type(entity) is dict and _is_usual_entity(entity, keys):
            return PredictRequest(entity, {}, None), []
    violations = top_faults(data, KEYS)
    entity = _entity(data, keys, violations)
    features = object_in(data, "features", violations) or {}
    if entity is None and not features and not violations:
        text = "the request names no entity and gives no features; one of them is needed"
        violations.append(Violation("entity", None, "missing", text))
    return PredictRequest(entity, features, word_in(data, "request_id", violations)), violations


def _entity(data: Mapping[str, Any], keys: Mapping[str, str], violations: list[Violation]) -> dict[str, Any] | None:
    if "entity" not in data:
        return None
    entity = object_in(data, "entity", violations)
    if entity is not None:
        violations += entity_faults(entity, keys)
    return entity


def _is_usual_entity(entity: Mapping[str, Any], keys: Mapping[str, str]) -> bool:
    """Whether an entity certainly has every key, no other, and 64-bit integers only."""
    for name, dtype in keys.items():
        value = entity.get(name)
        if type(value) is not int or dtype != "int64" or not -INT64_LIMIT <= value < INT64_LIMIT:
            return False
    return len(entity) == len(keys)


def entity_faults(entity: Mapping[str, Any], keys: Mapping[str, str]) -> list[Violation]:
    """Every key of an entity that is unknown, missing or of the wrong kind."""
    violations = [_unknown(name, keys, "the entity has no key") for name in entity if name not in keys]
    for name, dtype in keys.items():
        value = entity.get(name)
        if type(value) is int and dtype == "int64" and -INT64_LIMIT <= value < INT64_LIMIT:
            continue
        if name not in entity:
            violations.append(Violation(name, None, "missing", f"{name} is missing in the entity"))
        elif fault := check_value(name, value, _KEY_COLUMNS[dtype]):
            violations.append(fault)
    return violations


def object_in(data: Mapping[str, Any], name: str, violations: list[Violation]) -> dict[str, Any] | None:
    """The object under a key; None when it is absent or, said in `violations`, something else."""
    if name not in data:
        return None
    value = data[name]
    if not isinstance(value, dict):
        violations.append(Violation(name, shown(value), "dtype", f"{name} is a {_kind(value)}; an object is needed"))
        return None
    violations += repeats(value)
    return value


def rows_in(data: Mapping[str, Any], name: str, *, limit: int) -> list[Any]:
    """The list under a key that has one to `limit` rows.

    Raises:
        Refusal: `contract`, when it is absent, no list, empty or too long: then no row is looked at.
    """
    value = data.get(name)
    rule = text = ""
    if not isinstance(value, list):
        rule, text = ("dtype" if name in data else "missing"), f"{name} is needed: a list of 1 to {limit:,} objects"
    elif not 1 <= len(value) <= limit:
        rule, text = "min" if not value else "max", f"{name} has {len(value):,} rows; 1 to {limit:,} are allowed"
    if rule:
        raise broken_contract([Violation(name, shown(value), rule, text)])
    return list(value or ())


def instant_in(data: Mapping[str, Any], name: str, violations: list[Violation], *, now_us: int) -> int | None:
    """Microseconds since 1970 UTC of the time under a key, if it is there; not after now, not before 1900."""
    if name not in data:
        return None
    if fault := check_value(name, data[name], _INSTANT):
        violations.append(fault)
        return None
    told_us = microseconds(datetime.fromisoformat(data[name]))
    if not EARLIEST_US <= told_us <= now_us:
        rule = "max" if told_us > now_us else "min"
        text = f"{name} is {shown(data[name])}; times from {iso(EARLIEST_US)} to now, {iso(now_us)}, are allowed"
        violations.append(Violation(name, shown(data[name]), rule, text))
    return told_us


def word_in(data: Mapping[str, Any], name: str, violations: list[Violation]) -> str | None:
    """The caller's own id under a key, if there is one."""
    value = data.get(name)
    if value is None or (isinstance(value, str) and _WORD.fullmatch(value)):
        return value
    text = f"{name} is 1 to 128 of the characters A-Z a-z 0-9 . _ : -"
    rule = "allowed" if isinstance(value, str) else "dtype"
    violations.append(Violation(name, shown(value), rule, text))
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


def repeats(data: Mapping[str, Any]) -> list[Violation]:
    """A fault for each key that an object gives more than once."""
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
        return f"{error.msg.removesuffix(' at')} at character {error.pos}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object[error.start]!r} is half of a pair, no character"
    return "it nests too deep" if isinstance(error, RecursionError) else "a number has too many digits"


# NaN and Infinity are read on purpose: the contract refuses them by the feature's name and the rule `finite`.
_DECODER: Final = json.JSONDecoder(object_pairs_hook=_pairs)
_INSTANT: Final = Column(dtype="timestamp", unit="utc")
_KEY_COLUMNS: Final = {
    "int64": Column(dtype="int64", unit="id"),
    "string": Column(dtype="string", unit="id"),
}
