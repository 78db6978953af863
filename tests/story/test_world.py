"""Simulated source files: made once, whole or not at all, then only added to."""

from __future__ import annotations

import json
import multiprocessing
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from forecastle.contract.errors import SourceError
from forecastle.contract.load import LoadedSystem, load_system
from forecastle.story.world import GROWS_AFTER, RENEWED_AFTER, SEED, simulated_data
from tests.learn import ferries

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)

# Writes one file, does what an environment of the test asks, writes the next.
WORLD = """

def world(folder, *, seed, now):
    whole(folder, seed, now)


def growing(folder, *, seed, now, until=None):
    whole(folder, seed, now)
    hours = int(((until or now) - now).total_seconds() // 3600)
    (folder / "rows.txt").write_text("".join(f"{hour}" + chr(10) for hour in range(hours + 1)))


def whole(folder, seed, now):
    import os, signal

    with open(os.environ["CALLS"], "a") as calls:
        calls.write("called" + chr(10))
    (folder / "first.txt").write_text(f"{seed} {now.isoformat()}")
    if os.environ.get("STOP") == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("STOP") == "raise":
        raise RuntimeError("the world ended")
    (folder / "second.txt").write_text("whole")
"""


@pytest.fixture
def calls(tmp_path, monkeypatch) -> Path:
    """A file with a line for every world that was made."""
    path = tmp_path / "calls"
    path.touch()
    monkeypatch.setenv("CALLS", str(path))
    return path


@pytest.fixture(scope="module")
def system(tmp_path_factory) -> LoadedSystem:
    """Knows one instant only."""
    return simulated_by("world", tmp_path_factory.mktemp("systems"))


@pytest.fixture(scope="module")
def lasting(tmp_path_factory) -> LoadedSystem:
    """Has a row an hour since the first `now`."""
    return simulated_by("growing", tmp_path_factory.mktemp("lasting"))


def simulated_by(function: str, folder: Path) -> LoadedSystem:
    declaration = ferries.DECLARATION + f'simulate: "features:{function}"\n'
    return ferries.write_system(folder, code=ferries.CODE + WORLD, declaration=declaration)


def rows(data: Path) -> list[str]:
    return (data / "ferries" / "rows.txt").read_text().split()


def worlds(calls: Path) -> int:
    return len(calls.read_text().splitlines())


def test_a_world_is_made_in_the_shape_of_a_data_folder(system, calls, tmp_path) -> None:
    """Files lie in `<folder>/<system>/`, made with the platform's seed and the given now."""
    data = simulated_data(system, tmp_path / "data", now=NOW)
    assert data == tmp_path / "data"
    assert (data / "ferries" / "first.txt").read_text() == f"{SEED} {NOW.isoformat()}"
    assert (data / "ferries" / "second.txt").read_text() == "whole"


@pytest.mark.parametrize(
    ("age", "made"),
    [
        (timedelta(0), 1),
        (RENEWED_AFTER - timedelta(seconds=1), 1),
        (RENEWED_AFTER, 2),
        (timedelta(days=30), 2),
        (timedelta(seconds=-1), 1),
        (-GROWS_AFTER, 1),
        (-GROWS_AFTER - timedelta(seconds=1), 2),
    ],
)
def test_a_world_that_cannot_go_on_is_renewed(system, calls, tmp_path, age, made) -> None:
    """Younger than twenty hours it stays; an older one, or one from hours later than now, is made again."""
    simulated_data(system, tmp_path / "data", now=NOW)
    simulated_data(system, tmp_path / "data", now=NOW + age)
    assert worlds(calls) == made
    expected = NOW + age if made == 2 else NOW
    assert (tmp_path / "data" / "ferries" / "first.txt").read_text() == f"{SEED} {expected.isoformat()}"


def test_a_world_goes_on_as_the_same_world(lasting, calls, tmp_path) -> None:
    """Looked at over a month: written every six hours at most, always from its first instant, no row ever lost."""
    data, seen = tmp_path / "data", ["0"]
    for hours in (0, 1, 5, 6, 11, 12, 30, 24 * 30):
        simulated_data(lasting, data, now=NOW + timedelta(hours=hours))
        assert rows(data)[: len(seen)] == seen
        seen = rows(data)
        assert hours - GROWS_AFTER / timedelta(hours=1) < int(seen[-1]) <= hours
        assert (data / "ferries" / "first.txt").read_text() == f"{SEED} {NOW.isoformat()}"
    assert worlds(calls) == 5


def test_files_that_did_not_grow_are_left_alone(lasting, calls, tmp_path) -> None:
    """Whoever looks at times of modification sees what changed and nothing else; the folder is never empty."""
    data = simulated_data(lasting, tmp_path / "data", now=NOW)
    before = {path.name: path.stat().st_mtime_ns for path in (data / "ferries").iterdir()}
    inode = (data / "ferries").stat().st_ino
    simulated_data(lasting, data, now=NOW + timedelta(days=1))
    after = {path.name: path.stat().st_mtime_ns for path in (data / "ferries").iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"rows.txt", "world.json"}
    assert (data / "ferries").stat().st_ino == inode


