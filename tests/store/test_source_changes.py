"""A mark changes when a source may have new rows, and only then."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from forecastle.contract.load import LoadedSystem, load_system
from forecastle.contract.source import Source, Variable
from forecastle.store.source_changes import source_mark

FOLDER = Path(__file__).parents[2] / "platform" / "systems" / "prediction_markets"


def system(**changes: object) -> LoadedSystem:
    """Prediction markets whose quotes come otherwise."""
    loaded = load_system(FOLDER)
    sources = dict(loaded.declaration.sources)
    fields = {name: getattr(sources["quotes"], name) for name in sources["quotes"].model_fields_set}
    sources["quotes"] = Source(**(fields | changes))  # type: ignore[arg-type]
    return replace(loaded, declaration=loaded.declaration.model_copy(update={"sources": sources}))


def mark(loaded: LoadedSystem, data: Path, **variables: str) -> str:
    return source_mark(loaded, "quotes", data=data, variables=variables, streams=data / "streams.sqlite")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "prediction_markets").mkdir()
    return tmp_path


def test_files_by_name_size_and_time(data: Path) -> None:
    """Absent, there, the same, written anew, one more: each but the same is another mark."""
    loaded = system(path="${DATA}/prediction_markets/quotes*.parquet")
    marks = [mark(loaded, data)]
    first = data / "prediction_markets" / "quotes.parquet"
    first.write_bytes(b"1")
    marks.append(mark(loaded, data))
    assert mark(loaded, data) == marks[-1]
    os.utime(first, ns=(5, 5))
    marks.append(mark(loaded, data))
    (data / "prediction_markets" / "quotes_2.parquet").write_bytes(b"2")
    marks.append(mark(loaded, data))
    assert marks[0] == "absent"
    assert len(set(marks)) == 4


def test_a_database_by_rows_and_newest_time(data: Path) -> None:
    """It is asked for its watermark, and its rows are not read."""
    path = data / "quotes.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table quotes (mid integer, known_at text)")
        connection.execute("insert into quotes values (1, '2026-06-01 12:00:00')")
    for asked in ({"table": "quotes"}, {"query": "select * from quotes"}):
        loaded = system(kind="sql", path="", url=Variable(env="QUOTES"), **asked)
        assert mark(loaded, data, QUOTES=f"sqlite:///{path}") == "1 rows until 2026-06-01 12:00:00"


def test_a_stream_without_a_worker_is_absent(data: Path) -> None:
    """Nobody took anything in yet."""
    assert mark(system(kind="stream", path=""), data) == "absent"
