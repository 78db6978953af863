"""SQL files that read each other by name: the same rows as one long text, the same lines, faults at home."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.composed_sql import compose
from forecastle.contract.load import load_system
from tests.contract.conftest import told

Edit = Callable[[str, str, str], int]

SHAPED = """\
-- What is read more than once; it isn't a view.
SELECT
  readings.station,
  readings.read_at,
  readings.known_at,  -- when it came in
  AVG(readings.pressure) OVER (PARTITION BY readings.station ORDER BY readings.read_at) AS mean
FROM readings;
"""


@pytest.fixture
def divided(rain: Path, edit: Edit) -> Path:
    """The small system whose view reads `shaped.sql` instead of holding that text."""
    text = (rain / "weather.sql").read_text()
    start, end = text.index("WITH"), text.index("SELECT\n  shaped")
    edit("weather.sql", text[start:end], "")
    (rain / "shaped.sql").write_text(SHAPED)
    return rain


def test_what_is_read_stands_inside_and_lines_stay() -> None:
    """A file over another over a source: comments go, words and the number of lines stay."""
    files = {
        "a.sql": "SELECT raw.x -- it's raw\nFROM raw\n",
        "b.sql": "WITH c AS (SELECT a.x FROM a)\nSELECT c.x, 'a  --b' AS \"Odd Name\" FROM c",
        "d.sql": "-- top\nSELECT b.x\nFROM b",
    }
    found = compose(files, sources={"raw"})
    inside = "WITH a AS (SELECT raw.x FROM raw), c AS (SELECT a.x FROM a) SELECT c.x, 'a  --b' AS \"Odd Name\" FROM c"
    assert found.texts["d.sql"] == f"-- top\nWITH b AS ({inside}) SELECT b.x\nFROM b"
    assert found.inside("d.sql") == ("a.sql", "b.sql")
    assert {name: text.count("\n") for name, text in found.texts.items()} == {"a.sql": 2, "b.sql": 1, "d.sql": 2}


def test_a_source_and_an_own_part_come_before_a_file() -> None:
    """A file named like a source or like a WITH part of the text is not read."""
    files = {
        "raw.sql": "SELECT 1 AS x",
        "a.sql": "SELECT 2 AS x",
        "b.sql": "WITH a AS (SELECT 3 AS x) SELECT x FROM a, raw",
    }
    found = compose(files, sources={"raw"})
    assert found.texts["b.sql"] == files["b.sql"]
    assert found.reads["b.sql"] == ()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), max_size=3), min_size=2, max_size=6))
def test_composed_texts_give_what_views_in_a_database_give(layers: list[list[int]]) -> None:
    """Each file adds up the files before it that it names; the engine's own views are the oracle."""
    files, connection = {}, duckdb.connect()
    for number, named in enumerate(layers):
        before = sorted({name % number for name in named} if number else ())
        tables = "".join(f" CROSS JOIN f{name}" for name in before)
        total = " + ".join(["1", *(f"f{name}.x" for name in before)])
        files[f"f{number}.sql"] = f"SELECT {total} AS x\nFROM (SELECT 0 AS zero) AS one{tables}\n"
        connection.execute(f"CREATE VIEW f{number} AS {files[f'f{number}.sql']}")
    texts = compose(files, sources=()).texts
    for name, text in texts.items():
        wanted = connection.execute(f"SELECT x FROM {name.removesuffix('.sql')}").fetchall()
        assert duckdb.connect().execute(text).fetchall() == wanted


def test_lineage_and_sources_are_those_of_the_long_text(rain: Path, divided: Path, edit: Edit) -> None:
    """Column by column; and a changed shared file is another version of the feature set."""
    system = load_system(divided)
    assert system.lineage("weather.sql")["chance"] == (
        ("readings", "pressure"),
        ("readings", "read_at"),
        ("readings", "station"),
    )
    assert system.reads("weather.sql") == ("readings",)
    edit("shaped.sql", "AVG(", "MAX(")
    assert load_system(divided).all_features().views != system.all_features().views


def test_a_template_reads_a_shared_file(divided: Path, edit: Edit) -> None:
    """The view's literals fill its own text; the shared file stands inside it."""
    edit("weather.sql", "- 1000.0", "- {{base}}")
    edit("system.yaml", "    sql: weather.sql\n", "    sql: weather.sql\n    params: {base: 990}\n")
    system = load_system(divided)
    assert system.reads(system.declaration.feature_views["weather"].sql) == ("readings",)


def test_faults_of_a_shared_file_are_told_once_and_at_home(divided: Path, edit: Edit) -> None:
    """View and label read it, its own line is named, and nothing echoes; the hint knows the right word."""
    edit("outcome.sql", "FROM days\n", "FROM days\nINNER JOIN shaped ON shaped.station = days.station\n")
    assert load_system(divided).reads("outcome.sql") == ("days", "readings")
    line = edit("shaped.sql", "readings.pressure", "readings.presure")
    assert told(divided) == [
        (f"shaped.sql:{line}", "reads unknown column 'readings.presure'", "did you mean 'pressure'?")
    ]


def test_a_misspelt_shared_file_is_told_with_its_name(divided: Path, edit: Edit) -> None:
    """The names of files are among what could have been meant."""
    line = edit("weather.sql", "FROM shaped", "FROM shapd")
    assert (f"weather.sql:{line}", "reads unknown source 'shapd'", "did you mean 'shaped'?") in told(divided)


def test_files_that_read_each_other_in_a_circle_are_refused(divided: Path, edit: Edit) -> None:
    """The whole way round is told."""
    edit("shaped.sql", "FROM readings;", "FROM readings CROSS JOIN weather")
    found = told(divided)
    assert found[0][0] == "weather.sql:1"
    assert found[0][1] == "reads itself: weather.sql → shaped.sql → weather.sql"


def test_a_shared_file_has_no_holes(divided: Path, edit: Edit) -> None:
    """Whose literals would fill them is not said anywhere."""
    line = edit("shaped.sql", "AS mean", "AS {{name}}")
    assert (f"shaped.sql:{line}", "has no literal for {{name}}", "a file that others read has no params") in told(
        divided
    )
