"""Models of a training that was stopped half-way: the next run of their factory keeps them.

Belongs here: what each run of a factory ended with, which models stand, what the UI shows of them.
Does not belong here: the factory's assets (`matrix.py`), the hash of what a model is made of (`forecastle.learn`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pandas as pd

from assets.evaluation import brief_calibration, evaluated
from assets.models import INPUTS
from forecastle.contract.errors import ForecastleError
from forecastle.contract.load import LoadedSystem
from forecastle.learn.bundle import CARD_PAGE, load_bundle
from forecastle.learn.golden import golden_faults
from resources.platform import Platform


@dataclass(frozen=True, slots=True)
class KeptModel:
    """A model that was made of what is there now, and that no comparison has judged."""

    name: str
    facts: Mapping[str, str]


def kept_models(platform: Platform, system: LoadedSystem, models: Sequence[str], *, inputs: str) -> list[KeptModel]:
    """The models of a matrix that stand: what a run left that ended before it judged them."""
    judged = _judged(platform, system)
    return [kept for name in models if (kept := _kept(platform, system, name, inputs=inputs, judged=judged))]


def ended_with(platform: Platform, system: LoadedSystem, group: str) -> list[dict[str, str]]:
    """What the last run of a factory that came to an end left: model, reason ("" where it was made), bundle."""
    version = platform.warehouse().version(f"{system.name}/factory/{group}")
    rows = [] if version is None else platform.warehouse().frame(version).to_dict("records")
    return [{name: str(row.get(name) or "") for name in ("model", "reason", "bundle")} for row in rows]


def publish_end(
    platform: Platform, system: LoadedSystem, group: str, *, models: Sequence[str], reasons: Mapping[str, str]
) -> None:
    """Record how a run of a factory ended, one row a model; `reasons` says why models were not made."""
    rows = [(name, reasons.get(name, ""), bundle_of(platform, system, name)) for name in models]
    table = pd.DataFrame(rows, columns=["model", "reason", "bundle"])
    platform.warehouse().publish(f"{system.name}/factory/{group}", table)


def bundle_of(platform: Platform, system: LoadedSystem, model: str) -> str:
    """The bundle that the newest rows of a model are of; "" where it was never made."""
    version = platform.warehouse().version(f"{system.name}/held_out/{model}")
    return "" if version is None else version.facts["bundle"]


def kept_metadata(platform: Platform, system: LoadedSystem, kept: KeptModel) -> dict[str, dict[str, Any]]:
    """What the UI shows of a kept model at each stage."""
    bundle = load_bundle(platform.layout.bundles(system.name) / kept.facts["bundle"])
    page = platform.layout.bundles(system.name) / bundle.hash / CARD_PAGE
    model = {
        "bundle": bundle.hash,
        "model_version": kept.facts["model_version"],
        "mlflow_run_id": kept.facts["mlflow_run_id"],
        "kept": "made before of the same declaration and training set, and not yet judged by `comparison`",
        "card": dg.MetadataValue.md(bundle.card),
        "card_page": dg.MetadataValue.path(str(page)),
    }
    rows = platform.warehouse().frame(f"{system.name}/models/{kept.name}")
    return {
        "models": model,
        "evaluation": evaluated(platform, system, kept.name),
        "calibration": brief_calibration(system, rows),
    }


def _judged(platform: Platform, system: LoadedSystem) -> frozenset[str]:
    """The bundles that the newest comparison judged."""
    version = platform.warehouse().version(f"{system.name}/decisions/all")
    return frozenset() if version is None else frozenset(platform.warehouse().frame(version, ["bundle"])["bundle"])


def _kept(
    platform: Platform, system: LoadedSystem, name: str, *, inputs: str, judged: frozenset[str]
) -> KeptModel | None:
    found = platform.warehouse().version(f"{system.name}/models/{name}")
    if found is None or found.facts.get(INPUTS) != inputs:
        return None
    bundle = found.facts["bundle"]
    if bundle in judged or bundle != bundle_of(platform, system, name):
        return None
    try:
        whole = not golden_faults(load_bundle(platform.layout.bundles(system.name) / bundle, expected_hash=bundle))
    except ForecastleError:
        return None
    return KeptModel(name, found.facts) if whole else None
