"""Decision rules: what a rule is given, what counts as a decision, and that it travels whole."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecastle.contract.decision import DecisionRule
from forecastle.contract.errors import BundleError, ContractError, DecisionError
from forecastle.contract.load import load_system

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
ECHO = """
def echo(*, probability, price, predict_at, limit):
    return {"action": "keep", "price": price, "kind": type(price).__name__, "hour": predict_at.hour, "limit": limit,
            "reasons": ("first", "second"), "probability": probability}
"""
RULE = DecisionRule("toy", "decide:echo", ("price", "predict_at"), {"limit": 0.5}, ECHO)


def rule(returned: str) -> DecisionRule:
    return DecisionRule("toy", "decide:say", (), {}, f"def say(*, probability):\n    return {returned}\n")


def test_a_rule_is_given_the_probability_its_inputs_and_its_parameters():
    """Everything by name: a feature, the moment, a parameter; action and reasons come first."""
    made = RULE.decide(0.25, {"price": 0.4, "other": 1.0}, predict_at=AT)
    assert list(made)[:2] == ["action", "reasons"]
    assert made == {
        "action": "keep", "reasons": ["first", "second"], "price": 0.4, "kind": "float", "hour": 12, "limit": 0.5,
        "probability": 0.25,
    }  # fmt: skip


@pytest.mark.parametrize(("value", "kind"), [(3, "float"), (True, "float"), (None, "NoneType"), (math.nan, "NoneType")])
def test_one_row_and_a_column_look_alike_to_a_rule(value, kind):
    """Integers and booleans come as floats, NaN as None: arrays and JSON hold them differently."""
    assert RULE.decide(0.5, {"price": value}, predict_at=AT)["kind"] == kind


@given(st.floats(0, 1), st.floats(allow_nan=False, allow_infinity=False) | st.none())
def test_a_rule_comes_back_from_json_and_decides_the_same(probability, price):
    """What a bundle stores is the rule itself."""
    again = DecisionRule.from_json(json.loads(json.dumps(RULE.to_json())))
    assert again == RULE
    first, second = (r.decide(probability, {"price": price}, predict_at=AT) for r in (RULE, again))
    assert first == second


@pytest.mark.parametrize(
    "returned",
    ["None", "{}", "{'action': 1}", "{'action': 'No Name'}", "{'action': 'a', 'reasons': 'text'}",
     "{'action': 'a', 'reasons': ['']}", "{'action': 'a', 'x': float('nan')}", "{'action': 'a', 'x': [1]}",
     "{'action': 'a', 'X!': 1}", "1 / 0", "{}['x']"],
)  # fmt: skip
def test_what_is_no_decision_is_refused(returned):
    """Without an action, with numbers that JSON cannot hold, or with an exception there is no decision."""
    with pytest.raises(DecisionError, match="decide:say"):
        rule(returned).decide(0.5, {}, predict_at=AT)


def test_code_that_does_not_load_is_a_bundle_error():
    """A rule whose module or function is broken never comes near a request."""
    for code in ("def other(): pass", "def say(:", "raise RuntimeError('x')"):
        with pytest.raises(BundleError, match="cannot be loaded"):
            _ = DecisionRule("toy", "decide:say", (), {}, code).compiled
    with pytest.raises(BundleError, match="cannot be read"):
        DecisionRule.from_json({"system": "toy"})


DECLARED = """
decide:
  function: "decide:warn"
  inputs: [chance, tension, predict_at]
  params: {limit: 0.5}
"""
WARN = '''"""Warn or not."""
import math


def warn(*, probability, chance, tension, predict_at, limit):
    return {"action": "warn" if probability > limit else "pass", "reasons": []}
'''


@pytest.fixture
def declared(rain):
    """The rain system with a decision rule."""
    with (rain / "system.yaml").open("a") as file:
        file.write(DECLARED)
    (rain / "decide.py").write_text(WARN)
    return rain


def test_a_declared_rule_is_loaded_with_its_code(declared):
    """The rule carries its module's text; its inputs join every model's feature set, the model's order stays."""
    system = load_system(declared)
    made = system.decision_rule()
    assert (made.function, made.inputs, made.params) == (
        "decide:warn",
        ("chance", "tension", "predict_at"),
        {"limit": 0.5},
    )
    assert made.code == WARN
    assert made.decide(0.7, {"chance": 1.0, "tension": None}, predict_at=AT)["action"] == "warn"
    assert system.feature_set("trees").model_features == ("chance", "pressure_mean", "tension")


def test_inputs_of_a_rule_that_no_model_uses_are_resolved_too(declared):
    """A model of one feature still brings the rule's inputs, computed ones with their function."""
    text = (declared / "system.yaml").read_text()
    (declared / "system.yaml").write_text(
        text.replace("    params: {n_estimators: 10}", "    features: [pressure_mean]")
    )
    found = load_system(declared).feature_set("trees")
    assert found.model_features == ("pressure_mean",)
    assert {spec.name for spec in found.features} == {"pressure_mean", "chance", "tension"}
    assert [group.name for group in found.on_demand] == ["signals"]


def test_a_system_without_a_rule_has_none(rain):
    """The rule is optional, and then nothing of a feature set changes."""
    assert load_system(rain).decision_rule() is None


FAULTS = [
    ("decide:warn", "decide:warm", "has no function 'warm'"),
    ("decide:warn", "decision:warn", "needs decision.py"),
    ("[chance, tension", "[chances, tension", "names unknown feature 'chances'"),
    ("{limit: 0.5}", "{limits: 0.5}", "takes no argument limits"),
    ("{limit: 0.5}", "{limit: 0.5, chance: 1}", "parameter 'chance' has the name"),
    ("import math", "import numpy", "imports numpy"),
    ("import math", "import features", "imports a file of its own folder"),
    ("probability > limit", "probability > tension", "fails for probability"),
    ('"reasons": []', '"reasons": 3', "a list of texts"),
    ("> limit else", "> limt else", "NameError"),
]


@pytest.mark.parametrize(("old", "new", "text"), FAULTS)
def test_a_faulty_rule_is_told_when_definitions_load(declared, old, new, text):
    """Names, arguments, imports, and a first call with plain values and with nulls."""
    for name in ("system.yaml", "decide.py"):
        path = declared / name
        path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ContractError) as caught:
        load_system(declared)
    assert text in str(caught.value)
