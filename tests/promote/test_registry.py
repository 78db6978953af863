"""The registry: rows that stay, one champion after a race, what was live then."""

from __future__ import annotations

import json
import multiprocessing
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forecastle.contract.errors import ConflictError
from forecastle.promote.registry import Promotion, Registry, publish_pointer, write_pointer

START = datetime(2026, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class HourClock:
    """Every look is an hour later than the one before."""

    def __init__(self) -> None:
        self.now = START - HOUR

    def __call__(self) -> datetime:
        self.now += HOUR
        return self.now


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry.sqlite", clock=HourClock())


def promote(registry: Registry, bundle: str, expected: Promotion | None = None, system: str = "toy") -> Promotion:
    return registry.promote(system, bundle=bundle, model_version=bundle, approved_by="gates", expected=expected)


def decide(registry: Registry, *, promote: bool = False) -> int:
    return registry.record_decision(
        "toy", model="trees", bundle="a", model_version="1", promote=promote,
        reasons=["worse"], evidence={"gates": [], "metrics": {"model.brier": 0.25}},
    )  # fmt: skip


def test_nobody_answers_at_first(registry: Registry) -> None:
    """A new registry has no champion and no history."""
    assert registry.champion("toy") is None
    assert registry.history("toy") == []


def test_the_newest_promotion_is_champion(registry: Registry) -> None:
    """Promotions form a chain; each knows the one before it."""
    first = promote(registry, "a")
    second = promote(registry, "b", first)
    assert registry.champion("toy") == second
    assert second.previous_id == first.promotion_id
    assert registry.history("toy") == [second, first]
    assert second == Promotion(2, "toy", "b", "b", START + HOUR, "gates", 1, None)


def test_what_was_live_then(registry: Registry) -> None:
    """History at an instant holds what had been promoted by then, that very instant included."""
    first = promote(registry, "a")  # 00:00
    second = promote(registry, "b", first)  # 01:00
    assert registry.history("toy", at=START - timedelta(microseconds=1)) == []
    assert registry.history("toy", at=START + HOUR - timedelta(microseconds=1)) == [first]
    assert registry.history("toy", at=START + HOUR) == [second, first]


def test_systems_know_nothing_of_each_other(registry: Registry) -> None:
    """Each system has its own champion, and another system's champion is no predecessor."""
    mine = promote(registry, "a")
    other = promote(registry, "z", system="other")
    assert registry.champion("toy") == mine
    with pytest.raises(ConflictError):
        promote(registry, "b", other)
    assert registry.history("toy") == [mine]


@pytest.mark.parametrize("expected", ["none", "older"])
def test_a_decision_on_an_old_view_is_refused(registry: Registry, expected: str) -> None:
    """Whoever did not look at the newest champion is refused, and nothing changes."""
    first = promote(registry, "a")
    second = promote(registry, "b", first)
    with pytest.raises(ConflictError, match="another promotion came first; look at the new champion"):
        promote(registry, "c", None if expected == "none" else first)
    assert registry.history("toy") == [second, first]


def test_decisions_are_kept_with_their_evidence(registry: Registry) -> None:
    """Refused and promoting decisions both stay, newest first, with reasons and numbers."""
    ids = [decide(registry), decide(registry, promote=True)]
    newest, oldest = registry.decisions("toy")
    assert [oldest.decision_id, newest.decision_id] == ids
    assert (oldest.promote, newest.promote) == (False, True)
    assert oldest.reasons == ("worse",)
    assert oldest.evidence == {"gates": [], "metrics": {"model.brier": 0.25}}
    assert newest.decided_at == START + HOUR


@pytest.mark.parametrize(
    "statement",
    [
        "update promotions set bundle = 'x'",
        "delete from promotions",
        "insert or replace into promotions values (1, 'toy', 'x', '1', '2026-06-01', 'me', null, null)",
        "replace into decisions values (1, 'toy', 'm', 'x', '1', '2026-06-01', 1, '[]', '{}')",
        "update decisions set promote = 1",
        "delete from decisions",
    ],
)
def test_rows_stay_as_they_are(registry: Registry, tmp_path: Path, statement: str) -> None:
    """SQL that would change or remove a row is refused by the database itself."""
    decide(registry)
    before = (promote(registry, "a"), registry.decisions("toy"))
    with sqlite3.connect(tmp_path / "registry.sqlite") as connection, pytest.raises(sqlite3.Error, match="immutable"):
        connection.execute(statement)
    connection.close()
    assert (registry.champion("toy"), registry.decisions("toy")) == before


@pytest.mark.parametrize("table", ["approvals_awaited", "promotion_reasons"])
@pytest.mark.parametrize(
    "statement", ["update {0} set rowid = rowid + 7", "delete from {0}", "insert or replace into {0} select * from {0}"]
)
def test_approvals_stay_as_they_are(registry: Registry, tmp_path: Path, table: str, statement: str) -> None:
    """Until when a decision waits, and what a person said, are kept like all else."""
    number = registry.record_decision(
        "toy", model="m", bundle="a", model_version="1", promote=True, reasons=[], evidence={}, expires_at=START
    )
    registry.promote(
        "toy", bundle="a", model_version="1", approved_by="ann", expected=None, decision_id=number, reason="read it"
    )
    with sqlite3.connect(tmp_path / "registry.sqlite") as connection, pytest.raises(sqlite3.Error, match="immutable"):
        connection.execute(statement.format(table))
    connection.close()
    assert (registry.champion("toy").reason, registry.decisions("toy")[0].expires_at) == ("read it", START)


def test_a_registry_of_the_first_schema_goes_on(registry: Registry, tmp_path: Path) -> None:
    """Rows of a file without approvals stay, and approvals can be added."""
    first = promote(registry, "a")
    with sqlite3.connect(tmp_path / "registry.sqlite") as connection:
        connection.executescript("drop table approvals_awaited; drop table promotion_reasons; pragma user_version = 1;")
    connection.close()
    second = registry.promote("toy", bundle="b", model_version="2", approved_by="ann", expected=first, reason="read it")
    assert registry.history("toy") == [second, first]
    assert second.reason == "read it"


def _race(folder: str, name: str, barrier, results) -> None:
    registry = Registry(Path(folder) / "registry.sqlite", clock=lambda: START)
    barrier.wait()
    try:
        results.put(("won", promote(registry, name).bundle))
    except ConflictError:
        results.put(("refused", name))


def test_two_racing_promotions_make_one_champion(tmp_path: Path) -> None:
    """Of processes that promote at once on a registry nobody has opened before, one wins, the others hear of it."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    racers = [context.Process(target=_race, args=(str(tmp_path), f"b{n}", barrier, results)) for n in range(4)]
    for racer in racers:
        racer.start()
    found = [results.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join(timeout=60)
    winners = [name for outcome, name in found if outcome == "won"]
    history = Registry(tmp_path / "registry.sqlite", clock=lambda: START).history("toy")
    assert [p.bundle for p in history] == winners
    assert sorted(outcome for outcome, _ in found) == ["refused"] * 3 + ["won"]


def test_the_pointer_names_the_champion(registry: Registry, tmp_path: Path) -> None:
    """Serving reads the bundle, its version, the promotion and when it happened; nothing else lies beside it."""
    promoted = promote(registry, "a")
    path = tmp_path / "champions" / "toy.json"
    write_pointer(path, promoted)
    assert json.loads(path.read_text()) == {
        "system": "toy", "bundle": "a", "model_version": "a",
        "promoted_at": "2026-06-01T00:00:00+00:00", "promotion_id": 1,
    }  # fmt: skip
    assert [p.name for p in path.parent.iterdir()] == ["toy.json"]
    assert path.stat().st_mode & 0o077 == 0


def test_the_pointer_is_replaced_whole(registry: Registry, tmp_path: Path) -> None:
    """A reader that holds the old file open goes on reading the old champion: the name moves, bytes do not change."""
    path = tmp_path / "toy.json"
    first = promote(registry, "a")
    write_pointer(path, first)
    with path.open() as reader:
        write_pointer(path, promote(registry, "b", first))
        assert json.load(reader)["bundle"] == "a"
    assert json.loads(path.read_text())["bundle"] == "b"


def test_a_failed_pointer_leaves_the_old_one(registry: Registry, tmp_path: Path, monkeypatch) -> None:
    """When the new file cannot be written, the old one stays and no temporary file is left."""
    path = tmp_path / "toy" / "toy.json"
    first = promote(registry, "a")
    write_pointer(path, first)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_pointer(path, first)
    assert [p.name for p in path.parent.iterdir()] == ["toy.json"]
    assert json.loads(path.read_text())["bundle"] == "a"


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"promotion_id": 1}'])
def test_a_lost_or_old_pointer_is_mended(registry: Registry, tmp_path: Path, content: str | None) -> None:
    """Whatever a killed run left behind, publishing lets the pointer name the registry's champion."""
    path = tmp_path / "toy.json"
    second = promote(registry, "b", promote(registry, "a"))
    if content is not None:
        path.write_text(content)
    assert publish_pointer(path, registry, system="toy") == second
    assert json.loads(path.read_text())["bundle"] == "b"


def test_a_right_pointer_is_left_alone(registry: Registry, tmp_path: Path) -> None:
    """Serving watches the file: publishing the same champion again does not touch it."""
    path = tmp_path / "toy.json"
    promote(registry, "a")
    publish_pointer(path, registry, system="toy")
    before = path.stat()
    publish_pointer(path, registry, system="toy")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_no_champion_makes_no_pointer(registry: Registry, tmp_path: Path) -> None:
    """Without a champion there is nothing to point at."""
    assert publish_pointer(tmp_path / "toy.json", registry, system="toy") is None
    assert not (tmp_path / "toy.json").exists()
