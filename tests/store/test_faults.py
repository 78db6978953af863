"""Faults of machines: writers killed under a polling reader, orphans, two runs at once, disks without space."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from forecastle.contract.errors import StoreError
from forecastle.store.crash import CRASH_POINTS
from forecastle.store.warehouse import Warehouse

START = datetime(2026, 6, 1, tzinfo=UTC)
NAME = "toy/source/prices"
WRITER = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
import pyarrow as pa
from forecastle.contract.errors import ConflictError
from forecastle.store.crash import crash_hook, no_crash
from forecastle.store.warehouse import Warehouse
folder, number, armed = sys.argv[1:]
clock = lambda: datetime(2026, 6, 1, tzinfo=UTC)
hook = crash_hook(armed) if armed else no_crash
warehouse = Warehouse(Path(folder), clock=clock, crash_at=hook, threads=1)
print("ready", flush=True)
sys.stdin.readline()
try:
    version = warehouse.publish("toy/source/prices", pa.table({"a": [int(number)] * (1000 + int(number))}))
    print(f"committed {version.version}", flush=True)
except ConflictError as error:
    print(f"refused {error}", flush=True)
"""


def warehouse(folder: Path) -> Warehouse:
    return Warehouse(folder, clock=lambda: START, threads=1)


def writer(folder: Path, number: int, armed: str = "") -> subprocess.Popen[str]:
    """A process that waits for a line and then publishes `1000 + number` rows of `number`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    started = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(number), armed],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def go(started: subprocess.Popen[str]) -> None:
    assert started.stdin is not None
    started.stdin.write("go\n")
    started.stdin.flush()


def said(started: subprocess.Popen[str]) -> str:
    """What a process printed before it ended."""
    return started.communicate(timeout=60)[0]


def test_a_polling_reader_sees_whole_versions_through_every_kill(tmp_path: Path) -> None:
    """While writers die at each point in turn, every single read is a whole old table or a whole new one."""
    warehouse(tmp_path).publish(NAME, pa.table({"a": [0] * 1000}))
    done = threading.Event()
    seen: list[tuple[int, set[int]]] = []

    def poll() -> None:
        while not done.is_set():
            rows = warehouse(tmp_path).arrow(NAME)["a"].to_pylist()
            seen.append((len(rows), set(rows)))

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        for number, point in enumerate(CRASH_POINTS, start=1):
            process = writer(tmp_path, number, point)
            go(process)
            said(process)
            assert process.returncode == -signal.SIGKILL
    finally:
        done.set()
        reader.join()
    assert len(seen) > len(CRASH_POINTS)
    assert all(len(values) == 1 and count == 1000 + next(iter(values)) for count, values in seen)
    assert seen[-1][1] <= {0, len(CRASH_POINTS)}


@pytest.mark.parametrize("point", ["publish.after_write", "publish.after_rename"])
def test_an_orphan_that_wakes_up_is_refused(tmp_path: Path, point: str) -> None:
    """A writer that stood still while its retry committed finds the fence shut; the table is the retry's."""
    warehouse(tmp_path).publish(NAME, pa.table({"a": [0] * 1000}))
    orphan = writer(tmp_path, 5, f"{point}:SIGSTOP")
    go(orphan)
    assert os.WIFSTOPPED(os.waitpid(orphan.pid, os.WUNTRACED)[1])
    retry = warehouse(tmp_path).publish(NAME, pa.table({"a": [6] * 1006}))
    orphan.send_signal(signal.SIGCONT)
    assert said(orphan).startswith("refused toy/source/prices: newest version is 1")
    assert warehouse(tmp_path).version(NAME) == retry


def test_two_processes_of_one_table_leave_one_of_the_two(tmp_path: Path) -> None:
    """Released together, each commits whole or is refused with a plain message; the table is one writer's rows."""
    both = [writer(tmp_path, number) for number in (1, 2)]
    for process in both:
        go(process)
    outcomes = [said(process) for process in both]
    committed = [outcome for outcome in outcomes if outcome.startswith("committed")]
    assert len(committed) >= 1
    assert all(o in committed or "somebody else wrote first" in o for o in outcomes)
    rows = warehouse(tmp_path).arrow(NAME)["a"].to_pylist()
    assert len(set(rows)) == 1
    assert len(rows) == 1000 + rows[0]
    assert len(warehouse(tmp_path).versions(NAME)) == len(committed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB; mounting one needs root, elsewhere a printed skip."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("no right to mount a small file system here; the same fault by file size is in test_warehouse.py")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_without_space_keeps_the_old_table(small_disk: Path) -> None:
    """A publish that does not fit says disk; the old version is read; once there is space it works again."""
    found = warehouse(small_disk / "warehouse")
    found.publish(NAME, pa.table({"a": [1, 2]}))
    with found.connect() as connection, pytest.raises(StoreError, match="disk"):
        found.publish(NAME, "SELECT random() AS a FROM range(3000000)", connection=connection)
    assert found.arrow(NAME)["a"].to_pylist() == [1, 2]
    assert [path.name for path in (small_disk / "warehouse").rglob("*.tmp")] == []
    ballast = small_disk / "ballast"
    free = os.statvfs(small_disk)
    ballast.write_bytes(b"\0" * (free.f_bavail * free.f_frsize))
    with pytest.raises(StoreError):
        found.publish(NAME, pa.table({"a": list(range(100_000))}))
    assert found.arrow(NAME)["a"].to_pylist() == [1, 2]
    ballast.unlink()
    assert found.publish(NAME, pa.table({"a": [3]})).version == 1


def test_readers_and_a_writer_share_no_lock(tmp_path: Path) -> None:
    """A writer that stands still in the middle of a publish keeps nobody from reading the table it replaces."""
    warehouse(tmp_path).publish(NAME, pa.table({"a": [0] * 1000}))
    holding = writer(tmp_path, 3, "publish.after_audit:SIGSTOP")
    go(holding)
    assert os.WIFSTOPPED(os.waitpid(holding.pid, os.WUNTRACED)[1])
    began = time.monotonic()
    assert warehouse(tmp_path).arrow(NAME).num_rows == 1000
    assert time.monotonic() - began < 30
    holding.send_signal(signal.SIGCONT)
    assert said(holding) == "committed 1\n"
