"""Questions in SQL: every table by its name, as it is or was, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest

from forecastle.contract.errors import CorruptionError, StoreError
from forecastle.store.query import ask, view_versions
from forecastle.store.warehouse import Warehouse

START = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    clock: Iterator[datetime] = (START + timedelta(hours=n) for n in count())
    found = Warehouse(tmp_path / "warehouse", clock=lambda: next(clock))
    found.publish("toy/source/prices", pa.table({"id": [1, 2], "price": [0.5, 0.25]}))
    found.publish("toy/source/prices", pa.table({"id": [1, 2, 3], "price": [0.5, 0.25, 1.0]}))
    found.publish("toy/training_set/all", pa.table({"id": [1], "outcome": [1]}))
    found.publish("other/source/secret", pa.table({"id": [7]}))
    return found


def rows(warehouse: Warehouse, text: str, *, as_of: datetime | None = None) -> list[dict[str, object]]:
    with ask(warehouse, "toy", text, as_of=as_of) as answer:
        return [row for batch in answer.batches for row in batch.to_pylist()]


def test_every_table_is_a_view(warehouse: Warehouse) -> None:
    """A table is kind.name; one that is alone in its kind is the kind."""
    assert list(view_versions(warehouse, "toy")) == ["source.prices", "training_set"]
    text = (
        "WITH dear AS (SELECT id FROM source.prices WHERE price > 0.3)"
        " SELECT t.outcome, (SELECT count(*) FROM dear) AS dear, (SELECT sum(range) FROM range(3)) AS three"
        " FROM training_set AS t JOIN dear USING (id)"
    )
    assert rows(warehouse, text) == [{"outcome": 1, "dear": 2, "three": 3}]


def test_as_of_shows_tables_as_they_stood(warehouse: Warehouse) -> None:
    """Before the second version there were two rows, and the training set was not there."""
    then = START + timedelta(minutes=30)
    assert rows(warehouse, "SELECT count(*) AS n FROM source.prices", as_of=then) == [{"n": 2}]
    assert rows(warehouse, "SELECT count(*) AS n FROM source.prices") == [{"n": 3}]
    with pytest.raises(StoreError, match="no table 'training_set'"):
        rows(warehouse, "SELECT * FROM training_set", as_of=then)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SELECT * FROM source.price", "did you mean 'source.prices'"),
        ("SELECT prise FROM source.prices", '(?s)cannot be answered.*"price"'),
        ("SELECT 1; SELECT 2", "."),
        ("DROP VIEW source.prices", "."),
        ("CREATE TABLE x AS SELECT 1", "exactly one SELECT"),
        ("COPY (SELECT 1) TO '/tmp/never.csv'", "."),
        ("SELECT * FROM read_csv('/etc/passwd')", "cannot be answered"),
        ("SELECT * FROM '/etc/passwd'", "there is no table"),
        ("SELECT * FROM other.source.secret", "there is no table"),
        ("SET memory_limit = '1TB'", "."),
        ("ATTACH 'x.db'", "."),
        ("not sql (", "."),
    ],
)
def test_a_question_reads_tables_and_nothing_else(warehouse: Warehouse, text: str, told: str) -> None:
    """Files, other systems, settings and changes are refused in plain words."""
    with pytest.raises(StoreError, match=told):
        rows(warehouse, text)
    assert not Path("/tmp/never.csv").exists()


def test_only_tables_that_are_named_are_read(warehouse: Warehouse) -> None:
    """A damaged table stops the questions that name it, not the others."""
    path = warehouse.resolve("toy/training_set/all").path
    path.write_bytes(b"?" + path.read_bytes()[1:])
    fresh = Warehouse(warehouse.root, clock=lambda: START)
    assert rows(fresh, "SELECT count(*) AS n FROM source.prices") == [{"n": 3}]
    with pytest.raises(CorruptionError):
        rows(fresh, "SELECT * FROM training_set")
