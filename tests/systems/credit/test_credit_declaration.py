"""Credit's factory, its decision rule and its simulator."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from forecastle.contract.load import LoadedSystem
from tests.systems.credit.conftest import CREDIT_NOW

AUDITED = {"sex", "education", "age_band", "age"}


def test_the_matrix_is_sixty_models_of_four_kinds(credit: LoadedSystem) -> None:
    """Three limit bands, four estimators of two packages, five feature sets."""
    models = credit.declaration.models
    assert len(models) == 3 * 4 * 5
    assert {model.estimator.partition(".")[0] for model in models.values()} == {"lightgbm", "sklearn"}
    assert len({model.estimator for model in models.values()}) == 4


def test_no_model_knows_whom_the_audit_compares(credit: LoadedSystem) -> None:
    """Sex, education and age are columns of the label alone, and every gate looks at all three."""
    declared = credit.declaration
    assert not AUDITED & set(declared.features())
    assert [gate.groups for gate in declared.gates.fairness] == [["sex", "education", "age_band"]] * 2


def test_feature_sets_of_several_models_share_one_template(credit: LoadedSystem) -> None:
    """Two views read one file; both stand in feature sets of the matrix."""
    views = credit.declaration.feature_views
    assert views["window_2m"].sql == "statement_window(months=2).sql"
    assert views["window_6m"].sql == "statement_window(months=6).sql"
    used = {feature for model in credit.declaration.models for feature in credit.declaration.model_features(model)}
    assert {"late_share_2m", "late_share_6m"} <= used


def judged(credit: LoadedSystem, probability: float, **given: Any) -> dict[str, Any]:
    """What the rule says of a client with nothing to say against, but for what is given."""
    rule = credit.function("decide:judge")
    fine = {"pay_status": 0, "late_share_6m": 0.0, "utilisation": 0.2, "paid_share_2m": 0.5}
    params = credit.declaration.decide.params if credit.declaration.decide else {}
    found: dict[str, Any] = rule(probability=probability, **{**fine, **given}, **params)
    return found


@pytest.mark.parametrize(
    ("probability", "action"), [(0.0, "accept"), (0.149, "accept"), (0.15, "refer"), (0.499, "refer"), (0.5, "decline")]
)
def test_the_action_follows_the_probability(credit: LoadedSystem, probability: float, action: str) -> None:
    """A threshold belongs to the severer side; who is accepted needs no reason, everybody else gets one."""
    found = judged(credit, probability)
    assert found["action"] == action
    assert bool(found["reasons"]) is (action != "accept")


def test_the_furthest_beyond_is_told_first_and_three_at_most(credit: LoadedSystem) -> None:
    """Three months late weighs 3, half a year of it 2 × 0.5, no payment 0.03 / 0.03, the bill 1.0 − 0.9."""
    found = judged(credit, 0.7, pay_status=3, late_share_6m=0.5, utilisation=1.0, paid_share_2m=0.0)
    assert [code[:2] for code in found["reasons"]] == ["R1", "R2", "R4"]


def test_a_client_without_a_statement_is_referred(credit: LoadedSystem) -> None:
    """Nobody is accepted on what is not known."""
    found = judged(credit, 0.01, pay_status=None)
    assert (found["action"], found["reasons"][0][:2]) == ("refer", "R8")


def test_the_same_seed_is_the_same_card_book(credit: LoadedSystem, tmp_path: Path) -> None:
    """Byte for byte; another seed is another book."""
    world = credit.function("simulate:world")
    first, again, other = (
        [path.read_bytes() for path in world(tmp_path / name, seed=seed, now=CREDIT_NOW, clients=50, months=6)]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again
    assert first[1] != other[1]


@pytest.mark.parametrize("bad", [{"clients": 0}, {"months": 4}, {"now": datetime(2026, 6, 5)}])  # noqa: DTZ001
def test_a_world_that_cannot_be_is_refused(credit: LoadedSystem, tmp_path: Path, bad: dict[str, Any]) -> None:
    """The message says what was got and what is allowed."""
    with pytest.raises(ValueError, match="now needs a zone, clients at least 1, months at least 5"):
        credit.function("simulate:world")(tmp_path, **{"seed": 1, "now": CREDIT_NOW, **bad})
