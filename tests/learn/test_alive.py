"""Signs of life: what a process does, and leaves when it is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from forecastle.learn.alive import alive, dead, working_folder

HOLDER = """
import sys
from pathlib import Path
from forecastle.learn.alive import working_folder

with working_folder(Path(sys.argv[1])) as own:
    (own / "rows").write_text("many")
    print(own, flush=True)
    sys.stdin.readline()
"""


def test_a_lock_is_dead_when_its_process_is_and_not_before(tmp_path: Path) -> None:
    """Held: alive. Ended: gone."""
    with alive(tmp_path) as token:
        assert [path.name for path in tmp_path.iterdir()] == [f"{token}.lock"]
        assert dead(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_working_folder_ends_with_its_block(tmp_path: Path) -> None:
    """Two at once have two; nothing is left of either, whatever lay in them."""
    with working_folder(tmp_path) as first, working_folder(tmp_path) as second:
        assert first != second
        (first / "rows").write_text("many")
        assert second.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_when_the_next_one_begins(tmp_path: Path) -> None:
    """While it lives its folder stays; after a kill the next block clears it away."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        theirs = Path(holder.stdout.readline().strip())
        with working_folder(tmp_path):
            assert (theirs / "rows").exists()
        holder.kill()
    assert (theirs / "rows").exists()
    with working_folder(tmp_path) as ours:
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([ours.name, f"{ours.name}.lock"])
