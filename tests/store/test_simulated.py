"""Simulated source files: made once, whole or not at all, again when old."""

from __future__ import annotations

import multiprocessing
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from forecastle.contract.errors import SourceError
from forecastle.contract.load import LoadedSystem, load_system
from forecastle.store.simulated import RENEW_AFTER, SEED, simulated_data
from tests.learn import ferries

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)

# Writes one file, does what an environment of the test asks, writes the next.
WORLD = """

def world(folder, *, seed, now):
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
    return ferries.write_system(
        tmp_path_factory.mktemp("systems"),
        code=ferries.CODE + WORLD,
        declaration=ferries.DECLARATION + 'simulate: "features:world"\n',
    )


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
        (RENEW_AFTER - timedelta(seconds=1), 1),
        (RENEW_AFTER, 2),
        (timedelta(days=30), 2),
        (timedelta(seconds=-1), 2),
    ],
)
def test_a_world_is_renewed_when_old_or_from_the_future(system, calls, tmp_path, age, made) -> None:
    """A world younger than twenty hours stays; an older one, or one from later than now, is made again."""
    simulated_data(system, tmp_path / "data", now=NOW)
    simulated_data(system, tmp_path / "data", now=NOW + age)
    assert worlds(calls) == made
    expected = NOW + age if made == 2 else NOW
    assert (tmp_path / "data" / "ferries" / "first.txt").read_text() == f"{SEED} {expected.isoformat()}"


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
