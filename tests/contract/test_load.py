"""A folder becomes a system, or a list of everything that is wrong with it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from forecastle.contract.errors import ContractError, Problem
from forecastle.contract.load import discover, load_system

Edit = Callable[[str, str, str], int]
MARKETS = Path(__file__).parents[2] / "platform" / "systems" / "prediction_markets"

JARGON = (
    "pydantic", "validation error", "Input should", "Extra inputs", "type=", "input_value", "constrained", "Field",
    "ctx", "sqlglot", "Traceback", "^[", "NoneType", "str_", "dict_", "<class",
)  # fmt: skip


def problems(folder: Path) -> list[Problem]:
    with pytest.raises(ContractError) as caught:
        load_system(folder)
    text = str(caught.value)
    assert not [word for word in JARGON if word in text], text
    return list(caught.value.problems)


def told(folder: Path) -> list[tuple[str, int, str, str]]:
    return [(Path(p.file).name, p.line, p.text, p.hint) for p in problems(folder)]


def test_a_whole_system_loads(rain: Path):
    """The small system that the other tests break has no problem itself."""
    system = load_system(rain)
    assert system.name == "rain"
    assert sorted(system.sql) == ["outcome.sql", "weather.sql"]
    assert sorted(system.code) == ["features", "simulate"]
    assert system.reads("weather.sql") == ("readings",)
    assert system.function("features:signals")(chance=2.0, pressure_mean=3.0) == {"tension": 6.0}


def test_many_faults_in_many_files_are_told_at_once(rain: Path, edit: Edit):
    """Fifteen faults of three files come as fifteen problems, each with its line and what was meant."""
    owner = edit("system.yaml", "owner: team:weather", "owner: weather")
    kind = edit("system.yaml", "kind: csv", "kind: cvs")
    unit = edit("system.yaml", "unit: score, min: 800", "unit: scor, min: low")
    delay = edit("system.yaml", "{delay: 5m}", "{dealy: 5m}")
    label = edit("system.yaml", "label:", "lable:")
    outcome = edit("system.yaml", "sql: outcome.sql", "sql: outcomes.sql")
    params = edit("system.yaml", "{n_estimators: 10}", "{n_estimator: 10, lambda_l2: 1.0}")
    baseline = edit("system.yaml", "baseline: chance", "baseline: chances")
    window = edit("system.yaml", "window: 4w", "window: 4 weeks")
    gate = edit("system.yaml", "suspicious_gain: 0.1", "suspicious_gain: 1.5")
    column = edit("weather.sql", "readings.read_at,\n    readings.known_at", "readings.reed_at,\n    readings.known_at")
    argument = edit("features.py", "chance, pressure_mean):", "chances, pressure_mean):")
    classifier = "lightgbm.LGBMClassifier"
    assert told(rain) == [
        ("system.yaml", owner, "owner is 'weather'", "write an address or team:NAME"),
        ("system.yaml", kind, "sources.readings.kind is 'cvs'", "did you mean 'csv'?"),
        ("system.yaml", delay, "unknown key 'dealy' in sources.readings.known_at", "did you mean 'delay'?"),
        ("system.yaml", unit, "sources.readings.columns.pressure.unit is 'scor'", "did you mean 'score'?"),
        ("system.yaml", unit, "sources.readings.columns.pressure.min is 'low'; a number is required", ""),
        ("system.yaml", label, "unknown key 'lable'", "did you mean 'label'?"),
        (
            "system.yaml",
            outcome,
            "names 'outcomes.sql', which is not in the folder",
            "did you mean 'outcome.sql'?",
        ),
        (
            "system.yaml",
            params,
            f"{classifier} has no parameter 'n_estimator'",
            "did you mean 'n_estimators'?",
        ),
        ("system.yaml", params, f"{classifier} has no parameter 'lambda_l2'", "write reg_lambda"),
        ("system.yaml", baseline, "baseline names unknown feature 'chances'", "did you mean 'chance'?"),
        ("system.yaml", gate, "gates.suspicious_gain is 1.5; at most 1 is allowed", ""),
        (
            "system.yaml",
            window,
            "drift.window: got '4 weeks'; a duration is a whole number and s, m, h, d or w, such as 36h",
            "",
        ),
        ("features.py", argument, "signals takes no argument chance", "it takes chances, pressure_mean"),
        ("features.py", argument, "signals wants the argument chances", "it is given chance, pressure_mean"),
        ("weather.sql", column, "reads unknown column 'readings.reed_at'", "did you mean 'read_at'?"),
    ]


def test_the_error_names_the_count_and_each_place(rain: Path, edit: Edit):
    """The text of the error is the list, with file:line that a terminal makes clickable."""
    line = edit("system.yaml", "window: 4w", "window: 4")
    with pytest.raises(ContractError) as caught:
        load_system(rain)
    first, second = str(caught.value).split("\n")
    assert first == "1 problem in the declaration:"
    assert second.startswith(f"  {rain / 'system.yaml'}:{line}: drift.window: got 4; a duration is")


UNKNOWN_KEYS = [
    ("system: rain", "sytem_version: 1\nsystem: rain", "sytem_version", ""),
    ("    keys: {station_id: int64}", "    keys: {station_id: int64}\n    kys: 1", "kys", "entity.station"),
    ("    kind: csv", "    kind: csv\n    kinds: 1", "kinds", "sources.readings"),
    ("{dtype: float64, unit: score, min: 800,", "{dtype: float64, maxx: 1, unit: score, min: 800,", "maxx",
     "sources.readings.columns.pressure"),
    ("freshness: {warn: 1h,", "freshness: {wran: 1h, warn: 1h,", "wran", "sources.readings.freshness"),
    ("    ttl: 2d", "    ttl: 2d\n    ttls: 1", "ttls", "feature_views.weather"),
    ("missing: last", "missing: last, defalt: 1", "defalt", "feature_views.weather.features.chance"),
    ("    inputs: [", "    input: 1\n    inputs: [", "input", "on_demand.signals"),
    ("  matures: 2d", "  matures: 2d\n  mature: 2d", "mature", "label"),
    ("    estimator: ", "    estimators: 1\n    estimator: ", "estimators", "models.trees"),
    ("split: {embargo: 1d}", "split: {embargo: 1d, tset: 1}", "tset", "evaluate.split"),
    ("  baseline: chance", "  baseline: chance\n  base: 1", "base", "evaluate"),
    ("  miscalibration_max: 0.1", "  miscalibration_max: 0.1\n  rows: 1", "rows", "gates"),
    ("  window: 4w", "  window: 4w\n  windows: 1", "windows", "drift"),
    ("  max_age: 2d", "  max_age: 2d\n  age: 1", "age", "retrain"),
]  # fmt: skip


@pytest.mark.parametrize("case", UNKNOWN_KEYS, ids=[k[2] for k in UNKNOWN_KEYS])
def test_an_unknown_key_is_refused_at_every_level(rain: Path, edit: Edit, case: tuple[str, str, str, str]):
    """No level of the declaration takes a key that it does not know, and each names the keys it does."""
    old, new, key, above = case
    edit("system.yaml", old, new)
    (problem,) = problems(rain)
    assert problem.text == f"unknown key {key!r}" + (f" in {above}" if above else "")
    assert problem.hint.startswith(("did you mean", "allowed: "))
    lines = (rain / "system.yaml").read_text(encoding="utf-8").splitlines()
    assert key in lines[problem.line - 1]


WRONG_VALUES = [
    ("description: Will it rain at a station tomorrow?", "description: 3", "description is 3; a text is required"),
    ("owner: team:weather", "owner: true", "owner is true; a text is required"),
    ("{station_id: int64}", "{}", "entity.station.keys is empty; at least one is required"),
    ("{station_id: int64}", "{station_id: int32}", "entity.station.keys.station_id is 'int32'"),
    ("    ttl: 2d", "    ttl: 2d\n    online: yes", "feature_views.weather.online is 'yes'; true or false is required"),
    ("sql: weather.sql", "sql: ../weather.sql", "feature_views.weather.sql is '../weather.sql'"),
    ("max: 1, missing: last", "max: .inf, missing: last",
     "feature_views.weather.features.chance.max is '.inf'; a number is required"),
    ("max: 1, missing: last", "max: 1e999, missing: last",
     "feature_views.weather.features.chance.max is inf; a finite number is required"),
    ("missing: last", "missing: lsat", "feature_views.weather.features.chance.missing is 'lsat'"),
    ("inputs: [chance, pressure_mean]", "inputs: chance",
     "on_demand.signals.inputs is 'chance'; a list, such as [a, b] is required"),
    ('"features:signals"', "features.signals", "on_demand.signals.function is 'features.signals'"),
    ("lightgbm.LGBMClassifier", "LGBMClassifier", "models.trees.estimator is 'LGBMClassifier'"),
    ("{n_estimators: 10}", "{n_estimators: 10}\n    features: []",
     "models.trees.features is empty; at least one is required"),
    ("{n_estimators: 10}", "{n_estimators: [10]}",
     "params.n_estimators is a list; a whole number of at least 1 is required"),
    ("{n_estimators: 10}", "{n_estimators: 10}\n    seed: 1.5", "models.trees.seed is 1.5; a whole number is required"),
    ("{embargo: 1d}", "{embargo: 1d, test: 1}", "evaluate.split.test is 1; less than 1 is allowed"),
    ("{embargo: 1d}", "1d", "evaluate.split is '1d'; a mapping (key: value) is required"),
    ("known_at: {delay: 5m}", "known_at: 5", "sources.readings.known_at is 5; a text or a mapping"),
    ("known_at: {delay: 5m}", "known_at: {}", "sources.readings.known_at.delay is missing"),
    ("  max_age: 2d", "  max_age: 0d", "retrain.max_age: got 0s; it must be longer than nothing"),
    ('"0 6 * * mon-fri"', '"0 24 * * *"', "retrain.schedule: got '0 24 * * *'; hour is '24'"),
    ("  window: 4w", "", "drift"),
    ("      station: {dtype: int64, unit: id, min: 0}\n      read_at", "      Station: {dtype: string}\n      read_at",
     "sources.readings.columns.Station cannot be a name"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "text"), WRONG_VALUES, ids=[c[2][:40] for c in WRONG_VALUES])
def test_a_wrong_value_is_told_in_plain_words(rain: Path, edit: Edit, old: str, new: str, text: str):
    """Each wrong value is one problem: what stands there and what is required."""
    line = edit("system.yaml", old, new)
    found = problems(rain)
    assert len(found) == 1
    assert found[0].text.startswith(text)
    assert abs(found[0].line - line) <= 1


def test_a_document_that_is_no_mapping_says_how_to_begin(rain: Path):
    """A list in place of the declaration is one problem, not twenty."""
    (rain / "system.yaml").write_text("- a\n- b\n", encoding="utf-8")
    assert told(rain) == [("system.yaml", 1, "is no mapping", "begin with system: NAME")]


def test_what_the_reader_refused_is_not_told_twice(rain: Path, edit: Edit):
    """An alias leaves a hole; the hole is no second problem, and the other faults are still told."""
    alias = edit("system.yaml", "ttl: 2d", "ttl: *x")
    line = edit("system.yaml", "window: 4w", "window: 4")
    assert [(p.line, p.text[:16]) for p in problems(rain)] == [
        (alias, "has the YAML ali"),
        (line, "drift.window: go"),
    ]


def test_a_key_said_twice_is_told_with_all_the_rest(rain: Path, edit: Edit):
    """A duplicate does not hide a fault elsewhere."""
    twice = edit("system.yaml", "    ttl: 2d\n", "    ttl: 2d\n    ttl: 3d\n") + 1
    gate = edit("system.yaml", "miscalibration_max: 0.1", "miscalibration_max: 0")
    assert [p.line for p in problems(rain)] == [twice, gate]


def test_a_missing_declaration_is_one_problem(tmp_path: Path):
    """A folder without system.yaml says which file is not there."""
    with pytest.raises(ContractError, match=r"system\.yaml: cannot be read: No such file"):
        load_system(tmp_path)


def test_files_that_cannot_be_read_are_told_and_not_guessed_at(rain: Path):
    """SQL that is not UTF-8 is one problem; nothing says that it is not in the folder."""
    (rain / "weather.sql").write_bytes(b"SELECT\n  '\xfc'\n")
    assert told(rain) == [("weather.sql", 2, "is not UTF-8", "save it as UTF-8")]


def test_the_folder_is_named_like_its_system(rain: Path):
    """A copied folder whose declaration kept the old name is refused."""
    copy = rain.with_name("snow")
    shutil.copytree(rain, copy)
    assert told(copy) == [("system.yaml", 1, "names 'rain' in folder 'snow'", "a system is named like its folder")]


def test_a_system_loads_from_inside_its_folder(rain: Path, monkeypatch: pytest.MonkeyPatch):
    """A relative path, even `.`, knows the name of the folder."""
    monkeypatch.chdir(rain)
    assert load_system(Path()).name == "rain"


def test_an_unknown_model_is_named_with_a_hint(rain: Path):
    """Asking for a model that is not declared says which ones are."""
    with pytest.raises(ContractError, match=r"has no model 'tree' \(did you mean 'trees'\?\)"):
        load_system(rain).feature_set("tree")


def test_an_unknown_sql_file_is_named_with_a_hint(rain: Path):
    """Asking for the lineage of a file that is not there says which ones are."""
    with pytest.raises(ContractError, match=r"weathr\.sql: is not in the folder \(did you mean 'weather\.sql'\?\)"):
        load_system(rain).lineage("weathr.sql")


def test_discovery_finds_systems_in_several_folders(rain: Path, tmp_path: Path):
    """Every child with a declaration is a system; other children and a folder named twice do not matter."""
    more = tmp_path / "more"
    (more / "notes").mkdir(parents=True)
    shutil.copytree(rain, more / "snow")
    found = discover([rain.parent, more, rain.parent])
    assert found == {"rain": rain, "snow": more / "snow"}
    assert list(found) == ["rain", "snow"]


def test_discovery_tells_everything_that_is_wrong(rain: Path, tmp_path: Path):
    """A name that is taken, a folder that is not there and a folder that is itself a system come together."""
    more = tmp_path / "more"
    shutil.copytree(rain, more / "rain")
    with pytest.raises(ContractError) as caught:
        discover([rain.parent, more, tmp_path / "nowhere", rain])
    assert [(p.file, p.text) for p in caught.value.problems] == [
        (str(more / "rain"), f"system 'rain' stands in {rain} already"),
        (str(tmp_path / "nowhere"), "cannot be read: No such file or directory"),
        (str(rain), "is itself a system"),
    ]
    assert caught.value.problems[2].hint == f"name {rain.parent}"


def test_no_folder_is_no_system():
    """Nothing to look in is nothing found."""
    assert discover([]) == {}


def test_every_system_of_the_house_loads():
    """The systems that ship are found and whole."""
    found = discover([MARKETS.parent])
    assert "prediction_markets" in found
    assert all(load_system(folder).name == name for name, folder in found.items())


def test_loading_imports_nothing_heavy():
    """Definitions are loaded by every run: neither pandas nor what only a simulator needs is imported."""
    code = (
        "import sys; from pathlib import Path; from forecastle.contract.load import load_system;"
        f"load_system(Path({str(MARKETS)!r}));"
        "print([m for m in ('pandas', 'pandera', 'scipy', 'pyarrow', 'lightgbm', 'sklearn', 'dagster') "
        "if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=MARKETS.parents[1]
    )
    assert done.stdout.strip() == "[]"


def test_each_sql_file_is_parsed_once(rain: Path):
    """What the check parsed serves reads and lineage too; lineage is computed once."""
    system = load_system(rain)
    parsed = dict(system._parsed)
    assert sorted(parsed) == ["outcome.sql", "weather.sql"]
    assert system.lineage("weather.sql") is system.lineage("weather.sql")
    assert system.reads("outcome.sql") == ("days",)
    assert all(system._parsed[file] is parsed[file] for file in parsed)
