"""Serving models of other kinds than LightGBM: the same answers, receipts, intervals, and refusals with reasons."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from forecastle.contract.errors import BundleError
from forecastle.contract.system import Model
from forecastle.learn.bundle import BundleParts, Golden, load_bundle, write_bundle
from forecastle.learn.fit import Rows, fit
from forecastle.measure.calibrators import Platt
from forecastle.measure.recalibration import fit_calibrator
from forecastle.serve.champion import load_champion, try_in_child
from forecastle.serve.requirements import extended_lock
from tests.serve import toy
from tests.serve.client import running
from tests.serve.toy import GIVEN

MODELS = {
    "linear": {"estimator": "sklearn.linear_model.LogisticRegression", "preprocess": "standard"},
    "skops": {"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 5}},
    "xgboost": {"estimator": "xgboost.XGBClassifier", "params": {"n_estimators": 5, "n_jobs": 1}},
}


def made(home, kind: str, *, calibrate: str = "platt") -> str:
    """A bundle of the toy system whose model is of that kind."""
    generator = np.random.default_rng(3)
    matrix = toy.matrix(generator, 400)
    outcomes = (generator.random(400) < matrix[:, 1]).astype(float)
    rows = Rows(toy.MODEL_FEATURES, matrix, outcomes, np.arange(400), None)
    fitted = fit(Model.model_validate(MODELS[kind]), rows)
    packed, raw = fitted.packed(), fitted.scores(matrix)
    calibrator = Platt(1.1, -0.05) if calibrate == "platt" else fit_calibrator(calibrate, outcomes, raw)
    golden = Golden(
        tuple(tuple(None if np.isnan(x) else float(x) for x in row) for row in matrix[:16]),
        tuple(map(float, raw[:16])),
        tuple(float(p) for p in calibrator.apply(raw[:16])),
    )
    facts = {"model": kind, "model_version": "5"}
    parts = BundleParts(
        toy.feature_set(), packed.model_bytes, calibrator, {}, golden, "# toy\n", facts,
        scoring=packed.scoring, views=toy.push_views(),
    )  # fmt: skip
    return write_bundle(home.bundles("toy"), parts)


@pytest.mark.parametrize("kind", MODELS)
def test_a_bundle_of_another_kind_answers(home, settings, kind: str) -> None:
    """One request and a batch give the number that the bundle gives offline; an explanation is honest."""
    digest = made(home, kind)
    toy.promote(home, digest, version="5")
    champion = load_champion(home.bundles("toy") / digest, system="toy", expected_hash=digest)
    vector = [np.log1p(100.0), 0.4, 0.5 - 0.4, 10.0, 3.0]
    probability = champion.bundle.calibrator.apply_scalar(champion.scorer.score_row(vector))
    with running(settings) as client:
        receipt = client.predict({"features": GIVEN}).json
        assert (receipt["probability"], receipt["model"]["bundle"]) == (probability, digest)
        many = client.post("/predict_batch", {"requests": [{"features": GIVEN}] * 3}).json
        assert [row["receipt"]["probability"] for row in many["answers"]] == [probability] * 3
        told = client.post("/explain", {"prediction_id": receipt["prediction_id"]})
        assert told.status == 200
        assert told.json["same_number"] is True
        assert told.json["method"] == ("additive" if kind in {"linear", "xgboost"} else "one_at_a_time")
        assert {part["feature"] for part in told.json["contributions"]} == set(toy.MODEL_FEATURES)
        assert told.json["log_odds"] == pytest.approx(np.log(told.json["raw_score"] / (1 - told.json["raw_score"])))


def test_the_interval_of_venn_abers_reaches_the_receipt(home, settings) -> None:
    """The probability lies in it, and it is as the calibrator of the bundle says."""
    digest = made(home, "linear", calibrate="venn_abers")
    toy.promote(home, digest, version="5")
    with running(settings) as client:
        receipt = client.predict({"features": GIVEN}).json
    low, high = receipt["interval"]["low"], receipt["interval"]["high"]
    assert low < receipt["probability"] < high
    calibrator = load_bundle(home.bundles("toy") / digest).calibrator
    raw = load_champion(home.bundles("toy") / digest, system="toy", expected_hash=digest).scorer.score_row(
        [np.log1p(100.0), 0.4, 0.5 - 0.4, 10.0, 3.0]
    )
    assert (low, high) == pytest.approx(calibrator.interval_scalar(raw))


def test_a_trial_process_keeps_the_rules_of_trust(home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child that tries a bundle asks for the same signature as the process that starts it."""
    digest = made(home, "linear")
    folder = home.bundles("toy") / digest
    monkeypatch.setenv("FORECASTLE_SIGNING_KEY", "k" * 32)
    with pytest.raises(BundleError, match=r"a trial process refused the bundle: .* it has no signature"):
        try_in_child(folder, system="toy", expected_hash=digest)


def test_a_linear_bundle_is_served_without_scikit_learn(home) -> None:
    """What answers is JSON and arithmetic: no package of the estimator is imported."""
    digest = made(home, "linear")
    program = (
        "import sys; from pathlib import Path; from forecastle.serve.champion import load_champion;"
        f"load_champion(Path({str(home.bundles('toy') / digest)!r}), system='toy', expected_hash={digest!r});"
        "print(sorted({'sklearn', 'skops', 'pandas', 'mlflow', 'xgboost'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


WHOLE = """cloudpickle==3.1.2 \\
    --hash=sha256:11
joblib==1.6.0 \\
    --hash=sha256:aa
numpy==2.4.0 \\
    --hash=sha256:bb
scikit-learn==1.9.1 \\
    --hash=sha256:cc
scipy==1.17.1 ; python_full_version < '3.12' \\
    --hash=sha256:dd
scipy==1.18.1 ; python_full_version >= '3.12' \\
    --hash=sha256:ee
threadpoolctl==3.8.0 \\
    --hash=sha256:ff
narwhals==2.28.0 \\
    --hash=sha256:00
"""


def test_requirements_grow_only_by_what_a_model_needs(tmp_path: Path) -> None:
    """A LightGBM bundle changes nothing; scikit-learn comes with its own needs, each with its hashes."""
    whole, serving = tmp_path / "requirements.lock", "numpy==2.4.0 \\\n    --hash=sha256:bb\n"
    whole.write_text(WHOLE)
    assert extended_lock(serving, [], whole=whole) == serving
    grown = extended_lock(serving, ["scikit-learn"], whole=whole)
    assert grown.startswith(serving)
    assert grown.count("numpy==") == 1
    assert grown.count("scipy==") == 2
    assert all(f"--hash=sha256:{end}" in grown for end in ("11", "aa", "cc", "dd", "ee", "ff"))
    whole.write_text(WHOLE.replace("scikit-learn", "scikit-lern"))
    with pytest.raises(BundleError, match=r"needs scikit-learn, which requirements\.lock does not pin"):
        extended_lock(serving, ["scikit-learn"], whole=whole)


def test_the_real_locks_hold_what_bundles_need() -> None:
    """scikit-learn and skops, as the bundles record them, are pinned with hashes in the repository's lock."""
    root = Path(__file__).parents[2]
    serving = (root / "platform" / "requirements-serve.lock").read_text()
    grown = extended_lock(serving, ["scikit-learn", "skops"], whole=root / "requirements.lock")
    assert "\nscikit-learn==" in grown
    assert "\nskops==" in grown