def test_a_replayed_clock_that_starts_again_finds_the_same_world(lasting, calls, tmp_path) -> None:
    """The process that comes second begins at the instant where the first one, by now seconds ahead, began."""
    data = simulated_data(lasting, tmp_path / "data", now=NOW)
    simulated_data(lasting, data, now=NOW + timedelta(days=1, seconds=3))
    written = rows(data)
    simulated_data(lasting, data, now=NOW + timedelta(days=1))
    assert rows(data) == written
    assert worlds(calls) == 2


def test_a_clock_that_was_set_back_makes_another_world(lasting, calls, tmp_path) -> None:
    """Rows of the future cannot be taken back from a world that goes on."""
    data = simulated_data(lasting, tmp_path / "data", now=NOW)
    simulated_data(lasting, data, now=NOW + timedelta(days=1))
    simulated_data(lasting, data, now=NOW)
    assert rows(data) == ["0"]


def test_a_world_of_an_older_mark_goes_on(lasting, calls, tmp_path) -> None:
    """A mark without `until` is of a world that was written once."""
    data = simulated_data(lasting, tmp_path / "data", now=NOW)
    (data / "ferries" / "world.json").write_text(json.dumps({"seed": SEED, "now": NOW.isoformat()}))
    simulated_data(lasting, data, now=NOW + timedelta(days=1))
    assert len(rows(data)) == 25
    assert (data / "ferries" / "first.txt").read_text() == f"{SEED} {NOW.isoformat()}"


def test_a_growing_world_that_fails_stays_as_it_was(lasting, calls, tmp_path, monkeypatch) -> None:
    """When the simulator raises half way, no file of the shorter world is touched."""
    data = simulated_data(lasting, tmp_path / "data", now=NOW)
    monkeypatch.setenv("STOP", "raise")
    with pytest.raises(RuntimeError, match="the world ended"):
        simulated_data(lasting, data, now=NOW + timedelta(days=1))
    assert rows(data) == ["0"]
    assert {path.name for path in data.iterdir()} == {".ferries.lock", "ferries"}


@pytest.mark.parametrize("mark", ["", "{}", "[]", '{"now": "yesterday"}', '{"now": "2026-06-01T12:00:00"}'])
def test_a_world_whose_mark_cannot_be_read_is_made_again(system, calls, tmp_path, mark) -> None:
    """A damaged mark tells nothing about the files beside it."""
    simulated_data(system, tmp_path / "data", now=NOW)
    (tmp_path / "data" / "ferries" / "world.json").write_text(mark)
    simulated_data(system, tmp_path / "data", now=NOW)
    assert worlds(calls) == 2


def _make(system_folder: Path, data: Path, barrier: Any = None) -> None:
    system = load_system(system_folder)
    if barrier:
        barrier.wait()
    simulated_data(system, data, now=NOW)


def test_racing_processes_make_one_world(system, calls, tmp_path) -> None:
    """Of processes that all find nothing, one makes the world and the others find it whole."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    racers = [context.Process(target=_make, args=(system.folder, tmp_path / "data", barrier)) for _ in range(2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(timeout=60)
    assert [racer.exitcode for racer in racers] == [0, 0]
    assert worlds(calls) == 1


@pytest.mark.parametrize("before", [None, NOW - timedelta(days=3)])
def test_killed_half_way_leaves_what_was_there(system, calls, tmp_path, monkeypatch, before) -> None:
    """A killed process leaves the old world, or none; the next one makes a whole one and clears the remains away."""
    data = tmp_path / "data"
    if before:
        simulated_data(system, data, now=before)
    monkeypatch.setenv("STOP", "kill")
    context = multiprocessing.get_context("spawn")
    racer = context.Process(target=_make, args=(system.folder, data))
    racer.start()
    racer.join(timeout=60)
    assert racer.exitcode == -signal.SIGKILL
    found = data / "ferries" / "first.txt"
    assert (found.read_text() if found.exists() else None) == (f"{SEED} {before.isoformat()}" if before else None)
    monkeypatch.setenv("STOP", "")
    simulated_data(system, data, now=NOW)
    assert (data / "ferries" / "second.txt").read_text() == "whole"
    assert {path.name for path in data.iterdir()} == {".ferries.lock", "ferries"}


def test_a_world_that_fails_leaves_the_old_one(system, calls, tmp_path, monkeypatch) -> None:
    """When the simulator raises, the old world stays and no half world lies beside it."""
    data = tmp_path / "data"
    simulated_data(system, data, now=NOW - timedelta(days=3))
    monkeypatch.setenv("STOP", "raise")
    with pytest.raises(RuntimeError, match="the world ended"):
        simulated_data(system, data, now=NOW)
    assert {path.name for path in data.iterdir()} == {".ferries.lock", "ferries"}
    assert (data / "ferries" / "second.txt").read_text() == "whole"


def test_a_system_without_a_simulator_needs_data(tmp_path) -> None:
    """The error says what to set."""
    system = ferries.write_system(tmp_path)
    with pytest.raises(SourceError, match="ferries has no simulator: set FORECASTLE_DATA"):
        simulated_data(system, tmp_path / "data", now=NOW)
