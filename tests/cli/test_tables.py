"""Verbs over tables: sql, lineage, rebuild and prune, as a user meets them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forecastle.store.feature_views import publish_view
from forecastle.store.sources import ingest
from forecastle.store.training_set import publish_training_set
from forecastle.store.warehouse import Warehouse
from tests.cli.conftest import Forecastle
from tests.store.weather import START, write_readings, write_system

BUILT_AT = START + timedelta(days=15)


@pytest.fixture
def around(tmp_path: Path) -> dict[str, str]:
    """The environment of a home that holds the weather system's tables."""
    system = write_system(tmp_path / "systems" / "weather")
    write_readings(tmp_path / "data")
    warehouse = Warehouse(tmp_path / "home" / "warehouse", clock=lambda: BUILT_AT)
    source = system.declaration.sources["readings"]
    ingest(warehouse, "weather", "readings", source, data=tmp_path / "data")
    publish_view(warehouse, system, "warmth")
    publish_training_set(warehouse, system, now=BUILT_AT)
    return {"FORECASTLE_SYSTEMS": str(tmp_path / "systems"), "FORECASTLE_DATA": str(tmp_path / "data")}


def test_sql_lists_tables_and_answers(forecastle: Forecastle, around: dict[str, str]) -> None:
    """Without a question the tables; with one its rows, as a table or as CSV."""
    listed = forecastle("sql", "weather", **around)
    assert listed.returncode == 0, listed.stderr
    assert all(name in listed.stdout for name in ("source.readings", "features.warmth", "training_set"))
    question = "SELECT station_id, count(*) AS n, min(event_at) AS first FROM source.readings GROUP BY 1 ORDER BY 1"
    shown = forecastle("sql", "weather", question, **around)
    assert "2026-01-01 12:00:00+00:00" in shown.stdout
    rows = forecastle("sql", "weather", question, "--csv", **around).stdout.splitlines()
    assert rows == ["station_id,n,first", *(f"{n},24,2026-01-01T12:00:00+00:00" for n in range(3))]
    many = forecastle("sql", "weather", "SELECT * FROM source.readings", **around)
    assert "the first 50 rows; --csv prints all of them" in many.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("sql", "weather", "SELECT * FROM source.reading"), "did you mean 'source.readings'?"),
        (("sql", "weather", "DROP TABLE x"), "exactly one SELECT"),
        (("sql", "weather", "SELECT 1", "--as-of", "yesterday"), "--as-of is 'yesterday'; write an instant with zone"),
        (("lineage", "weather.celcius"), "did you mean 'celsius'?"),
        (("lineage", "weather"), "'weather' is no SYSTEM.FEATURE"),
        (("rebuild", "weather", "--as-of", "2026-01-16T00:00:00"), "write an instant with zone"),
        (("rebuild", "weather"), "either --as-of INSTANT or --version NUMBER"),
    ],
)
def test_refusals_are_plain(
    forecastle: Forecastle, around: dict[str, str], arguments: tuple[str, ...], told: str
) -> None:
    """Exit status 1 and one message that says what to write instead."""
    done = forecastle(*arguments, **around)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_lineage_goes_from_raw_columns_to_models(forecastle: Forecastle, around: dict[str, str]) -> None:
    """A computed feature: its function, its inputs, their view, their source columns, and who uses it."""
    done = forecastle("lineage", "weather.frost_probability", **around)
    assert done.returncode == 0, done.stderr
    for line in (
        "weather.frost_probability  float64 in probability",
        "on demand derived  features:derived",
        "features/warmth  column celsius, warmth.sql",
        "source/readings  column celsius, score",
        "training_set  column frost_probability",
        "models/plain  input 3 of 3",
    ):
        assert line in done.stdout


def test_rebuild_says_whether_it_is_the_same(forecastle: Forecastle, around: dict[str, str]) -> None:
    """The set built at that moment comes out again; a moment of which there is none is built all the same."""
    same = forecastle("rebuild", "weather", "--as-of", BUILT_AT.isoformat(), **around)
    assert (same.returncode, "the same rows, bit for bit" in same.stdout) == (0, True), same.stderr
    other = forecastle("rebuild", "weather", "--as-of", "2026-01-10T00:00:00+00:00", **around)
    assert (other.returncode, "nothing to compare with" in other.stdout) == (0, True)
    assert f"version 0  {BUILT_AT.isoformat()}" in other.stdout, "what can be asked for is listed"


def test_rebuild_takes_the_number_of_a_version(forecastle: Forecastle, around: dict[str, str]) -> None:
    """Nobody has to know the instant to the microsecond; a number that is not there names those that are."""
    same = forecastle("rebuild", "weather", "--version", "0", **around)
    assert (same.returncode, "training_set/all@0: the same rows, bit for bit" in same.stdout) == (0, True), same.stderr
    wrong = forecastle("rebuild", "weather", "--version", "7", **around)
    assert (wrong.returncode, "no version 7" in wrong.stderr, "version 0" in wrong.stderr) == (1, True, True)


def test_prune_applies_the_declared_retention(forecastle: Forecastle, around: dict[str, str], tmp_path: Path) -> None:
    """Of two old versions of a source the older one goes, unless the newest training set was made of it."""
    path = tmp_path / "systems" / "weather" / "system.yaml"
    path.write_text(path.read_text() + "retention: {keep: 1, older_than: 1d}\n")
    warehouse = Warehouse(tmp_path / "home" / "warehouse", clock=lambda: datetime(2026, 2, 1, tzinfo=UTC))
    warehouse.publish("weather/predictions/all", "SELECT 1 AS a", connection=warehouse.connect())
    warehouse.publish("weather/predictions/all", "SELECT 2 AS a", connection=warehouse.connect())
    warehouse.publish("weather/features/warmth", "SELECT 2 AS a", connection=warehouse.connect())
    done = forecastle("prune", "weather", **around)
    assert done.returncode == 0, done.stderr
    assert "weather/predictions/all: 1 version(s)" in done.stdout
    assert "weather/features/warmth" not in done.stdout
    assert "records of removed versions stay" in done.stdout
