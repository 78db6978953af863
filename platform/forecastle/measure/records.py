"""Frozen records and tables as plain JSON values.

Belongs here: the one rule by which a result of this room becomes JSON (asset metadata, sidecar files).
Does not belong here: what a result contains, files, HTML.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd


def json_ready(value: Any) -> Any:  # noqa: PLR0911
    """`value` as dicts, lists, text, numbers, booleans and None, ready for `json.dumps(…, allow_nan=False)`.

    Records become objects by field, tables lists of rows, arrays lists, dates ISO text. A missing number
    becomes None and an infinite one the text "inf" or "-inf": JSON has no token for either, and an infinite
    log loss must not vanish.

    Raises:
        TypeError: a value of another kind.
    """
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float | np.generic):
        return _scalar(value)
    if callable(getattr(value, "to_json", None)) and not isinstance(value, pd.DataFrame):
        return json_ready(value.to_json())
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: json_ready(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, pd.DataFrame):
        return [json_ready(row) for row in value.to_dict(orient="records")]
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, tuple | list | np.ndarray):
        return [json_ready(item) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"got {type(value).__name__}; records, tables, arrays and plain values have a JSON form")


def _scalar(value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and not math.isfinite(plain):
        return None if math.isnan(plain) else f"{plain}"
    return plain
