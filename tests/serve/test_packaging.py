"""A built Bento holds what it needs and nothing else, and answers in a clean virtual environment."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np
import pytest

from forecastle.contract.errors import BundleError
from forecastle.learn.bundle import FILES, MANIFEST
from forecastle.measure.calibrators import Platt
from forecastle.serve.packaging import REQUIREMENTS, WORK, BuiltBento, build_bento
from forecastle.store.home import Home
from tests.serve import toy
from tests.serve.server import PLATFORM, free_port, started

ROOT = Path(__file__).parents[2]
BENTOFILE = ROOT / "bentofile.yaml"
HEAVY = {
    "dagster",
    "mlflow",
    "pandas",
    "scikit-learn",
    "duckdb",
    "matplotlib",
    "deltalake",
    "pyarrow",
    "sqlglot",
}


def build(home: Home, bundle: str, **changes: object) -> BuiltBento:
    options = {
        "bundle_folder": home.bundles("toy") / bundle, "bentofile": BENTOFILE, "version": f"1+{bundle[:12]}",
        "labels": {"mlflow_run_id": "abc"}, "source_root": PLATFORM, "bento_home": home.root / "bentoml",
    }  # fmt: skip
    return build_bento(**(options | changes))


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> BuiltBento:
    """Built for a home that is hidden, as `.forecastle` is: BentoML reads nothing there."""
    home = Home(tmp_path_factory.mktemp("built") / ".forecastle").create()
    return build(home, toy.make_bundle(home))


def test_what_a_killed_build_left_goes_with_the_next(tmp_path, monkeypatch):
    """A build context whose process is gone is removed, whatever becomes of the next build."""
    home = Home(tmp_path).create()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / WORK / "0123"
    left.parent.mkdir(mode=0o700)
    left.mkdir()
    left.with_suffix(".lock").touch()
    with pytest.raises(BundleError, match="BentoML did not build"):
        build(home, toy.make_bundle(home), bentofile=tmp_path / "nowhere.yaml")
    assert list(left.parent.iterdir()) == []


@pytest.mark.e2e
@pytest.mark.parametrize("laid", ["link", "open"])
def test_nothing_is_packed_where_others_can_write(home, tmp_path, monkeypatch, laid):
    """The folder's name can be guessed: a link that somebody laid there, or a folder open to others, is refused."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if laid == "link":
        (tmp_path / "theirs").mkdir()
        (tmp_path / WORK).symlink_to(tmp_path / "theirs")
    else:
        (tmp_path / WORK).mkdir()
        (tmp_path / WORK).chmod(0o777)
    with pytest.raises(BundleError, match="not a folder that only you can write"):
        build(home, toy.make_bundle(home))
    assert not (home.root / "bentoml" / "bentos").exists()


def test_the_bento_holds_library_and_bundle(built):
    """An empty Bento is a known trap: service and bundle are inside whole, compiled leftovers are not."""
    assert {f"bundle/{name}" for name in (MANIFEST, *FILES)} <= set(built.files)
    assert {
        "forecastle/serve/service.py",
        "forecastle/store/prediction_log.py",
        "forecastle/__init__.py",
    } <= set(built.files)
    assert not [file for file in built.files if file.endswith(".pyc") or file.startswith(("systems", "tests"))]
    assert built.tag.startswith("forecastle:1-")
    assert built.path.is_dir()


@pytest.mark.e2e
def test_the_bento_says_what_it_carries(built):
    """Labels name the system, the bundle and what the caller added."""
    described = (built.path / "bento.yaml").read_text()
    assert "system: toy" in described
    assert "mlflow_run_id: abc" in described


@pytest.mark.e2e
def test_a_bento_of_the_same_version_gives_way_to_the_new_one(tmp_path):
    """A graph that runs again with the same champion packs it again: no error, and never yesterday's library."""
    home = Home(tmp_path).create()
    bundle = toy.make_bundle(home)
    first = build(home, bundle)
    library = first.path / "src" / "forecastle" / "__init__.py"
    library.write_text(library.read_text() + "# older\n")
    assert build(home, bundle) == first
    assert "# older" not in library.read_text()


@pytest.mark.e2e
def test_the_bento_asks_for_serving_packages_only(built):
    """Its requirements are the serving lock: no Dagster, MLflow, pandas or other training packages."""
    wanted = _packages((built.path / "env" / "python" / "requirements.txt").read_text())
    assert wanted == _packages((PLATFORM / REQUIREMENTS).read_text())
    assert {"bentoml", "lightgbm", "uvloop", "msgspec"} <= wanted
    assert not wanted & HEAVY


