"""On-demand features over columns: the functions a set carries, and what they may give back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forecastle.contract.errors import FeatureError
from forecastle.contract.load import load_system
from forecastle.contract.on_demand import on_demand_columns

COLUMNS = {"chance": np.array([0.5, 0.25, np.nan]), "pressure_mean": np.array([2.0, np.nan, 4.0])}


def test_columns_are_what_the_function_gives_for_each_row(rain: Path):
    """Row by row the values of a request: 0.5 · 2.0 = 1.0, and null where an input is null."""
    feature_set = load_system(rain).feature_set("trees")
    made = on_demand_columns(feature_set, COLUMNS)
    assert list(made) == ["tension"]
    np.testing.assert_array_equal(made["tension"], [1.0, np.nan, np.nan])
    signals = feature_set.functions()["signals"]
    for row, value in enumerate(made["tension"]):
        scalar = signals(**{name: float(values[row]) for name, values in COLUMNS.items()})["tension"]
        np.testing.assert_array_equal(value, scalar)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ('{"tensoin": chance}', "gives tensoin; it is declared to give tension"),
        ('{"tension": chance[:2]}', r"gives tension of shape \(2,\); \(3,\) is expected"),
        ('{"tension": 1.0}', r"gives tension of shape \(\); \(3,\) is expected"),
    ],
)
def test_other_names_or_shapes_are_refused(rain: Path, result: str, message: str):
    """A function gives exactly its declared features, one value for each row."""
    feature_set = load_system(rain).feature_set("trees")
    code = f"def signals(*, chance, pressure_mean):\n    return {result}\n"
    with pytest.raises(FeatureError, match=message):
        on_demand_columns(replace(feature_set, code={"features": code}), COLUMNS)


def test_only_declared_inputs_are_given(rain: Path, edit: Callable[[str, str, str], int]):
    """A column that happens to be there is not passed on."""
    edit("features.py", "(*, chance, pressure_mean)", "(*, chance, pressure_mean, **others)")
    edit("features.py", "chance * pressure_mean", "chance * (1.0 if not others else 0.0)")
    made = on_demand_columns(load_system(rain).feature_set("trees"), {**COLUMNS, "more": np.ones(3)})
    assert np.array_equal(made["tension"], COLUMNS["chance"], equal_nan=True)
