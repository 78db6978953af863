"""The asset `rollout`: a trial is decided, done and recorded by what its final outcomes say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import dagster as dg
import msgspec
import pandas as pd
import pytest

from assets.automation import evidence_marks
from assets.experiment import build_experiment
from assets.rollout import build_rollout, build_shadow
from forecastle.contract.system import Canary, Phase, Promote, Rollout
from forecastle.promote.approval import awaiting
from forecastle.promote.registry import Registry
from forecastle.promote.rollout import RolloutRecord, publish_challenger
from forecastle.store.outcome_log import OutcomeLog, ToldOutcome
from forecastle.store.prediction import Prediction
from forecastle.store.warehouse import Warehouse
from tests.serve import toy

DAY = timedelta(days=1)
STARTED, NOW = toy.NOW, toy.NOW + 30 * DAY
PHASES = [
    Phase(share=0.05, gates=["predictive"], rows_min=100),
    Phase(share=0.2, gates=["predictive", "fairness"], rows_min=200),
]
ROLLOUT = Rollout(challenger_share=0.05, canary=Canary(phases=PHASES, margin=0.01))
SYSTEM: Any = SimpleNamespace(
    name="toy",
    declaration=SimpleNamespace(
        owner="team:toy",
        retrain=SimpleNamespace(max_age=DAY),
        drift=SimpleNamespace(window=30 * DAY),
        entity_of_label=lambda: SimpleNamespace(keys={"market_id": "int64"}),
        gates=SimpleNamespace(miscalibration_max=0.02),
        evaluate=SimpleNamespace(slices=["region"]),
        rollout=ROLLOUT,
        promote=Promote(),
    ),
)


class Log:
    """A prediction log held in memory."""

    def __init__(self) -> None:
        self.rows: list[Prediction] = []

    def exists(self) -> bool:
        return True

    def since(self, sequence: int, *, limit: int) -> Sequence[Prediction]:
        return [row for row in self.rows if row.sequence > sequence][:limit]

    def count(self) -> int:
        return len(self.rows)

    def before(self, moment_us: int) -> int:
        later = [row.sequence for row in self.rows if row.predicted_at_us >= moment_us]
        return min(later, default=len(self.rows) + 1) - 1

    def close(self) -> None:
        """Nothing is open."""


class Tracking:
    """Knows every version, and remembers who has the alias."""

    champion = "1"

    def require_version(self, _system: str, *, version: str) -> None:
        assert version in ("1", "2")

    def alias(self, _system: str, *, version: str) -> None:
        self.champion = version


class Trial:
    """A home where bundle 2 is on trial against bundle 1, and speaks in the shadow of every answer."""

    def __init__(self, folder) -> None:
        self.home = toy.home_with_champion(folder)
        self.first = next(self.home.bundles("toy").iterdir()).name
        self.second = toy.make_bundle(self.home, seed=2, version="2")
        self.log, self.tracking = Log(), Tracking()
        self.registry = Registry(self.home.registry, clock=lambda: STARTED - DAY)
        self.registry.promote("toy", bundle=self.first, model_version="1", approved_by="gates", expected=None)
        self.record = RolloutRecord(self.home.registry, clock=lambda: STARTED)
        self.record.start(
            "toy", bundle=self.second, model_version="2", share=0.05, approved_by="ann", reason="new trees"
        )
        publish_challenger(self.home.challenger("toy"), self.record, system="toy", declaration=ROLLOUT)
        self.warehouse = Warehouse(self.home.warehouse, clock=lambda: NOW)
        self.platform = SimpleNamespace(
            layout=self.home, clock=lambda: NOW, registry=lambda: self.registry, tracking=lambda: self.tracking,
            warehouse=lambda: self.warehouse, prediction_log=lambda _: self.log,
        )  # fmt: skip

    def answer(self, count: int, *, champion: float, challenger: float) -> None:
        """Answers with their shadows, four of five outcomes 1, all final."""
        rows = []
        for i in range(count):
            at = STARTED + timedelta(minutes=i + 1)
            answer = prediction(f"p{i}", 2 * i + 1, at, variant="champion", bundle=self.first, probability=champion)
            shadow = prediction(f"s{i}", 2 * i + 2, at, variant="shadow", bundle=self.second, probability=challenger)
            self.log.rows += [answer, msgspec.structs.replace(shadow, request_id=f"shadow:p{i}")]
            rows.append(
                {
                    "sequence": 2 * i + 1, "prediction_id": f"p{i}", "market_id": i, "predicted_at": at,
                    "region": "north" if i % 2 else "south", "outcome": float(i % 5 != 0), "first_known_at": at + DAY,
                    "matures_at": at + 7 * DAY, "is_mature": True, "status": "known",
                }
            )  # fmt: skip
        self.warehouse.publish("toy/outcomes/all", pd.DataFrame(rows))

    def pointer(self) -> dict[str, Any] | None:
        path = self.home.challenger("toy")
        return json.loads(path.read_text()) if path.exists() else None

    def run(self) -> tuple[dict[str, Any], dg.AssetCheckEvaluation]:
        """Materialise the asset once; its metadata and its check."""
        return materialized(build_rollout(SYSTEM), self.platform)


def prediction(name: str, sequence: int, at, *, variant: str, bundle: str, probability: float) -> Prediction:
    features = {
        name: {"value": value}
        for name, value in zip(
            [*toy.VIEWS["prices"], *toy.VIEWS["polls"]], [0.4, 100.0, 10, 0.5, 2], strict=True
        )
    }  # fmt: skip
    return Prediction(
        prediction_id=name, request_id=name, request_sha256="", system="toy", entity_json='{"market_id":1}',
        predicted_at_us=int(at.timestamp()) * 1_000_000, raw_score=0.0, probability=probability, interval_low=None,
        interval_high=None, model="lightgbm", model_version="1", bundle=bundle, feature_set="", variant=variant,
        features_json=json.dumps(features), degraded_json="[]", vector_json="[]", decision_json="null",
        latency_ms=1.0, sequence=sequence,
    )  # fmt: skip


def materialized(asset: dg.AssetsDefinition, platform: Any) -> tuple[dict[str, Any], Any]:
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([asset], resources={"platform": platform}, instance=instance)
    (made,) = result.asset_materializations_for_node(asset.op.name)
    checks = result.get_asset_check_evaluations()
    return {name: value.value for name, value in made.metadata.items()}, checks[0] if checks else None


@pytest.fixture
def trial(tmp_path) -> Trial:
    return Trial(tmp_path / "home")


def test_a_better_bundle_is_promoted_after_its_phases(trial):
    """0.8 against 0.2 where four of five come: first a larger share, then champion by a recorded promotion."""
    trial.answer(400, champion=0.2, challenger=0.8)
    metadata, check = trial.run()
    assert (metadata["step"], metadata["phase"], metadata["share"]) == ("advance", 2, 0.2)
    assert check.passed
    assert trial.pointer()["share"] == 0.2
    metadata, check = trial.run()
    assert (metadata["step"], metadata["bundle"]) == ("promote", "none")
    champion = trial.registry.champion("toy")
    assert (champion.bundle, champion.approved_by) == (trial.second, "rollout")
    assert json.loads(trial.home.champion("toy").read_text())["bundle"] == trial.second
    assert (trial.tracking.champion, trial.pointer()) == ("2", None)
    (decision,) = trial.registry.decisions("toy")
    assert {gate["gate"] for gate in decision.evidence["gates"]} == {"calibration", "fairness/region"}
    assert [act.action for act in trial.record.history("toy")] == ["promote", "advance", "start"]


def test_a_better_bundle_waits_for_a_person_where_one_must_agree(trial, monkeypatch):
    """Under manual approval a trial that was won ends, and its decision waits: the old champion goes on answering."""
    monkeypatch.setattr(SYSTEM.declaration, "promote", Promote(approval="manual", expires=DAY))
    trial.answer(400, champion=0.2, challenger=0.8)
    trial.run()
    trial.run()
    (waiting,) = awaiting(trial.registry, "toy", now=NOW)
    assert (waiting.bundle, waiting.expires_at) == (trial.second, NOW + DAY)
    assert trial.registry.champion("toy").bundle == trial.first
    assert trial.pointer() is None


def test_in_the_shadow_no_entities_are_split(trial, monkeypatch):
    """Every answer is the champion's, as declared: no read-out, and no alarm about the split."""
    monkeypatch.setattr(SYSTEM.declaration, "rollout", Rollout(shadow=True))
    trial.answer(400, champion=0.2, challenger=0.8)
    metadata, check = materialized(build_experiment(SYSTEM), trial.platform)
    assert (metadata["reasons"], check.passed) == ("In the shadow a challenger answers nobody.", True)


