"""Every system that is found, and a sixth that is written here: each materialised once a session.

Belongs here: which systems the rules run on. FORECASTLE_SYSTEMS is read as the platform reads it.
Does not belong here: the rules.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from forecastle.cli.new import write_system
from forecastle.contract.load import discover
from resources.environment import system_folders
from tests.conformance.materialised import Materialised

SIXTH = "sixth"
FOUND = discover(system_folders(os.environ))

Make = Callable[[str], Materialised]


@pytest.fixture(scope="session")
def sixth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A system that nobody here knows: `forecastle new` wrote it into a folder of its own."""
    return write_system(SIXTH, tmp_path_factory.mktemp("systems"))


@pytest.fixture(scope="session")
def make(sixth: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """A system's materialisation by name, made when it is first asked for."""
    kept: dict[str, Materialised] = {}
    with dg.DagsterInstance.ephemeral() as instance:

        def made(name: str) -> Materialised:
            if name not in kept:
                folder = sixth if name == SIXTH else FOUND[name]
                kept[name] = Materialised(folder, tmp_path_factory.mktemp(name), instance)
                kept[name].complete()
            return kept[name]

        yield made


def in_one_process(name: str) -> pytest.param:
    """A system's name as a parameter, its tests in one process so that it is materialised once."""
    return pytest.param(name, marks=[pytest.mark.slow, pytest.mark.xdist_group(f"conformance_{name}")])


@pytest.fixture(scope="session", params=[in_one_process(name) for name in sorted({*FOUND, SIXTH})])
def made(request: pytest.FixtureRequest, make: Make) -> Materialised:
    """Each system in turn."""
    return make(request.param)
