"""Retention: what is old goes, what something stands on stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest

from forecastle.contract.errors import StoreError
from forecastle.contract.system import Retention
from forecastle.store.delta_log import TableName
from forecastle.store.events import Event, EventQueue
from forecastle.store.home import Home
from forecastle.store.retention import prune_queues, prune_system, stands_on
from forecastle.store.stream_events import to_us
from forecastle.store.warehouse import Warehouse

START = datetime(2026, 6, 1, tzinfo=UTC)
SOURCE, VIEW, TRAINING = (
    TableName("toy", *rest) for rest in (("source", "a"), ("features", "v"), ("training_set", "all"))
)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Ten days of a source, a view over it and a training set over that, one version each a day."""
    clock: Iterator[datetime] = (START + timedelta(hours=8 * n) for n in count())
    found = Warehouse(tmp_path, clock=lambda: next(clock))
    for day in range(10):
        rows = pa.table({"a": [day]})
        found.publish(SOURCE, rows)
        found.publish(VIEW, rows, facts={"input.a": f"{SOURCE}@{day}"})
        found.publish(TRAINING, rows, facts={"input.v": f"{VIEW}@{day}", "input.gone": "toy/source/gone@3"})
    return found


def there(warehouse: Warehouse, table: TableName) -> list[int]:
    return [version.version for version in warehouse.versions(table) if version.path.exists()]


def test_a_version_stands_on_its_inputs_and_theirs(warehouse: Warehouse) -> None:
    """From a training set to its view to its source; an input without a record is no obstacle."""
    needed = stands_on(warehouse, [warehouse.resolve(f"{TRAINING}@4")])
    assert needed == {TRAINING: {4}, VIEW: {4}, SOURCE: {4}}


def test_old_rows_go_and_what_is_needed_stays(warehouse: Warehouse) -> None:
    """Three newest, whatever is younger than five days, and the third day's training set with all below it."""
    late = Warehouse(warehouse.root, clock=lambda: START + timedelta(days=10))
    retention = Retention(keep=3, older_than=timedelta(days=2))
    reports = prune_system(late, "toy", retention, standing=[late.resolve(f"{TRAINING}@2")])
    for table in (SOURCE, VIEW, TRAINING):
        assert there(late, table) == [2, 7, 8, 9] if table == SOURCE else there(late, table)[0] == 2
        assert len(late.versions(table)) == 10
    assert reports[SOURCE].bytes_freed > 0
    with pytest.raises(StoreError, match="gone"):
        late.arrow(f"{SOURCE}@3")


def test_young_versions_stay_whatever_their_number(warehouse: Warehouse) -> None:
    """Thirty days is the default: nothing goes in the first ten."""
    late = Warehouse(warehouse.root, clock=lambda: START + timedelta(days=10))
    assert all(not report.files for report in prune_system(late, "toy", Retention()).values())
    assert there(late, SOURCE) == list(range(10))


def test_queues_keep_what_is_young_or_not_taken(tmp_path: Path) -> None:
    """Taken pushes older than the retention go, at least a week stays, and files that are not there are not made."""
    home, now = Home(tmp_path), START + timedelta(days=100)
    assert prune_queues(home, "toy", Retention(), now=now) == {}
    queue = EventQueue(home.pushed("toy"))
    queue.append(
        [Event("trades", str(n), "x", "{}", 0, 0, "{}", to_us(now - timedelta(days=n))) for n in (40, 35, 8, 1)]
    )
    queue.acknowledge("trades", 1)
    assert prune_queues(home, "toy", Retention(), now=now) == {home.pushed("toy"): 1}
    queue.acknowledge("trades", 4)
    assert prune_queues(home, "toy", Retention(older_than=timedelta(hours=1)), now=now) == {home.pushed("toy"): 2}
    assert [event.event_id for event in queue.since(0)] == ["1"]
    queue.close()
    assert [path.name for path in tmp_path.rglob("*.sqlite")] == ["toy.pushed.sqlite"]