def test_a_worse_bundle_is_stopped(trial):
    """0.2 against 0.8: the challenger's pointer is gone, the champion stays, and the check warns with the reason."""
    trial.answer(400, champion=0.8, challenger=0.2)
    metadata, check = trial.run()
    assert (metadata["step"], trial.pointer()) == ("stop", None)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.description in metadata["reasons"]
    assert trial.registry.champion("toy").bundle == trial.first


def test_a_trial_is_looked_at_when_there_is_something_new_and_once_a_day(trial, monkeypatch):
    """An answer, an outcome that a running service has told, another day; otherwise nothing speaks for a look."""
    system = SimpleNamespace(
        name="toy", declaration=SimpleNamespace(label=SimpleNamespace(sql="x")), reads=lambda _: ()
    )
    seen = [evidence_marks(trial.platform, system)]
    trial.answer(1, champion=0.2, challenger=0.8)
    seen.append(evidence_marks(trial.platform, system))
    service = OutcomeLog(trial.home.outcome_log("toy"))
    service.append(ToldOutcome("t", "", "toy", "p0", '{"market_id":1}', 1, toy.NOW_US, toy.NOW_US))
    seen += [evidence_marks(trial.platform, system) for _ in range(2)]
    service.append(ToldOutcome("u", "", "toy", "p0", '{"market_id":1}', 0, toy.NOW_US, toy.NOW_US))
    seen.append(evidence_marks(trial.platform, system))
    service.close()
    monkeypatch.setattr(trial.platform, "clock", lambda: NOW + DAY)
    seen.append(evidence_marks(trial.platform, system))
    assert [before == after for before, after in pairwise(seen)] == [False, False, True, False, False]


