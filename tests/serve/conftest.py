"""A home with a champion, made once; each test that writes gets its own log."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from forecastle.serve.settings import Settings
from forecastle.store.home import Home
from tests.serve import toy
from tests.serve.client import Client, running


@pytest.fixture(scope="session")
def champion_home(tmp_path_factory) -> Home:
    """A home with bundles 1 and 2 (seeds 1 and 2), number 1 champion; do not write to it."""
    home = toy.home_with_champion(tmp_path_factory.mktemp("home"))
    toy.make_bundle(home, seed=2, version="2")
    return home


@pytest.fixture
def home(champion_home: Home, tmp_path: Path) -> Home:
    """A copy of `champion_home` to write to."""
    shutil.copytree(champion_home.root, tmp_path / "home")
    return Home(tmp_path / "home")


@pytest.fixture
def settings(home: Home) -> Settings:
    return Settings("toy", home, None, lambda: toy.NOW)


@pytest.fixture
def client(settings: Settings):
    with running(settings) as started:
        yield started


@pytest.fixture(scope="module")
def shared(champion_home: Home, tmp_path_factory) -> Client:
    """One started application for tests that only ask."""
    folder = tmp_path_factory.mktemp("shared") / "home"
    shutil.copytree(champion_home.root, folder)
    with running(Settings("toy", Home(folder), None, lambda: toy.NOW)) as started:
        yield started
