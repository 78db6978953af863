"""One simulated home, made once by `forecastle demo`, and one stack that all end-to-end tests ask."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, forecastle, started


@dataclass(frozen=True)
class First:
    """The first demonstration in a fresh home: how it ended and how long it took."""

    home: Path
    returncode: int
    output: str
    seconds: float


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> First:
    """`forecastle demo --once` where nothing was before."""
    home = tmp_path_factory.mktemp("e2e") / "home"
    began = time.monotonic()
    done = forecastle(home, "demo", "--once")
    return First(home, done.returncode, done.stdout + done.stderr, time.monotonic() - began)


@pytest.fixture(scope="session")
def stack(first: First) -> Iterator[Stack]:
    """The second demonstration in the same home, which stays up."""
    assert first.returncode == 0, first.output
    with started(first.home, "demo") as running:
        yield running
