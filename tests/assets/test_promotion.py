"""`promotion` with run configuration: what a person who approves in the Dagster UI does, and what they are told."""

from __future__ import annotations

import dataclasses
import json
import shutil
import warnings
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from assets.gates import evidence_for
from assets.promotion import build_promotion
from forecastle.contract.load import LoadedSystem
from forecastle.learn.build import model_rows
from forecastle.learn.build import test_rows as rows_of_the_test
from forecastle.promote.approval import awaiting
from forecastle.promote.gates import Decision, GateResult
from forecastle.promote.promote import Candidate, settle
from forecastle.promote.rollback import rollback_reason
from forecastle.store.home import Home
from resources.platform import Platform
from tests.learn import ferries
from tests.learn.conftest import Built, built, frame, mlflow, system  # noqa: F401  fixtures

YES = Decision(promote=True, reasons=("all is well",), gates=(GateResult("rows", True, "all is well"),))


@pytest.fixture
def home(built: Built, tmp_path: Path) -> Home:  # noqa: F811
    """A home folder with the ferries' MLflow and bundle, which waits for approval for a week."""
    layout = Home(tmp_path / "home").create()
    shutil.rmtree(layout.mlflow, ignore_errors=True)
    shutil.copytree(built.mlflow, layout.mlflow)
    shutil.copytree(built.bundles, layout.bundles("ferries"), dirs_exist_ok=True)
    platform = platform_of(layout)
    settle(
        Candidate("ferries", "trees", built.model.bundle, built.model.model_version), YES, built.model.evaluation,
        registry=platform.registry(), tracking=platform.tracking(), bundles=layout.bundles("ferries"),
        pointer=layout.champion("ferries"), expected=None, expires_at=ferries.NOW + timedelta(days=7),
    )  # fmt: skip
    return layout


def platform_of(layout: Home) -> Platform:
    return Platform(home=str(layout.root), now=ferries.NOW.isoformat())


def materialise(
    system: LoadedSystem,  # noqa: F811
    layout: Home,
    **config: str,
) -> dg.ExecuteInProcessResult:
    promote = system.declaration.promote.model_copy(update={"approval": "manual"})
    manual = dataclasses.replace(system, declaration=system.declaration.model_copy(update={"promote": promote}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dg.materialize(
            [build_promotion(manual)],
            resources={"platform": platform_of(layout)},
            run_config={"ops": {"ferries__promotion": {"config": config}}},
            raise_on_error=False,
        )


def test_a_named_person_approves_by_materialising(built: Built, home: Home) -> None:  # noqa: F811
    """The bundle that waits becomes champion; the materialisation, the registry and the pointer say who and why."""
    done = materialise(built.system, home, approved_by="ann@example.org", bundle=built.model.bundle[:12], reason="ok")
    assert done.success
    told = done.asset_materializations_for_node("ferries__promotion")[0].metadata
    assert told["reasons"].value == "approved by ann@example.org: ok"
    assert told["champion"].value == built.model.bundle
    champion = platform_of(home).registry().champion("ferries")
    assert (champion.approved_by, champion.reason) == ("ann@example.org", "ok")
    assert json.loads(home.champion("ferries").read_text())["bundle"] == built.model.bundle
    assert awaiting(platform_of(home).registry(), "ferries", now=ferries.NOW) == []


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"bundle": "f" * 12}, "an approval needs a person's name, got ''"),
        ({"approved_by": "root"}, "an approval needs a person's name, got 'root'"),
        ({"approved_by": "ann", "bundle": "f" * 12}, "names 0 bundles that were judged"),
    ],
)
def test_a_wrong_approval_fails_the_run_plainly(
    built: Built,  # noqa: F811
    home: Home,
    config: dict[str, str],
    says: str,
) -> None:
    """One sentence in the failed step, no retry, no champion."""
    done = materialise(built.system, home, **config)
    failure = done.failure_data_for_node("ferries__promotion")
    assert not done.success
    assert says in failure.user_failure_data.description
    assert platform_of(home).registry().champion("ferries") is None


def test_a_bundle_that_a_person_rolled_back_from_waits_for_a_person(
    built: Built,  # noqa: F811
    frame: pd.DataFrame,  # noqa: F811
    home: Home,
) -> None:
    """Judged once more, it fails the gate `withdrawn`, in that person's words; before, no such gate is asked."""
    platform, registry = platform_of(home), platform_of(home).registry()
    candidate = Candidate("ferries", "trees", built.model.bundle, built.model.model_version)
    rows = rows_of_the_test(model_rows(built.system, "trees", frame), built.model)

    def withdrawn() -> str | None:
        with dg.DagsterInstance.ephemeral() as instance:
            found = evidence_for(candidate, rows, platform=platform, system=built.system, instance=instance).withdrawn
        return found and found.sentence

    champion = registry.promote(
        "ferries", bundle=candidate.bundle, model_version="1", approved_by="gates", expected=None, decision_id=None
    )
    assert withdrawn() is None
    said = rollback_reason(candidate.bundle, by="ann", reason="odd answers at night")
    act = registry.record_decision(
        "ferries", model="trees", bundle="e" * 64, model_version="0", promote=True, reasons=(said,), evidence={}
    )
    registry.promote(
        "ferries", bundle="e" * 64, model_version="0", approved_by="ann", expected=champion, decision_id=act
    )
    back = f"only a person brings it back: forecastle rollback ferries --to {candidate.bundle[:12]}"
    assert withdrawn() == f"{said}; {back}"
