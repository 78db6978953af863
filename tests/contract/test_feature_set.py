"""The feature set: what its hash stands for, and functions from the code that it carries."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from forecastle.contract.errors import BundleError
from forecastle.contract.feature_set import FeatureSet, load_module
from forecastle.contract.load import load_system

Edit = Callable[[str, str, str], int]


def feature_set(folder: Path) -> FeatureSet:
    return load_system(folder).feature_set("trees")


def test_a_feature_set_holds_what_its_model_needs(rain: Path, edit: Edit):
    """A model of one on-demand feature also needs the inputs of its function, their views and its code."""
    edit("system.yaml", "params: {n_estimators: 10}", "features: [tension]")
    found = feature_set(rain)
    assert found.model_features == ("tension",)
    assert [f.name for f in found.features] == ["tension", "chance", "pressure_mean"]
    assert [(f.view, f.ttl_seconds) for f in found.features] == [
        (None, None),
        ("weather", 2 * 86400.0),
        ("weather", 2 * 86400.0),
    ]
    assert [(v.name, v.keys, v.features) for v in found.views] == [
        ("weather", ("station_id",), ("chance", "pressure_mean"))
    ]
    assert [(o.function, o.inputs, o.outputs) for o in found.on_demand] == [
        ("features:signals", ("chance", "pressure_mean"), ("tension",))
    ]
    assert list(found.code) == ["features"]
    assert found.entity == "station"
    assert found.keys == {"station_id": "int64"}
    assert found.spec("chance").contract.unit == "probability"


def test_a_model_of_view_features_carries_no_code(rain: Path, edit: Edit):
    """What a model does not use does not travel with it."""
    edit("system.yaml", "params: {n_estimators: 10}", "features: [chance]")
    found = feature_set(rain)
    assert [f.name for f in found.features] == ["chance"]
    assert (found.on_demand, dict(found.code)) == ((), {})


def test_all_features_are_those_of_a_training_set(rain: Path, edit: Edit):
    """The training set holds every feature of the system, whatever a model takes."""
    edit("system.yaml", "params: {n_estimators: 10}", "features: [chance]")
    assert load_system(rain).all_features().model_features == ("chance", "pressure_mean", "tension")


def test_json_gives_the_same_set_back(rain: Path):
    """A bundle's JSON text reads back as an equal set with the same hash."""
    found = feature_set(rain)
    again = FeatureSet.from_json(json.loads(json.dumps(found.to_json())))
    assert again == found
    assert again.hash == found.hash
    assert again.to_json() == found.to_json()


CHANGES = {
    "range": ("system.yaml", "min: 0, max: 1, missing: last", "min: 0, max: 0.9, missing: last"),
    "nullability": ("system.yaml", "max: 1, missing: last", "max: 1, nullable: true, missing: last"),
    "unit": (
        "system.yaml",
        "{dtype: float64, unit: score, nullable",
        "{dtype: float64, unit: rank, nullable",
    ),
    "rule": ("system.yaml", "max: 1, missing: last", "max: 1, missing: refuse"),
    "ttl": ("system.yaml", "ttl: 2d", "ttl: 3d"),
    "order": ("system.yaml", "params: {n_estimators: 10}", "features: [tension, chance, pressure_mean]"),
    "selection": ("system.yaml", "params: {n_estimators: 10}", "features: [chance]"),
    "key": ("system.yaml", "{station_id: int64}", "{station_id: string}"),
    "SQL": ("weather.sql", "1000.0", "1013.0"),
    "code": ("features.py", "chance * pressure_mean", "chance / pressure_mean"),
}


@pytest.mark.parametrize(("file", "old", "new"), CHANGES.values(), ids=CHANGES.keys())
def test_the_hash_changes_with_what_changes_a_value(rain: Path, edit: Edit, file: str, old: str, new: str):
    """Contract, order, TTL, keys, SQL and on-demand code are what the hash stands for."""
    before = feature_set(rain).hash
    edit(file, old, new)
    assert feature_set(rain).hash != before


