"""A small validator for the JSON schemas that the service publishes: every word they use, and no other.

https://json-schema.org/draft/2020-12/json-schema-validation
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

TYPES = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
}
KNOWN = {
    "type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "oneOf", "$ref", "minimum",
    "maximum", "minItems", "maxItems", "pattern", "format", "description", "x-unit",
}  # fmt: skip


def faults(value: Any, schema: dict[str, Any], document: dict[str, Any], *, at: str = "$") -> list[str]:
    """Every place where a value breaks a schema of the document; no place means that it is valid."""
    assert set(schema) <= KNOWN, f"the validator does not know {set(schema) - KNOWN}"
    if "$ref" in schema:
        target: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return faults(value, target, document, at=at)
    found = _of_value(value, schema, at)
    for word, allowed in (("anyOf", lambda n: n >= 1), ("oneOf", lambda n: n == 1)):
        if word in schema:
            branches = [faults(value, branch, document, at=at) for branch in schema[word]]
            if not allowed(sum(not branch for branch in branches)):
                found.append(f"{at}: {word}: {[b[:1] for b in branches]}")
    if isinstance(value, dict):
        found += _of_object(value, schema, document, at)
    if isinstance(value, list):
        found += _of_array(value, schema, document, at)
    return found


def _of_value(value: Any, schema: dict[str, Any], at: str) -> list[str]:
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(TYPES[kind](value) for kind in kinds):
        return [f"{at}: {value!r} is no {kinds}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is not in {schema['enum']}")
    if TYPES["number"](value) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(f"{at}: {value!r} is out of range")
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            found.append(f"{at}: {value!r} does not match {schema['pattern']}")
        if schema.get("format") == "date-time" and datetime.fromisoformat(value).tzinfo is None:
            found.append(f"{at}: {value!r} has no zone")
    return found


def _of_object(value: dict, schema: dict[str, Any], document: dict[str, Any], at: str) -> list[str]:
    found = [f"{at}: lacks {name}" for name in schema.get("required", ()) if name not in value]
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, inner in value.items():
        if name in properties:
            found += faults(inner, properties[name], document, at=f"{at}.{name}")
        elif others is False:
            found.append(f"{at}: {name} is not described")
        elif others is not True:
            found += faults(inner, others, document, at=f"{at}.{name}")
    return found


def _of_array(value: list, schema: dict[str, Any], document: dict[str, Any], at: str) -> list[str]:
    found = []
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        found.append(f"{at}: {len(value)} items")
    for index, inner in enumerate(value):
        found += faults(inner, schema.get("items", {}), document, at=f"{at}[{index}]")
    return found
