"""Each rule of conformance can fail: a system that breaks it is caught. A gate that cannot fail tests nothing."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forecastle.contract.errors import ContractError
from forecastle.contract.load import LoadedSystem, load_system
from forecastle.store.feature_views import publish_view
from forecastle.store.home import Home
from forecastle.store.push import online_view
from forecastle.store.sources import ingest
from forecastle.store.training_set import publish_training_set
from resources.platform import Platform
from tests.conformance.conftest import SIXTH, Make
from tests.conformance.materialised import NOW, Materialised
from tests.conformance.rules import RULES

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group(f"conformance_{SIXTH}")]

Break = Callable[[Materialised, Path], Materialised]


@pytest.fixture
def whole(make: Make) -> Materialised:
    """The sixth system, which keeps every rule; do not change it: `changed`, `elsewhere`."""
    return make(SIXTH)


def changed(made: Materialised, **parts: Any) -> Materialised:
    """The same materialisation with some parts replaced."""
    other = copy.copy(made)
    other.__dict__.update(parts)
    return other


def elsewhere(made: Materialised, folder: Path) -> Materialised:
    """A copy of its home, to break; MLflow stays behind: its database names files by absolute path."""
    assert made.served
    shutil.copytree(made.home.root, folder / "home", ignore=shutil.ignore_patterns("mlflow", "bentoml"))
    other = changed(made, home=Home(folder / "home"), platform=Platform(home=str(folder / "home"), now=NOW.isoformat()))
    other.__dict__.pop("definitions", None)
    return other


def declared(made: Materialised, **fields: Any) -> LoadedSystem:
    """The system under another declaration."""
    return replace(made.system, declaration=made.system.declaration.model_copy(update=fields))


def rewritten(made: Materialised, folder: Path, file: str, old: str, new: str) -> Materialised:
    """The system with one file changed, and an empty home."""
    target = folder / made.system.name
    shutil.copytree(made.system.folder, target, ignore=shutil.ignore_patterns("__pycache__"))
    text = (target / file).read_text()
    assert old in text
    (target / file).write_text(text.replace(old, new))
    return Materialised(target, folder / "home", made.instance)


def trained(made: Materialised) -> Materialised:
    """Up to a training set that no check stood in the way of."""
    system, warehouse = made.system, made.platform.warehouse()
    data = made.platform.data_folder(system)
    for name, source in system.declaration.sources.items():
        ingest(warehouse, system.name, name, source, data=data)
    for view in system.declaration.feature_views:
        publish_view(warehouse, system, view)
    publish_training_set(warehouse, system, now=NOW)
    return made


def seed_is_ignored(made: Materialised, folder: Path) -> Materialised:
    return rewritten(made, folder, "simulate.py", "default_rng(seed)", "default_rng(0)")


def the_past_moves(made: Materialised, folder: Path) -> Materialised:
    return rewritten(made, folder, "simulate.py", "SECONDS_PER_DAY, begin)]", "SECONDS_PER_DAY, cut)]")


def a_view_breaks_its_contract(made: Materialised, folder: Path) -> Materialised:
    return rewritten(made, folder, "parcel_facts.sql", "parcels.distance_km AS", "-1.0 - parcels.distance_km AS")


def nothing_was_checked(made: Materialised, _: Path) -> Materialised:
    return changed(made, run=SimpleNamespace(get_asset_check_evaluations=list), completed=None)


def less_is_allowed_than_is_there(made: Materialised, _: Path) -> Materialised:
    views = dict(made.system.declaration.feature_views)
    view = views["parcel_facts"]
    short = view.features["distance_km"].model_copy(update={"max": 100.0})
    views["parcel_facts"] = view.model_copy(update={"features": {**view.features, "distance_km": short}})
    return changed(made, system=declared(made, feature_views=views))


def a_feature_knows_the_arrival(made: Materialised, folder: Path) -> Materialised:
    late = "(SELECT COUNT(*) FROM arrivals WHERE arrivals.parcel_id = parcels.parcel_id)"
    return trained(rewritten(made, folder, "parcel_facts.sql", "parcels.distance_km AS", f"{late} * 1.0 AS"))


def the_files_are_others(made: Materialised, folder: Path) -> Materialised:
    other = elsewhere(made, folder)
    made.system.function("simulate:world")(other.home.simulated / made.system.name, seed=3, now=NOW)
    return other


def a_function_looks_at_its_neighbours(made: Materialised, folder: Path) -> Materialised:
    old = "np.asarray(distance_km, dtype=np.float64) /"
    return trained(rewritten(made, folder, "features.py", old, "np.max(np.asarray(distance_km)) /"))


def the_pointer_names_another_bundle(made: Materialised, folder: Path) -> Materialised:
    other = elsewhere(made, folder)
    pointer = other.home.champion(made.system.name)
    pointer.write_text(json.dumps({**json.loads(pointer.read_text()), "bundle": "0" * 64}))
    return other


def somebody_else_owns_it(made: Materialised, _: Path) -> Materialised:
    return changed(made, system=declared(made, owner="team:nobody"))


def the_gate_is_finer_than_the_champion(made: Materialised, _: Path) -> Materialised:
    gates = made.system.declaration.gates.model_copy(update={"miscalibration_max": 1e-9})
    return changed(made, system=declared(made, gates=gates))


def an_entity_stands_twice(made: Materialised, _: Path) -> Materialised:
    rows = made.frame("batch_predictions/all")
    return changed(made, frame=lambda _: rows.iloc[[0, *range(len(rows))]])


def the_last_bit_differs(made: Materialised, _: Path) -> Materialised:
    rows = made.served.rows.assign(probability=made.served.rows["probability"] * (1 + 2**-52))
    return changed(made, served=replace(made.served, rows=rows))


def everything_is_answered(made: Materialised, _: Path) -> Materialised:
    client = SimpleNamespace(predict=lambda _: SimpleNamespace(status=200, rules=[]))
    return changed(made, served=made.served, service=lambda _: nullcontext(client))


def an_online_row_is_another(made: Materialised, folder: Path) -> Materialised:
    other = elsewhere(made, folder)
    view = other.system.declaration.feature_views["parcel_facts"]
    columns = online_view("parcel_facts", view, other.system.declaration.entity[view.entity])
    key = tuple(other.entities(other.served.rows.head(1))[0].values())
    store = other.platform.online(other.system.name)
    row = store.read([columns], key)["parcel_facts"]
    assert row is not None
    store.write(columns, [(*key, row.event_at_us, row.known_at_us + 1, *(0 for _ in columns.features))])
    store.close()
    return other


def another_number_was_answered(made: Materialised, _: Path) -> Materialised:
    first, *others = made.served.singles
    return changed(made, served=replace(made.served, singles=[{**first, "probability": 0.5}, *others]))


CONTROLS: dict[str, Break] = {
    "simulator": seed_is_ignored,
    "continued": the_past_moves,
    "graph": a_view_breaks_its_contract,
    "checks": nothing_was_checked,
    "contract": less_is_allowed_than_is_there,
    "leakage": a_feature_knows_the_arrival,
    "repeatable": the_files_are_others,
    "on_demand": a_function_looks_at_its_neighbours,
    "promotion": the_pointer_names_another_bundle,
    "card": somebody_else_owns_it,
    "calibration": the_gate_is_finer_than_the_champion,
    "batch": an_entity_stands_twice,
    "serving": the_last_bit_differs,
    "request": everything_is_answered,
    "parity": an_online_row_is_another,
    "trace": another_number_was_answered,
}


def test_every_rule_has_a_control() -> None:
    """A new rule without a system that breaks it fails here."""
    assert list(CONTROLS) == list(RULES)


@pytest.mark.parametrize("rule", CONTROLS)
def test_the_rule_catches(whole: Materialised, rule: str, tmp_path: Path) -> None:
    """The broken system is told of; the sixth system itself is not."""
    assert any(RULES[rule](CONTROLS[rule](whole, tmp_path)))


def test_a_model_of_a_matrix_tells_its_miscalibration(whole: Materialised) -> None:
    """Its report may be left out, its measurement not: here no partition says anything."""
    plain = whole.system.declaration.models
    models = {name: model.of_group("many", None) for name, model in plain.items()}
    silent = changed(whole, system=declared(whole, models=models))
    assert "says None of its miscalibration" in next(RULES["calibration"](silent))


def test_a_refused_candidate_is_appointed_so_that_the_rest_is_looked_at(whole: Materialised, tmp_path: Path) -> None:
    """Gates that nobody passes: the refusal is explained, and batch, Bento and service are tested all the same."""
    old = "miscalibration_max: 0.01"
    refused = rewritten(whole, tmp_path, "system.yaml", old, "miscalibration_max: 0.0000001")
    assert refused.refused
    assert refused.completed is not None
    broken = {rule: list(RULES[rule](refused)) for rule in ("graph", "checks", "promotion", "calibration", "serving")}
    assert not any(broken.values()), broken


def test_a_folder_that_does_not_load_says_why(whole: Materialised, tmp_path: Path) -> None:
    """Before any rule: the declaration's own problems, with file and line."""
    with pytest.raises(ContractError, match=r"system\.yaml:") as told:
        rewritten(whole, tmp_path, "system.yaml", "owner: team", "owners: team")
    assert "did you mean" in str(told.value)
    assert load_system(whole.system.folder).name == SIXTH
