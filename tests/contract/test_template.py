"""SQL templates: what a view's params fill, what is refused, and that views of one file stand beside each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from forecastle.contract.load import load_system
from forecastle.contract.template import render, rendered_name, template_of
from tests.contract.conftest import told

Edit = Callable[[str, str, str], int]

SECOND_VIEW = """\
  weather_wide:
    entity: station
    sql: weather.sql
    params: {name: wide, base: 900}
    ttl: 2d
    features:
      chance_wide: {dtype: float64, unit: probability, min: 0, max: 1, missing: last}
      pressure_mean_wide: {dtype: float64, unit: score, nullable: true, missing: default}

on_demand:
"""


@pytest.fixture
def shared(rain: Path, edit: Edit) -> Path:
    """The small system with two views that share one file."""
    edit("weather.sql", "AS chance,", "AS chance_{{name}},")
    edit("weather.sql", "AS pressure_mean\n", "AS pressure_mean_{{ name }}\n")
    edit("weather.sql", "- 1000.0", "- {{base}}")
    edit("system.yaml", "    sql: weather.sql\n", "    sql: weather.sql\n    params: {name: near, base: 1000.5}\n")
    edit("system.yaml", "      chance: {", "      chance_near: {")
    edit("system.yaml", "      pressure_mean: {", "      pressure_mean_near: {")
    edit("system.yaml", "[chance, pressure_mean]", "[chance_near, pressure_mean_near]")
    edit("system.yaml", "baseline: chance", "baseline: chance_near")
    edit("features.py", "*, chance, pressure_mean):", "*, chance_near, pressure_mean_near):")
    edit("features.py", "chance * pressure_mean", "chance_near * pressure_mean_near")
    edit("system.yaml", "on_demand:\n", SECOND_VIEW)
    return rain


def test_a_hole_is_filled_with_or_without_blanks() -> None:
    """Numbers and names stand as they are written; a hole without a literal stays."""
    assert render("{{n}} {{ n }} {{m}}", {"n": 3}) == "3 3 {{m}}"


def test_a_rendered_text_is_named_after_its_literals() -> None:
    """The name tells file and literals, and the file comes back out of it."""
    name = rendered_name("window.sql", {"months": 3, "kind": "late"})
    assert name == "window(months=3, kind=late).sql"
    assert (template_of(name), template_of("window.sql")) == ("window.sql", "window.sql")


def test_two_views_share_a_file_and_keep_their_own_columns_and_lineage(shared: Path) -> None:
    """Each view reads the text with its own literals; lineage leads from its columns to the raw ones."""
    system = load_system(shared)
    near, wide = (system.declaration.feature_views[name].sql for name in ("weather", "weather_wide"))
    assert (near, wide) == ("weather(name=near, base=1000.5).sql", "weather(name=wide, base=900).sql")
    assert "- 1000.5" in system.sql[near]
    assert "- 900)" in system.sql[wide]
    assert ("readings", "pressure") in system.lineage(near)["chance_near"]
    assert system.lineage(near)["chance_near"] == system.lineage(wide)["chance_wide"]
    assert system.reads(wide) == ("readings",)


def test_another_literal_is_another_version_of_the_feature_set(shared: Path, edit: Edit) -> None:
    """A bundle knows its SQL by hash: a changed literal is changed SQL."""
    before = load_system(shared).all_features().views
    edit("system.yaml", "base: 900", "base: 901")
    after = load_system(shared).all_features().views
    assert before[0] == after[0]
    assert before[1] != after[1]


REFUSED: dict[str, tuple[str, str, str, str, str]] = {
    "literal without a hole": (
        "system.yaml", "base: 900}", "base: 900, bass: 1}", "weather.sql has no {{bass}}", "write {{bass}} there"),
    "hole without a literal": (
        "system.yaml", "name: wide, base: 900", "name: wide", "has no literal for {{base}}", "allowed: name"),
    "no hole": ("weather.sql", "{{base}}", "{{base + 1}}", "has '{{base + 1}}", "a hole is {{name}}"),
    "text with a quote": ("system.yaml", "name: wide", "name: wi'de", "", ""),
    "negative number": ("system.yaml", "base: 900", "base: -1", "", ""),
    "list": ("system.yaml", "base: 900", "base: [900]", "", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_template_may_not_say_is_refused_when_it_loads(shared: Path, edit: Edit, case: str) -> None:
    """Each fault stands with the file and line at which a person mends it."""
    file, old, new, text, hint = REFUSED[case]
    line = edit(file, old, new)
    found = told(shared)
    here = [one for one in found if text in one[1] and hint in one[2]]
    assert here, found
    if case != "hole without a literal":
        assert {place for place, _, _ in here} == {f"{file}:{line}"}


def test_a_hole_in_a_file_without_params_is_refused(rain: Path, edit: Edit) -> None:
    """A label's SQL has no params, so that it has no holes."""
    line = edit("outcome.sql", "'north'", "'{{side}}'")
    assert told(rain) == [(f"outcome.sql:{line}", "has no literal for {{side}}", "name it under params of the view")]
