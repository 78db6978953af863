"""One system, whole: its graph run once on its simulator, and its service asked in this process.

Belongs here: making and holding what the rules look at, each part once.
Does not belong here: the rules (`rules.py`), which systems there are (`conftest.py`).
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from assets.factory import build_system
from forecastle.contract.load import LoadedSystem, load_system
from forecastle.promote.promote import Candidate, rollback, settle
from forecastle.serve.settings import Settings
from forecastle.store.home import Home
from resources.environment import resources_from
from resources.platform import Alerts, Platform
from tests.serve.client import running

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ASKED = 200
SEED = 20260601
# A broken rule is told in its own words; Dagster's log would hide them.
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Served:
    """What the service said in this process about a sample of the entities that the batch asset scored."""

    rows: pd.DataFrame
    singles: list[dict[str, Any]]
    batch: list[dict[str, Any]]
    model: dict[str, Any]


class Materialised:
    """A system with a home of its own, no data folder and a clock that starts at `NOW`.

    `run` is the refresh job from sources to a packed champion. Where the gates refuse, their candidate is appointed by
    hand afterwards, so that batch, Bento and service are looked at all the same; `refused` says so.
    """

    def __init__(self, folder: Path, home: Path, instance: dg.DagsterInstance) -> None:
        self.system: LoadedSystem = of_every_kind(load_system(folder))
        self.home = Home(home)
        self.platform = Platform(home=str(home), now=NOW.isoformat())
        self.instance = instance

    @cached_property
    def definitions(self) -> dg.Definitions:
        """The system's definitions over its own home."""
        ours = {"platform": self.platform, "alerts": Alerts(platform=self.platform)}
        return dg.Definitions.merge(dg.Definitions(resources=resources_from({}) | ours), build_system(self.system))

    @cached_property
    def run(self) -> dg.ExecuteInProcessResult:
        """The whole graph, once."""
        return self.execute()

    @cached_property
    def refused(self) -> bool:
        """Whether the gates left the system without a champion (one is appointed then)."""
        if "promotion" not in made_by(self.run) or self.platform.registry().champion(self.system.name) is not None:
            return False
        refusal = self.platform.registry().decisions(self.system.name)[0]
        candidate = Candidate(self.system.name, refusal.model, refusal.bundle, refusal.model_version)
        settle(
            candidate, rollback("appointed, to look at the rest of the graph"), None,
            registry=self.platform.registry(), tracking=self.platform.tracking(),
            bundles=self.home.bundles(self.system.name), pointer=self.home.champion(self.system.name),
            expected=None, approved_by="conformance",
        )  # fmt: skip
        return True

    @cached_property
    def completed(self) -> dg.ExecuteInProcessResult | None:
        """What could not be made without a champion, made with the appointed one; None where nothing was left."""
        return self.execute(*sorted(self.left_out)) if self.refused else None

    def complete(self) -> None:
        """Make whatever can be made; what could not, the rules tell."""
        assert self.completed is None or self.refused

    @cached_property
    def left_out(self) -> set[str]:
        """Assets that the first run did not make."""
        return self.declared_assets - made_by(self.run)

    @cached_property
    def declared_assets(self) -> set[str]:
        """Every asset of the refresh job, without the system's name."""
        job = self.definitions.resolve_job_def(f"{self.system.name}_refresh")
        return {"/".join(key.path[1:]) for key in job.asset_layer.executable_asset_keys}

    def execute(self, *assets: str) -> dg.ExecuteInProcessResult:
        """Run the refresh job, or only the named assets of it."""
        job = self.definitions.resolve_job_def(f"{self.system.name}_refresh")
        selection = [dg.AssetKey([self.system.name, *asset.split("/")]) for asset in assets] or None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return job.execute_in_process(
                run_config=QUIET, instance=self.instance, asset_selection=selection, raise_on_error=False
            )

    def frame(self, table: str) -> pd.DataFrame:
        """The newest rows of a table such as "training_set/all"."""
        return self.platform.warehouse().frame(f"{self.system.name}/{table}")

    @cached_property
    def served(self) -> Served:
        """Receipts for a sample of the batch rows, at the moment the batch was made."""
        rows = self.frame("batch_predictions/all")
        rows = rows.sample(min(ASKED, len(rows)), random_state=SEED).sort_index().reset_index(drop=True)
        asked = [{"entity": entity} for entity in self.entities(rows)]
        with self.service(rows["predict_at"].max().to_pydatetime()) as client:
            singles = [client.predict(request).json for request in asked]
            batch = client.post("/predict_batch", {"requests": asked}).json.get("answers", [])
            model = client.ask("GET", "/model").json
        return Served(rows, singles, batch, model)

    def service(self, now: datetime) -> Any:
        """The prediction service of this home, with its clock at `now`: a context that gives a client."""
        return running(Settings(self.system.name, self.home, None, lambda: now))

    def entities(self, rows: pd.DataFrame) -> list[dict[str, Any]]:
        """The entity keys of each row, as a request names them."""
        keys = list(self.system.declaration.entity_of_label().keys)
        return list(json.loads(rows[keys].to_json(orient="records")))


def of_every_kind(system: LoadedSystem) -> LoadedSystem:
    """The system with fewer models where a matrix makes many: each segment × estimator, and each feature set once.

    The other combinations are nothing that a rule could find out anew, and training sixty models takes minutes.
    """
    declared, seen = system.declaration, set[Any]()
    models = {}
    for name, model in declared.models.items():
        features = tuple(declared.model_features(name))
        kinds = {(model.group, str(model.segment), model.estimator), (model.group, features)}
        if model.group is None or kinds - seen:
            models[name] = model
        seen |= kinds
    return replace(system, declaration=declared.model_copy(update={"models": models}))


def made_by(result: dg.ExecuteInProcessResult) -> set[str]:
    """The assets that a run materialised, without the system's name."""
    keys = (event.asset_key for event in result.get_asset_materialization_events())
    return {"/".join(key.path[1:]) for key in keys if key is not None}