SAME = {
    "description of a feature": (
        "system.yaml",
        "missing: last",
        "missing: last, description: Chance of rain.",
    ),
    "owner of a feature": ("system.yaml", "missing: last", "missing: last, owner: team:rain"),
    "spelling of a number": (
        "system.yaml",
        "min: 0, max: 1, missing: last",
        "min: 0.0, max: 1.0, missing: last",
    ),
    "spelling of a duration": ("system.yaml", "ttl: 2d", "ttl: 48h"),
    "description of the system": ("system.yaml", "Will it rain at a station tomorrow?", "Rain?"),
    "comment": ("system.yaml", "system: rain\n", "# A comment.\nsystem: rain\n"),
    "gate": ("system.yaml", "suspicious_gain: 0.1", "suspicious_gain: 0.2"),
    "parameter": ("system.yaml", "n_estimators: 10", "n_estimators: 20"),
    "label SQL": ("outcome.sql", "'north'", "'south'"),
    "simulator": ("simulate.py", "days=30", "days=60"),
}


@pytest.mark.parametrize(("file", "old", "new"), SAME.values(), ids=SAME.keys())
def test_the_hash_stays_with_what_changes_no_value(rain: Path, edit: Edit, file: str, old: str, new: str):
    """Words about a feature, and all that is no feature, leave the hash alone."""
    before = feature_set(rain).hash
    edit(file, old, new)
    assert feature_set(rain).hash == before


def test_the_hash_is_sixty_four_hexadecimal_digits_and_the_same_in_every_run(rain: Path):
    """Loading again, in any order of dictionaries, gives the same hash."""
    first, second = feature_set(rain), feature_set(rain)
    assert re.fullmatch("[0-9a-f]{64}", first.hash)
    assert first.hash == second.hash
    turned = replace(second, keys=dict(reversed(second.keys.items())), code=dict(reversed(second.code.items())))
    assert turned.hash == first.hash


def test_functions_come_from_the_code_carried(rain: Path, edit: Edit):
    """Editing or deleting the file afterwards changes nothing: the set runs what it was made with."""
    found = feature_set(rain)
    edit("features.py", "chance * pressure_mean", "0.0")
    carried = FeatureSet.from_json(json.loads(json.dumps(found.to_json())))
    (rain / "features.py").unlink()
    assert carried.functions()["signals"](chance=3.0, pressure_mean=4.0) == {"tension": 12.0}


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ({}, "KeyError"),
        ({"features": "def other(): pass"}, "has no attribute 'signals'"),
        ({"features": "1 / 0"}, "ZeroDivisionError"),
        ({"features": "def signals(:"}, "SyntaxError"),
    ],
)
def test_code_that_does_not_run_is_an_error_of_the_bundle(rain: Path, code: dict[str, str], why: str):
    """A set whose code is missing or broken never serves, and says which function it was."""
    broken = replace(feature_set(rain), code=code)
    with pytest.raises(BundleError, match=r"features:signals of 'rain' cannot be loaded") as caught:
        broken.functions()
    assert why in str(caught.value)


def without(data: dict, key: str) -> dict:
    return {k: v for k, v in data.items() if k != key}


@pytest.mark.parametrize(
    "key", ["system", "entity", "keys", "model_features", "features", "views", "on_demand", "code"]
)
def test_json_with_a_key_missing_is_no_feature_set(rain: Path, key: str):
    """Every key is needed; what lacks one is refused with what to do."""
    with pytest.raises(BundleError, match="build the bundle again"):
        FeatureSet.from_json(without(feature_set(rain).to_json(), key))


def test_json_with_another_contract_is_no_feature_set(rain: Path):
    """A contract that does not validate is refused: no unknown key, no other dtype."""
    data = feature_set(rain).to_json()
    data["features"][0]["contract"]["dtype"] = "float32"
    with pytest.raises(BundleError, match="build the bundle again"):
        FeatureSet.from_json(data)


def test_a_module_is_made_once_and_reached_by_no_import():
    """The same text is the same module; its name cannot be written in an import statement."""
    text = "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1\n"
    first, second = (load_module("features", text, origin="once") for _ in range(2))
    assert first is second
    assert "features" not in sys.modules
    assert "forecastle_system_once" not in sys.modules


def test_a_module_that_fails_leaves_nothing_behind():
    """The next attempt runs the text again and does not find half a module."""
    before = set(sys.modules)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            load_module("features", "x = 1\n1 / 0\n", origin="fails")
    assert set(sys.modules) == before


def test_threads_never_see_half_a_module():
    """Eight threads that ask at once get the same finished module."""
    text = "total = sum(range(300_000))\nready = True\n"
    barrier, seen = threading.Barrier(8), []

    def ask() -> None:
        barrier.wait()
        seen.append(load_module("features", text, origin="threads").__dict__.get("ready"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 8
