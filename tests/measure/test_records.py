"""Records and tables become plain JSON without tokens that JSON lacks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from forecastle.measure.recalibration import fit_calibrator
from forecastle.measure.records import json_ready


@dataclass(frozen=True)
class _Inner:
    values: tuple[float, ...]


@dataclass(frozen=True)
class _Record:
    inner: _Inner
    table: pd.DataFrame
    mapping: dict[str, object]


def test_everything_in_a_record_becomes_plain():
    """Nested records, tables, arrays, NumPy scalars, dates, missing and infinite numbers."""
    record = _Record(
        inner=_Inner((1.0, np.nan, np.inf, -np.inf)),
        table=pd.DataFrame({"n": [1], "share": [np.nan], "is_small": [True]}),
        mapping={"at": datetime(2026, 1, 1, tzinfo=UTC), "array": np.array([1, 2]), "flag": np.bool_(False)},
    )
    expected = {
        "inner": {"values": [1.0, None, "inf", "-inf"]},
        "table": [{"n": 1, "share": None, "is_small": True}],
        "mapping": {"at": "2026-01-01T00:00:00+00:00", "array": [1, 2], "flag": False},
    }
    assert json_ready(record) == expected
    assert json.loads(json.dumps(json_ready(record), allow_nan=False)) == expected


def test_records_with_their_own_json_form_use_it():
    """A calibrator writes itself."""
    calibrator = fit_calibrator("temperature", [0, 1, 0, 1], [0.2, 0.4, 0.6, 0.8])
    assert json_ready(calibrator) == json_ready(calibrator.to_json())


def test_unknown_kinds_are_refused():
    """A set has no order and so no JSON form here."""
    with pytest.raises(TypeError, match="set"):
        json_ready({1, 2})