def _packages(text: str) -> set[str]:
    lines = [line for line in text.splitlines() if line and not line.startswith((" ", "#", "-"))]
    return {line.partition("==")[0].strip().lower().replace("_", "-") for line in lines}


def test_a_damaged_bundle_is_not_packed(home):
    """A bundle that does not verify is refused before anything is built."""
    bundle = toy.make_bundle(home)
    (home.bundles("toy") / bundle / "model.txt").write_bytes(b"tree")
    with pytest.raises(BundleError, match=r"model\.txt"):
        build(home, bundle)
    assert not (home.root / "bentoml").exists()


@pytest.mark.e2e
def test_a_bento_without_its_library_is_refused(home, tmp_path):
    """When the build options leave the library out, the check after the build names what is missing."""
    options = BENTOFILE.read_text().replace('  - "forecastle/**"\n', "")
    bentofile = tmp_path / "bentofile.yaml"
    bentofile.write_text(options)
    with pytest.raises(BundleError, match=r"forecastle/serve/service\.py"):
        build(home, toy.make_bundle(home), bentofile=bentofile)


@pytest.mark.e2e
def test_the_documented_command_builds(tmp_path):
    """`bentoml build -f bentofile.yaml platform` from the root gives a Bento that has the service."""
    environment = os.environ | {"BENTOML_HOME": str(tmp_path), "BENTOML_DO_NOT_TRACK": "1"}
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "build",
        "-f",
        "bentofile.yaml",
        "platform",
        "--output",
        "tag",
    ]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    tag = done.stdout.strip().rpartition("__tag__:")[2]
    assert (tmp_path / "bentos" / tag.replace(":", "/") / "src" / "forecastle" / "serve" / "service.py").is_file()


@pytest.mark.e2e
@pytest.mark.slow
def test_the_bento_serves_in_a_clean_environment(built, tmp_path):
    """In a fresh environment of hashed serving packages, `bentoml serve` answers bit for bit as offline."""
    python = _clean_python(tmp_path / "clean")
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "FORECASTLE_HOME": str(tmp_path / "state"),
        "BENTOML_HOME": str(tmp_path / "bentoml"), "BENTOML_DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [python, "-m", "bentoml", "serve", str(built.path), "--host", "127.0.0.1", "--port", str(port)]
    requests = _requests(np.random.default_rng(5), 16)
    with started(command, port=port, environment=environment, log=tmp_path / "log", cwd=tmp_path) as server:
        answers = [server.predict({"features": given}) for given in requests]
        health = server.ask("GET", "/healthz")[1]
    assert [status for status, _ in answers] == [200] * 16
    assert [receipt["probability"] for _, receipt in answers] == _offline(requests)
    assert health["bundle"] == hashlib.sha256((built.path / "src/bundle/manifest.json").read_bytes()).hexdigest()


def _clean_python(folder: Path) -> str:
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    install = [
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-input",
        "--require-hashes",
        "-r",
        str(PLATFORM / REQUIREMENTS),
    ]
    subprocess.run(install, check=True)
    absent = "import importlib.util as u; print([n for n in ('forecastle','pandas','dagster') if u.find_spec(n)])"
    done = subprocess.run([python, "-I", "-c", absent], check=True, capture_output=True, text=True, cwd=folder)
    assert done.stdout.strip() == "[]"
    return python


def _requests(generator: np.random.Generator, count: int) -> list[dict[str, float | int | None]]:
    return [
        {
            "market_price": float(generator.random()), "volume_24h": float(generator.exponential(1e3)),
            "days_left": int(generator.integers(0, 365)),
            "poll_avg_7d": float(generator.random()) if generator.random() < 0.8 else None,
        }
        for _ in range(count)
    ]  # fmt: skip


def _offline(requests: list[dict[str, float | int | None]]) -> list[float]:
    """The package's own predictor on the whole matrix, through the calibrator: what training would say."""
    price, volume, days = (np.array([r[name] for r in requests], dtype=float)
                           for name in ("market_price", "volume_24h", "days_left"))  # fmt: skip
    poll = np.array([np.nan if r["poll_avg_7d"] is None else r["poll_avg_7d"] for r in requests])
    rank = np.full(len(requests), 3.0)
    rows = np.column_stack([np.log1p(volume), price, poll - price, days, rank])
    return [float(p) for p in Platt(1.1, -0.05).apply(toy.booster(seed=1).predict(rows))]
