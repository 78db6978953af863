"""Models side by side in processes of their own: the same as alone, and one failure is one model's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from forecastle.learn.build import BuiltModel, build_model
from forecastle.learn.bundle import load_bundle
from forecastle.learn.factory import FailedModel, build_models, cores
from forecastle.learn.golden import golden_faults
from tests.learn import ferries
from tests.learn.fleet import EVERYBODY, PARAMS, fleet_frame, write_fleet

MODELS = f"""\
  trees:
    matrix:
      estimators:
        short: {{estimator: lightgbm.LGBMClassifier, params: {{n_estimators: 5, {PARAMS}}}}}
        none: {{estimator: lightgbm.LGBMClassifier, params: {{n_estimators: 5, min_child_samples: 9999, n_jobs: 1}}}}
        deadly: {{estimator: "models:deadly", preprocess: impute}}
{EVERYBODY}"""

# Kills the process that fits it, as too little memory or a crash in native code would.
DEADLY = """
import os

def deadly(**params):
    if os.environ.get("FLEET_DEADLY") == str(os.getppid()):
        os._exit(9)
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression()
"""


@pytest.mark.slow
def test_the_models_of_a_pool_are_those_made_alone(mlflow, tmp_path: Path, monkeypatch) -> None:
    """Two processes, four models: two are made and bit-equal, one learns nothing, one kills its process."""
    parent = tmp_path / "systems"
    (parent / "ferries").mkdir(parents=True)
    (parent / "ferries" / "models.py").write_text(DEADLY)
    system, frame = write_fleet(parent, models=MODELS), fleet_frame(600)
    monkeypatch.setenv("FLEET_DEADLY", str(os.getpid()))

    pool, one_by_one = (ferries.recording(tmp_path / folder) for folder in ("pool", "alone"))
    names = list(system.declaration.models)
    made = {one.name: one for one in build_models(system, names, frame, pool, processes=2)}
    assert set(made) == set(names)
    failed = {name: one.reason for name, one in made.items() if isinstance(one, FailedModel)}
    assert set(failed) == {"trees__none", "trees__deadly"}
    assert "found nothing to learn" in failed["trees__none"]
    assert "its process died" in failed["trees__deadly"]
    for name in ("trees__short", "everybody"):
        pooled, alone = made[name], build_model(system, name, frame, one_by_one)
        assert isinstance(pooled, BuiltModel)
        bundle = load_bundle(tmp_path / "pool" / "bundles" / pooled.bundle)
        assert golden_faults(bundle) == ()
        assert bundle.model_bytes == load_bundle(tmp_path / "alone" / "bundles" / alone.bundle).model_bytes


def test_the_cores_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those the process was left, however many there are; all of them where a system cannot tell."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {1, 4, 5}, raising=False)
    assert cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cores() == 7
