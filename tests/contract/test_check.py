"""Faults that need two fields or another file: each found, placed and explained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from forecastle.contract.load import load_system
from tests.contract.conftest import told

Edit = Callable[[str, str, str], int]


CASES: dict[str, tuple[str, str, str, str]] = {
    "event_at unknown": (
        "event_at: read_at", "event_at: reed_at",
        "event_at names unknown column 'reed_at'", "did you mean 'read_at'?"),
    "known_at no time": (
        "known_at: {delay: 5m}", "known_at: pressure",
        "known_at column 'pressure' is float64", "declare dtype timestamp or date"),
    "key unknown": (
        "key: [station, read_at]", "key: [station, read]",
        "key names unknown column 'read'", "did you mean 'read_at'?"),
    "key twice": ("key: [station, read_at]", "key: [station, station]", "key names 'station' twice", ""),
    "freshness": (
        "{warn: 1h, fail: 1d}", "{warn: 1d, fail: 24h}",
        "freshness.warn is not shorter than freshness.fail", ""),
    "zone": (
        "Europe/Berlin", "Europe/Berlim", "time_zone is 'Europe/Berlim'", "did you mean 'Europe/Berlin'?"),
    "zone path": ("Europe/Berlin", "../etc/passwd", "time_zone is '../etc/passwd'", ""),
    "variable": (
        "${DATA}/readings.csv", "${HOME}/readings.csv", "path names ${HOME}", "only ${DATA} is known"),
    "no unit": (
        "{dtype: float64, unit: score, min: 800", "{dtype: float64, min: 800",
        "number 'pressure' has no unit", "say what it counts, such as unit: count or unit: seconds"),
    "min above max": ("min: 800", "min: 8000", "'pressure' has min 8000 above max 1100", ""),
    "range of text": (
        "region: {dtype: string,", "region: {dtype: string, max: 3,",
        "'region' is string, which has no min or max", "leave them out"),
    "allowed of another dtype": (
        "region: {dtype: string,", "region: {dtype: string, allowed: [north, 3],",
        "'region' is string and allows 3", "write string values"),
    "allowed of a float": (
        "{dtype: float64, unit: score, min: 800", "{dtype: float64, allowed: [900], unit: score, min: 800",
        "'pressure' is float64, which has no allowed values", "allowed is for string and int64"),
    "allowed twice": (
        "region: {dtype: string,", "region: {dtype: string, allowed: [n, n],", "'region' allows a value twice", ""),
    "allowed outside range": (
        "rained: {dtype: int64, unit: flag, min: 0, max: 1}",
        "rained: {dtype: int64, unit: flag, min: 0, max: 1, allowed: [0, 2]}",
        "'rained' allows a value outside its own min and max", ""),
    "feature of text": (
        "tension: {dtype: float64, unit: ratio, nullable: true}", "tension: {dtype: string}",
        "feature 'tension' is string and lists no values",
        "features are float64, int64, bool, or string with allowed: [...]"),
    "computed text": (
        "tension: {dtype: float64, unit: ratio, nullable: true}", "tension: {dtype: string, allowed: [low, high]}",
        "feature 'tension' is computed and string",
        "functions give numbers; make a text in a view's SQL"),
    "default missing": (
        "max: 1, missing: last", "max: 1, missing: default",
        "feature 'chance' has no default and may not be null", "give it a default or nullable: true"),
    "default outside": (
        "max: 1, missing: last", "max: 1, missing: default, default: 2",
        "default of feature chance is 2.0; at most 1 probability is allowed", ""),
    "default of another dtype": (
        "chance: {dtype: float64, unit: probability, min: 0, max: 1, missing: last}",
        "chance: {dtype: int64, unit: probability, missing: default, default: 0.5}",
        "default of feature chance is 0.5 (float); int64 is required", ""),
    "default unused": (
        "max: 1, missing: last", "max: 1, missing: last, default: 0.5",
        "feature 'chance' has a default that missing: last never uses", "say missing: default"),
    "computed has no last": (
        "tension: {dtype: float64,", "tension: {missing: last, dtype: float64,",
        "feature 'tension' is computed and has no last value", "say missing: refuse or missing: default"),
    "view entity": (
        "    entity: station", "    entity: stations",
        "entity names unknown entity 'stations'", "did you mean 'station'?"),
    "inputs unknown": (
        "inputs: [chance, pressure_mean]", "inputs: [chance, pressure_mean, chanc]",
        "inputs names unknown feature of a view 'chanc'", "did you mean 'chance'?"),
    "no module": (
        '"features:signals"', '"feature:signals"',
        "'feature:signals' needs feature.py, which is not in the folder", "did you mean 'features.py'?"),
    "no function": (
        '"features:signals"', '"features:signal"', "features.py has no function 'signal'", "did you mean 'signals'?"),
    "simulate has no function": (
        '"simulate:world"', '"simulate:word"', "simulate.py has no function 'word'", "did you mean 'world'?"),
    "label column taken": (
        "    region: {dtype", "    outcome: {dtype: int64, unit: flag}\n    region: {dtype",
        "column 'outcome' is part of every label already", "leave it out"),
    "model feature unknown": (
        "params: {n_estimators: 10}", "features: [chance, tensoin]",
        "features names unknown feature 'tensoin'", "did you mean 'tension'?"),
    "model feature twice": (
        "params: {n_estimators: 10}", "features: [chance, chance]", "features names 'chance' twice", ""),
    "estimator": (
        "lightgbm.LGBMClassifier", "lightgbm.LGBMRegressor",
        "estimator is 'lightgbm.LGBMRegressor'", "did you mean 'lightgbm.LGBMClassifier'?"),
    "start unknown": (
        "params: {n_estimators: 10}", "start_from: chanc",
        "start_from 'chanc' is none of the model's features", "did you mean 'chance'?"),
    "start not of this model": (
        "params: {n_estimators: 10}", "features: [pressure_mean]\n    start_from: chance",
        "start_from 'chance' is none of the model's features", ""),
    "start no probability": (
        "params: {n_estimators: 10}", "start_from: pressure_mean",
        "start_from 'pressure_mean' has unit score", "trees start from a probability"),
    "rounds without a most": (
        "params: {n_estimators: 10}", "rounds: cross_validated",
        "rounds is cross_validated and n_estimators is None",
        "declare params.n_estimators, the most rounds that are tried"),
    "rounds of no rounds": (
        "params: {n_estimators: 10}", "params: {n_estimators: 0}\n    rounds: cross_validated",
        "params.n_estimators is 0; a whole number of at least 1 is required", ""),
    "rounds of another boosting": (
        "params: {n_estimators: 10}", "params: {n_estimators: 10, boosting_type: dart}\n    rounds: cross_validated",
        "boosting_type 'dart' has no start and no model of fewer rounds within it",
        "use gbdt or goss, or leave start_from and rounds out"),
    "baseline no probability": (
        "baseline: chance", "baseline: pressure_mean",
        "baseline 'pressure_mean' has unit score", "a baseline is itself a probability"),
    "slice": (
        "slices: [region]", "slices: [regoin]", "slices names unknown label column 'regoin'",
        "did you mean 'region'?"),
    "cluster": (
        "cluster: station_id", "cluster: station", "cluster names unknown label column 'station'",
        "did you mean 'station_id'?"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_fault_is_one_problem_on_its_line(rain: Path, edit: Edit, case: tuple[str, str, str, str]):
    """One wrong line of system.yaml gives one problem, on that line, with what was probably meant."""
    old, new, text, hint = case
    line = edit("system.yaml", old, new)
    ((place, got, got_hint),) = told(rain)
    assert got == text
    assert got_hint == hint or (not hint and got_hint.startswith("allowed: "))
    assert abs(int(place.removeprefix("system.yaml:")) - line) <= 1


def test_a_column_may_not_hide_the_time_of_its_source(rain: Path, edit: Edit):
    """Feature SQL sees event_at of a source: a column of that name with another meaning would be lost."""
    column = "      told_at: {dtype: timestamp, unit: utc}\n"
    edit("system.yaml", column, column + "      event_at: {dtype: timestamp, unit: utc}\n")
    assert told(rain) == [
        (
            "system.yaml:25",
            "column 'event_at' would be hidden by the source's own event_at",
            "say event_at: event_at or rename the column",
        )
    ]


KNOWN_FROM = {
    "whole": ("{latest: days, on: [station]}", []),
    "unknown source": (
        "{latest: day, on: [station]}",
        [("latest names unknown source 'day'", "did you mean 'days'?")],
    ),
    "the earliest": ("{earliest: days, on: [station]}", []),
    "neither": (
        "{on: [station]}",
        [
            (
                "known_at of 'readings' has neither latest nor earliest",
                "latest: rows may be revised; earliest: they never change",
            )
        ],
    ),
    "both": (
        "{latest: days, earliest: days, on: [station]}",
        [
            (
                "known_at of 'readings' has latest and earliest",
                "latest: rows may be revised; earliest: they never change",
            )
        ],
    ),
    "unknown earliest source": (
        "{earliest: day, on: [station]}",
        [("earliest names unknown source 'day'", "did you mean 'days'?")],
    ),
    "unknown column": (
        "{latest: days, on: [staton]}",
        [
            ("on names unknown column 'staton'", "did you mean 'station'?"),
            ("on names column 'staton', which 'days' has not", "did you mean 'station'?"),
        ],
    ),
    "itself": (
        "{latest: readings, on: [station]}",
        [
            (
                "known_at of 'readings' is taken from 'readings', which itself waits for 'readings'",
                "one source of a chain must know its own time",
            )
        ],
    ),
}


@pytest.mark.parametrize(("known_at", "expected"), KNOWN_FROM.values(), ids=KNOWN_FROM.keys())
def test_a_knowledge_time_told_by_another_source(
    rain: Path, edit: Edit, known_at: str, expected: list[tuple[str, str]]
):
    """The other source exists, shares the columns, and does not wait for this one."""
    edit("system.yaml", "{delay: 5m}", known_at)
    if expected:
        assert [(text, hint) for _, text, hint in told(rain)] == expected
    else:
        assert load_system(rain).declaration.sources["readings"].known_at.source == "days"


def test_knowledge_times_do_not_wait_for_each_other(rain: Path, edit: Edit):
    """Two sources that take their knowledge time from one another would never be read: both are told."""
    edit("system.yaml", "{delay: 5m}", "{latest: days, on: [station]}")
    edit("system.yaml", "known_at: told_at", "known_at: {latest: readings, on: [station]}")
    assert [text for _, text, _ in told(rain)] == [
        "known_at of 'readings' is taken from 'days', which itself waits for 'readings'",
        "known_at of 'days' is taken from 'readings', which itself waits for 'days'",
    ]


def test_columns_that_must_be_equal_are_of_one_dtype(rain: Path, edit: Edit):
    """A number never equals a text, so every row would be without a knowledge time."""
    edit("system.yaml", "{delay: 5m}", "{latest: days, on: [pressure]}")
    told_at = "      told_at: {dtype: timestamp, unit: utc}\n"
    edit("system.yaml", told_at, told_at + "      pressure: {dtype: string, unit: text}\n")
    assert [(text, hint) for _, text, hint in told(rain)] == [
        ("column 'pressure' is float64, in 'days' string", "declare one dtype")
    ]


def test_a_feature_stands_in_one_view(rain: Path, edit: Edit):
    """The same name in a view and an on-demand group is two definitions of one feature."""
    edit("features.py", '"tension"', '"pressure_mean"')
    line = edit("system.yaml", "      tension: {dtype", "      pressure_mean: {dtype")
    assert told(rain) == [
        (f"system.yaml:{line}", "feature 'pressure_mean' stands in 'weather' already", "give it another name")
    ]


@pytest.mark.parametrize("taken", ["station_id", "predict_at", "outcome", "known_at", "region"])
def test_a_feature_has_no_name_of_a_key_a_time_or_a_label_column(rain: Path, edit: Edit, taken: str):
    """In a training row such a feature would be confused with the column of that name."""
    edit("features.py", '"tension"', f'"{taken}"')
    line = edit("system.yaml", "      tension: {dtype", f"      {taken}: {{dtype")
    assert told(rain) == [
        (
            f"system.yaml:{line}",
            f"feature {taken!r} has the name of a key, a time or a label column",
            "give it another name",
        )
    ]


def test_a_view_about_something_else_cannot_be_joined(rain: Path, edit: Edit):
    """Keys of a view are keys of what predictions are about, or no row finds it."""
    edit(
        "system.yaml",
        "    keys: {station_id: int64}\n",
        "    keys: {station_id: int64}\n  city:\n    keys: {city_id: int64}\n",
    )
    line = edit("system.yaml", "    entity: station\n", "    entity: city\n")
    edit("weather.sql", "AS station_id", "AS city_id")
    assert told(rain) == [
        (
            f"system.yaml:{line}",
            "entity 'city' has the key city_id, which 'station' has not",
            "predictions are about 'station', declared first",
        )
    ]


def test_a_view_must_tell_whom_there_is_to_ask_about(rain: Path, edit: Edit):
    """With a day among the keys of what predictions are about, a view of stations alone names nobody to score."""
    keys = (
        "  station_day:\n    keys: {station_id: int64, day_number: int64}\n  station:\n    keys: {station_id: int64}\n"
    )
    edit("system.yaml", "  station:\n    keys: {station_id: int64}\n", keys)
    edit("outcome.sql", "AS station_id,", "AS station_id,\n  1 AS day_number,")
    line = (rain / "system.yaml").read_text().splitlines().index("feature_views:") + 1
    text = "no feature view has all keys of 'station_day': station_id, day_number"
    hint = "nobody to score would be known; declare a view of entity 'station_day'"
    assert told(rain) == [(f"system.yaml:{line}", text, hint)]


def test_columns_that_sql_gives_and_the_declaration_does_not_know(rain: Path, edit: Edit):
    """A renamed output is told from both sides, on its line of the SQL file."""
    line = edit("weather.sql", "AS chance", "AS chances")
    found = told(rain)
    assert found == [
        ("weather.sql:11", "does not give column 'chance'", "did you mean 'chances'?"),
        (f"weather.sql:{line}", "gives undeclared column 'chances'", "did you mean 'chance'?"),
    ]


def test_a_label_gives_its_outcome_and_times(rain: Path, edit: Edit):
    """Without the outcome there is nothing to learn."""
    edit("outcome.sql", "  days.rained AS outcome,\n", "")
    ((place, text, _),) = told(rain)
    assert (place.partition(":")[0], text) == ("outcome.sql", "does not give column 'outcome'")


def test_one_wrong_column_of_a_with_part_is_told_once(rain: Path, edit: Edit):
    """What reads the broken part does not echo the fault."""
    line = edit("weather.sql", "    readings.station,\n", "    readings.staton,\n")
    assert told(rain) == [(f"weather.sql:{line}", "reads unknown column 'readings.staton'", "did you mean 'station'?")]


CODE: dict[str, tuple[str, str, list[tuple[str, str, str]]]] = {
    "not Python": (
        "def signals(", "def signals((", [("features.py:4", "is not Python: invalid syntax", "")]),
    "positional": (
        "(*, chance, pressure_mean)", "(chance, pressure_mean, /)",
        [("features.py:4", "signals takes no argument chance, pressure_mean", "it takes none")]),
    "one more needed": (
        "chance, pressure_mean)", "chance, pressure_mean, wind)",
        [("features.py:4", "signals wants the argument wind", "it is given chance, pressure_mean")]),
    "a neighbour": (
        "import math", "import simulate",
        [("features.py:1", "imports a file of its own folder", "a bundle carries one file: join them")]),
    "a relative import": (
        "import math", "from . import simulate",
        [("features.py:1", "imports a file of its own folder", "a bundle carries one file: join them")]),
    "a constant": (
        "def signals(*, chance, pressure_mean):\n    return ", "signals = ",
        [("system.yaml:45", "features.py has no function 'signals'", "define it with def")]),
    "raises when loaded": (
        "import math", "1 / 0",
        [("system.yaml:45", "'features:signals' fails: ZeroDivisionError: division by zero",
          "called with one plain number for each input")]),
    "module is nowhere": (
        "import math", "import a_module_that_is_nowhere",
        [("system.yaml:45",
          "'features:signals' fails: ModuleNotFoundError: No module named 'a_module_that_is_nowhere'",
          "called with one plain number for each input")]),
    "raises when called": (
        "chance * pressure_mean", "chance[0]",
        [("system.yaml:45", "'features:signals' fails: TypeError: 'float' object is not subscriptable",
          "called with one plain number for each input")]),
    "gives other features": (
        '{"tension"', '{"tensoin"',
        [("system.yaml:45", "'features:signals' does not give feature 'tension'", "did you mean 'tensoin'?"),
         ("system.yaml:45", "'features:signals' gives undeclared feature 'tensoin'", "declare it")]),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), CODE.values(), ids=CODE.keys())
def test_on_demand_code_is_tried_when_the_definitions_load(
    rain: Path, edit: Edit, old: str, new: str, expected: list[tuple[str, str, str]]
):
    """Code that cannot run, or runs and gives something else, is found before any data."""
    edit("features.py", old, new)
    assert told(rain) == expected


def test_a_function_may_take_more_by_default_or_by_name(rain: Path, edit: Edit):
    """Defaults and **others are no fault: the call with the declared inputs works."""
    edit("features.py", "(*, chance, pressure_mean)", "(chance, pressure_mean, power=2, **others)")
    assert load_system(rain).name == "rain"


def test_a_simulator_is_read_and_not_run(rain: Path, edit: Edit):
    """Its imports may be heavy or absent: only its text is looked at, and that strictly."""
    line = edit("simulate.py", "def world(folder, *, seed, now, days=30):", "def world(folder, *, sead, now):")
    assert told(rain) == [
        (f"simulate.py:{line}", "world takes no argument seed", "it takes folder, sead, now"),
        (f"simulate.py:{line}", "world wants the argument sead", "it is given seed, now"),
    ]


def test_trees_start_from_a_probability_that_is_always_there(rain: Path, edit: Edit):
    """A start that may be null would leave the trees with nothing to start from."""
    edit("system.yaml", "min: 0, max: 1, missing: last", "min: 0, max: 1, nullable: true, missing: last")
    line = edit("system.yaml", "params: {n_estimators: 10}", "start_from: chance")
    hint = "trees start from a probability that is always there"
    assert told(rain) == [(f"system.yaml:{line}", "start_from 'chance' may be null", hint)]


def test_a_start_and_chosen_rounds_may_be_declared(rain: Path, edit: Edit):
    """A probability among the features, and a most for the rounds."""
    edit(
        "system.yaml",
        "params: {n_estimators: 10}",
        "params: {n_estimators: 10}\n    start_from: chance\n    rounds: cross_validated",
    )
    model = load_system(rain).declaration.models["trees"]
    assert (model.start_from, model.rounds) == ("chance", "cross_validated")
