"""What the event queue promises: on disk before it returns, once per (view, event id), read on from where one stood."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import ConflictError, StoreError
from forecastle.store.events import Appended, Event, EventQueue

PLATFORM = Path(__file__).parents[2] / "platform"


def event(number: int = 0, **changes: object) -> Event:
    made = Event("prices", f"e{number}", f"{number:x}", '{"market_id":7}', 1_000 + number, 2_000 + number, "{}", 3_000)
    return replace(made, **changes)


@pytest.fixture
def queue(tmp_path: Path):
    opened = EventQueue(tmp_path / "log" / "toy.events.sqlite")
    yield opened
    opened.close()


def test_events_come_back_equal_and_in_order(queue):
    """Every field, numbered from 1 without gaps, also read by another process's queue on the same file."""
    assert queue.append([event(0), event(1), event(2)]) == Appended(stored=3, repeated=0)
    assert queue.since(0) == [event(n, sequence=n + 1) for n in range(3)]
    other = EventQueue(queue._file.path)
    assert other.since(1, limit=1) == [event(1, sequence=2)]
    other.close()


def test_a_repeat_changes_nothing(queue):
    """The same (view, id, content) again is counted as repeated; the same id in another view is another event."""
    queue.append([event(0), event(1)])
    assert queue.append([event(1), event(2), event(0, view="polls")]) == Appended(stored=2, repeated=1)
    assert [(e.view, e.event_id) for e in queue.since(0)] == [
        ("prices", "e0"), ("prices", "e1"), ("prices", "e2"), ("polls", "e0"),
    ]  # fmt: skip
    assert [e.event_id for e in queue.since(0, view="polls")] == ["e0"]


def test_an_id_with_another_content_refuses_the_whole_append(queue):
    """One conflict and nothing of that append is there, not even its new events."""
    queue.append([event(0)])
    with pytest.raises(ConflictError, match="'e0' of prices"):
        queue.append([event(1), event(0, content_sha256="other")])
    assert len(queue.since(0)) == 1


def test_consumers_stand_where_they_acknowledged(queue):
    """Each consumer has its own position, which never goes back and outlives the process."""
    queue.append([event(n) for n in range(5)])
    assert (queue.position("online"), queue.pending("online")) == (0, 5)
    queue.acknowledge("online", 3)
    queue.acknowledge("online", 2)
    queue.acknowledge("table", 5)
    queue.close()
    again = EventQueue(queue._file.path)
    assert (again.position("online"), again.pending("online"), again.pending("table")) == (3, 2, 0)
    again.close()


def test_what_is_taken_and_old_is_forgotten(queue, monkeypatch):
    """Not what the consumer has not acknowledged, not what is young, not another view's, not a view's newest event."""
    monkeypatch.setattr("forecastle.store.events.FORGET_ROWS", 2)
    queue.append([event(n) for n in range(9)])
    queue.append([event(0, view="polls")])
    queue.acknowledge("online", 7)
    assert queue.views() == ("polls", "prices")
    assert queue.forget("prices", consumer="online", received_before_us=3_000) == 0
    queue.append([event(20, received_at_us=9_000)])
    assert queue.forget("prices", consumer="nobody", received_before_us=3_001) == 0
    assert queue.forget("prices", consumer="online", received_before_us=3_001) == 7
    assert [e.event_id for e in queue.since(0, view="prices")] == ["e7", "e8", "e20"]
    queue.acknowledge("online", 99)
    assert queue.forget("prices", consumer="online", received_before_us=10_000) == 2
    assert queue.forget("polls", consumer="online", received_before_us=10_000) == 0
    assert [(e.view, e.event_id) for e in queue.since(0)] == [("polls", "e0"), ("prices", "e20")]
    assert queue.append([event(0)]) == Appended(stored=1, repeated=0)
    assert queue.since(0)[-1].sequence == 12  # numbers are never given twice


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=6))
def test_whatever_is_sent_again_each_event_is_there_once(tmp_path_factory, pushes):
    """Against a set: stored is what was new, repeated is the rest, the order is that of first arrival."""
    queue = EventQueue(tmp_path_factory.mktemp("queue") / "q.sqlite")
    seen: list[int] = []
    for numbers in pushes:
        new = [n for n in dict.fromkeys(numbers) if n not in seen]
        assert queue.append([event(n) for n in numbers]) == Appended(len(new), len(numbers) - len(new))
        seen += new
    assert [e.event_id for e in queue.since(0)] == [f"e{n}" for n in seen]
    queue.close()


def test_a_kill_after_append_loses_nothing(tmp_path):
    """A process that says each append when it returned and is then killed leaves exactly what it said."""
    path = tmp_path / "q.sqlite"
    code = (
        "import sys\nfrom pathlib import Path\nfrom forecastle.store.events import Event, EventQueue\n"
        "queue = EventQueue(Path(sys.argv[1]))\n"
        "for n in range(10_000):\n"
        "    queue.append([Event('v', str(n), 'x', '{}', n, n, '{}', n)])\n"
        "    print(n, flush=True)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(PLATFORM)}
    with subprocess.Popen([sys.executable, "-c", code, str(path)], env=environment, stdout=subprocess.PIPE) as process:
        said = [int(process.stdout.readline()) for _ in range(50)]
        os.kill(process.pid, signal.SIGKILL)
        said += [int(line) for line in process.stdout.read().split()]
    queue = EventQueue(path)
    kept = [int(e.event_id) for e in queue.since(0)]
    queue.close()
    assert kept[: len(said)] == said
    assert len(kept) - len(said) in (0, 1)  # the last may be on disk before it was said


def test_the_file_is_its_owners_only_and_no_other_file_is_taken(tmp_path, queue):
    """Mode 0600; what is no queue is named in the error."""
    assert queue._file.path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "text").write_text("no database at all " * 100)
    with pytest.raises(StoreError, match=r"event queue .* cannot be opened"):
        EventQueue(tmp_path / "text")
    queue._file.fetch("DROP TABLE events")
    with pytest.raises(StoreError, match=r"event queue .* cannot be written"):
        queue.append([event(0)])


def test_looking_for_news_passes_no_old_event(queue):
    """A worker looks fifty times a second: of a million events that were taken, none may be read again."""
    queue.append([event(n) for n in range(20)])
    asked: list[str] = []
    queue._file._connection.set_trace_callback(asked.append)
    assert (queue.since(20, view="prices"), queue.count(20, view="prices")) == ([], 0)
    queue._file._connection.set_trace_callback(None)
    for query in asked:
        plan = " ".join(str(row[-1]) for row in queue._file.fetch(f"EXPLAIN QUERY PLAN {query}"))
        assert "events_of (view=? AND rowid>?)" in plan
        assert "B-TREE" not in plan
