"""One system and one build of it, made once: MLflow's database takes longer to make than any model here."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem
from forecastle.learn.build import BuiltModel, build_model
from forecastle.learn.bundle import Bundle, load_bundle
from forecastle.learn.tracking import Tracking
from forecastle.promote.registry import Registry
from tests.learn import ferries


@dataclass(frozen=True)
class Built:
    """What one build read and left; do not write to its folders."""

    system: LoadedSystem
    frame: pd.DataFrame
    model: BuiltModel
    mlflow: Path
    bundles: Path

    @property
    def bundle(self) -> Bundle:
        return load_bundle(self.bundles / self.model.bundle, expected_hash=self.model.bundle)


@dataclass(frozen=True)
class Doors:
    """A place of its own for a test that writes: registry, MLflow, bundles and pointer."""

    folder: Path

    @property
    def registry(self) -> Registry:
        return Registry(self.folder / "registry.sqlite", clock=lambda: ferries.NOW)

    @property
    def tracking(self) -> Tracking:
        return Tracking(self.folder / "mlflow")

    @property
    def bundles(self) -> Path:
        return self.folder / "bundles"

    @property
    def pointer(self) -> Path:
        return self.folder / "champions" / "ferries.json"

    def open(self) -> dict[str, object]:
        """The keyword arguments of `settle`."""
        return {
            "registry": self.registry,
            "tracking": self.tracking,
            "bundles": self.bundles,
            "pointer": self.pointer,
        }


@pytest.fixture(scope="session")
def mlflow() -> Iterator[Any]:
    """MLflow, imported with its own warnings at import ignored and its telemetry off."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import mlflow.lightgbm
            import mlflow.pyfunc
        yield mlflow


@pytest.fixture(scope="session")
def system(tmp_path_factory) -> LoadedSystem:
    """The ferries system, loaded."""
    return ferries.write_system(tmp_path_factory.mktemp("systems"))


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    """600 training rows, as the training set holds them; do not write to it."""
    return ferries.training_frame()


@pytest.fixture(scope="session")
def built(mlflow, system, frame, tmp_path_factory) -> Built:
    """The ferries' model, built with a real MLflow."""
    folder = tmp_path_factory.mktemp("built")
    model = build_model(system, "trees", frame, ferries.recording(folder))
    return Built(system, frame, model, folder / "mlflow", folder / "bundles")


@pytest.fixture
def doors(built: Built, tmp_path: Path) -> Doors:
    """A copy of MLflow and the bundles, an empty registry, no pointer."""
    shutil.copytree(built.mlflow, tmp_path / "mlflow")
    shutil.copytree(built.bundles, tmp_path / "bundles")
    return Doors(tmp_path)
