"""`forecastle new`: what it writes loads, and it never writes over anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from forecastle.cli.new import TEMPLATES, write_system
from forecastle.contract.errors import ForecastleError
from forecastle.contract.load import discover, load_system


def test_the_written_system_is_found_and_loads(tmp_path: Path) -> None:
    """Under its own name, with every template once and no placeholder left."""
    written = write_system("deliveries", tmp_path / "mine")
    assert discover([tmp_path / "mine"]) == {"deliveries": written}
    system = load_system(written)
    assert system.name == "deliveries"
    assert system.declaration.simulate is not None
    names = {path.name for path in written.iterdir()}
    assert names == {path.name.removesuffix(".template") for path in TEMPLATES.iterdir()}
    assert not any("__" in path.read_text().replace("__future__", "") for path in written.iterdir())


def test_what_is_there_stays(tmp_path: Path) -> None:
    """A second system of the name is refused before a byte is written."""
    (tmp_path / "mine").mkdir()
    with pytest.raises(ForecastleError, match="is there already; give another name"):
        write_system("mine", tmp_path)
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize("name", ["Mine", "2fast", "a-b", "", "../up", "a" * 64])
def test_a_name_that_no_system_can_have_is_refused(name: str, tmp_path: Path) -> None:
    """By the rule of names, with the rule in words."""
    with pytest.raises(ForecastleError, match="cannot name a system: a name is at most 63"):
        write_system(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(ForecastleError, match="cannot be made"):
        write_system("mine", tmp_path / "taken")
