"""The pointer files that serving watches are replaced whole."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from forecastle.promote.pointer_file import replace_pointer


def test_a_pointer_is_one_json_object_in_a_folder_of_its_owner(tmp_path: Path) -> None:
    """The folder is made where it is missing, and nobody else may look into it."""
    path = tmp_path / "champions" / "toy.json"
    replace_pointer(path, {"system": "toy", "bundle": "b" * 64})
    assert json.loads(path.read_text()) == {"bundle": "b" * 64, "system": "toy"}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    """Keys are sorted, whatever the order in which they were told."""
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    replace_pointer(first, {"a": 1, "b": 2})
    replace_pointer(second, {"b": 2, "a": 1})
    assert first.read_bytes() == second.read_bytes()


def test_whoever_has_the_old_file_open_reads_the_old_pointer(tmp_path: Path) -> None:
    """A new file takes the old one's name: no reader sees half of each."""
    path = tmp_path / "toy.json"
    replace_pointer(path, {"promotion_id": 1, "reason": "long " * 1000})
    with path.open() as reader:
        replace_pointer(path, {"promotion_id": 2})
        assert json.load(reader)["promotion_id"] == 1
    assert json.loads(path.read_text()) == {"promotion_id": 2}


def test_what_cannot_be_written_leaves_the_old_pointer_and_nothing_else(tmp_path: Path) -> None:
    """Serving goes on with the champion that it has."""
    path = tmp_path / "toy.json"
    replace_pointer(path, {"promotion_id": 1})
    with pytest.raises(TypeError):
        replace_pointer(path, {"promotion_id": object()})
    assert json.loads(path.read_text()) == {"promotion_id": 1}
    assert [found.name for found in tmp_path.iterdir()] == ["toy.json"]
