"""Gates are refused when definitions load: groups that do not exist, groups judged twice, impossible limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from forecastle.contract.errors import ContractError
from tests.learn import ferries


def refusal(folder: Path, gates: str) -> str:
    declaration = ferries.DECLARATION.replace("rows_min: 50}", f"rows_min: 50, {gates}}}")
    with pytest.raises(ContractError) as found:
        ferries.write_system(folder, declaration=declaration)
    return str(found.value)


@pytest.mark.parametrize(
    ("gates", "says"),
    [
        (
            "fairness: [{groups: [rout], difference_max: 0.1}]",
            "names the label column 'rout', which there is not (did you mean 'route'",
        ),
        (
            "fairness: [{groups: [route], difference_max: 0.1}, {groups: [route], difference_max: 0.2}]",
            "'route' is judged by mean_error already",
        ),
        ("fairness: [{groups: [], difference_max: 0.1}]", "fairness"),
        ("fairness: [{groups: [route], measure: brir, difference_max: 0.1}]", "brir"),
        ("latency: {p99_ms: 0}", "p99_ms"),
        ("latency: {p99_ms: 1.0, rows: 10}", "rows"),
        ("paritty: true", "paritty"),
    ],
)
def test_a_wrong_gate_is_told_with_its_line(tmp_path: Path, gates: str, says: str) -> None:
    """File, line, what is wrong and what is allowed."""
    told = refusal(tmp_path, gates)
    assert "system.yaml:" in told
    assert says in told


def test_one_column_may_be_judged_by_two_measures(tmp_path: Path) -> None:
    """Mean error and Brier of the same groups are two gates."""
    fairness = "[{groups: [route], difference_max: 0.1}, {groups: [route], measure: brier, difference_max: 0.1}]"
    declaration = ferries.DECLARATION.replace("rows_min: 50}", f"rows_min: 50, fairness: {fairness}}}")
    system = ferries.write_system(tmp_path, declaration=declaration)
    assert [gate.measure for gate in system.declaration.gates.fairness] == ["mean_error", "brier"]


@pytest.mark.parametrize(("second", "ok"), [(99, False), (100, False), (101, True)])
def test_each_phase_of_a_canary_asks_for_more_rows(tmp_path: Path, second: int, *, ok: bool) -> None:
    """Rows count from the start of the trial: a second phase of as few would end without an answer of its own."""
    phases = (
        f"[{{share: 0.1, gates: [predictive], rows_min: 100}}, {{share: 0.3, gates: [fairness], rows_min: {second}}}]"
    )
    declaration = f"{ferries.DECLARATION}rollout: {{canary: {{phases: {phases}}}}}\n"
    if ok:
        assert len(ferries.write_system(tmp_path, declaration=declaration).declaration.rollout.canary.phases) == 2
        return
    with pytest.raises(ContractError, match=f"phase 2 needs {second} rows and the one before it 100"):
        ferries.write_system(tmp_path, declaration=declaration)