def test_few_rows_hold(trial):
    """Twenty answers where the phase needs a hundred: nothing is recorded and the share stays."""
    trial.answer(20, champion=0.2, challenger=0.8)
    metadata, check = trial.run()
    assert (metadata["step"], metadata["share"], check.passed) == ("hold", 0.05, True)
    assert "20 answers have outcomes; phase 1 needs 100" in metadata["reasons"]
    assert [act.action for act in trial.record.history("toy")] == ["start"]


def test_without_a_trial_the_asset_says_so(trial):
    """After a stop nothing runs: the asset says that, and takes away a pointer that a killed run has left."""
    trial.answer(400, champion=0.8, challenger=0.2)
    left = trial.home.challenger("toy").read_text()
    trial.run()
    trial.home.challenger("toy").write_text(left)
    metadata, check = trial.run()
    assert "no bundle is under trial" in metadata["reasons"]
    assert check.passed
    assert trial.pointer() is None


def test_a_run_killed_between_promotion_and_record_is_mended(trial):
    """The bundle under trial is champion already: record and pointer follow, without a second promotion."""
    trial.answer(20, champion=0.2, challenger=0.8)
    before = trial.registry.champion("toy")
    trial.registry.promote("toy", bundle=trial.second, model_version="2", approved_by="rollout", expected=before)
    metadata, _ = trial.run()
    assert (metadata["step"], trial.pointer()) == ("promote", None)
    assert len(trial.registry.history("toy")) == 2


def test_what_was_answered_before_the_champion_came_is_not_judged(trial):
    """A champion promoted after the answers may have learnt from their outcomes: no row is left to judge."""
    trial.answer(400, champion=0.2, challenger=0.8)
    late = Registry(trial.home.registry, clock=lambda: NOW)
    third = toy.make_bundle(trial.home, seed=3, version="1")
    late.promote("toy", bundle=third, model_version="1", approved_by="gates", expected=late.champion("toy"))
    metadata, _ = trial.run()
    assert metadata["step"] == "hold"
    assert "0 answers have outcomes" in metadata["reasons"]


def test_the_shadow_asset_asks_the_bundle_under_trial(trial):
    """Three answers are computed again by bundle 2 and published; its own shadows are no answers."""
    trial.answer(3, champion=0.2, challenger=0.8)
    metadata, _ = materialized(build_shadow(SYSTEM), trial.platform)
    assert (metadata["candidate"], metadata["answers"], metadata["answered"]) == (trial.second, 3, 3)
    table = trial.warehouse.frame(trial.warehouse.resolve("toy/shadow/all"))
    assert table["candidate_probability"].between(0, 1).all()
    assert metadata["mean_difference"] == pytest.approx((table["candidate_probability"] - 0.2).mean())
