"""Rules of the house that no single room can keep: imports, lock files, the trap of a folder named platform."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import typer

from forecastle.cli.main import app

ROOT = Path(__file__).parents[1]
PLATFORM = ROOT / "platform"
LOCKS = (ROOT / "requirements.lock", PLATFORM / "requirements-serve.lock")
PINNED = re.compile(r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,_-]+\])?==[^\s;]+( ; .+)?")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}")
# Homes, scratch folders and mounts of whoever wrote the file; a project knows no such place.
MACHINE_PATH = re.compile(r"(?<![\w.$})])/(home|root|Users|work|mnt|workspace)/[\w.-]+")
# What starts with a `#!` or talks of containers may name a place inside them.
TEXTS = {".py", ".md", ".yaml", ".yml", ".toml", ".json", ".sql", ".lock", ".in", ".j2", ".svg", ".html", ""}
WALK = """
import importlib, json, pkgutil, sys
import forecastle
names = [m.name for m in pkgutil.walk_packages(forecastle.__path__, "forecastle.")]
for name in names:
    importlib.import_module(name)
print(json.dumps([names, sorted(m.partition(".")[0] for m in sys.modules)]))
"""
SERVED = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
print(json.dumps(sorted(m.partition(".")[0] for m in sys.modules)))
"""


def run(program: str, *arguments: str, cwd: Path, pythonpath: Path = PLATFORM) -> str:
    """What a fresh interpreter prints."""
    environment = os.environ | {"PYTHONPATH": str(pythonpath), "DO_NOT_TRACK": "1", "BENTOML_DO_NOT_TRACK": "1"}
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, check=False, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def tracked() -> list[Path]:
    """Files that belong to the repository: known to git, or new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("this is no git work tree: there is no list of the repository's files")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_folder_platform_is_no_package() -> None:
    """A package of that name before the standard library would break `import platform`, and with it pandas."""
    assert not (PLATFORM / "__init__.py").exists()
    assert not (PLATFORM / "__init__.pyi").exists()


@pytest.mark.parametrize("pythonpath", [PLATFORM, ROOT], ids=["platform", "root"])
def test_import_platform_is_the_standard_library(pythonpath: Path) -> None:
    """From the root, with the root on the path before everything else."""
    program = "import platform; print(platform.__file__); platform.system()"
    found = Path(run(program, cwd=ROOT, pythonpath=pythonpath)).resolve()
    assert found == Path(os.__file__).with_name("platform.py").resolve()


def test_no_module_of_the_library_imports_dagster() -> None:
    """All of them in one process, so that an import hidden in another package is seen as well."""
    names, loaded = json.loads(run(WALK, cwd=PLATFORM))
    assert len(names) > 50
    assert {"forecastle.serve.service", "forecastle.cli.main", "forecastle.learn.build"} <= set(names)
    orchestration = {"dagster", "dagster_duckdb", "dagster_webserver", "assets", "resources"}
    assert not orchestration & set(loaded)


def test_the_served_process_pays_for_nothing_it_does_not_use() -> None:
    """Every worker would hold these in memory and wait for them at every start."""
    loaded = set(json.loads(run(SERVED, "forecastle.serve.service", cwd=PLATFORM)))
    assert {"forecastle", "bentoml", "numpy"} <= loaded
    assert not loaded & {"pandas", "sklearn", "mlflow", "dagster", "matplotlib", "duckdb", "deltalake", "pyarrow"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_lock_files_pin_every_package_with_its_hashes(lock: Path) -> None:
    """`pip install --require-hashes` takes exactly these files from whatever index the machine uses."""
    entries = lock.read_text().replace(" \\\n", "\n").splitlines()
    packages = [line for line in entries if line and not line.startswith((" ", "#"))]
    assert len(packages) > 20
    assert [line for line in packages if not PINNED.fullmatch(line)] == []
    hashed = [above for above, below in pairwise(entries) if HASH.fullmatch(below)]
    assert [line for line in packages if line not in hashed] == []
    assert [line for line in entries if line.startswith(" ") and not HASH.fullmatch(line)] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_lock_files_name_no_host(lock: Path) -> None:
    """Where packages come from is the machine's business."""
    text = lock.read_text()
    assert "://" not in text
    assert not re.search(r"--(extra-)?index-url|--find-links|--trusted-host|\s@\s", text)


def test_what_serves_is_what_was_tested() -> None:
    """The Bento's lock file has the same versions as the platform's."""
    everything, served = (
        {line.split(" ;")[0].split("[")[0].split("==")[0]: line.split("==")[1].split(" ")[0] for line in pinned(lock)}
        for lock in LOCKS
    )
    assert {name: version for name, version in served.items() if everything.get(name) != version} == {}


def pinned(lock: Path) -> list[str]:
    """The lines of a lock file that pin a package."""
    return [line for line in lock.read_text().splitlines() if "==" in line and not line.startswith((" ", "#"))]


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    """Paths come from the environment, from the repository's root, or from a temporary folder."""
    found = []
    for path in tracked():
        if path.suffix in TEXTS and path.name != Path(__file__).name:
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                match = MACHINE_PATH.search(line)
                if match:
                    found.append(f"{path.relative_to(ROOT)}:{number}: {match.group()}")
    assert found == []


def test_nothing_of_a_run_is_in_the_repository() -> None:
    """State, data and models are made, not kept: no table, database or archive is tracked."""
    made = {".parquet", ".sqlite", ".db", ".pkl", ".joblib", ".whl", ".zip"}
    kept = [path for path in tracked() if path.suffix in made]
    assert kept == []


def test_every_verb_of_the_command_line_is_documented() -> None:
    """docs/cli.md has one heading a verb, no verb is missing there and none is only promised."""
    verbs = set(typer.main.get_command(app).commands)
    headings = re.findall(r"^##+ `?(?:forecastle )?([a-z-]+)`?", (ROOT / "docs" / "cli.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(verbs)
    readme = (ROOT / "README.md").read_text()
    promised = set(re.findall(r"\bforecastle ([a-z]+)\b(?= |`|$)", "\n".join(code(readme))))
    assert promised <= verbs


def test_make_benchmarks_runs_every_benchmark() -> None:
    """Each module that says how to run it without a word more is in the Makefile's list, and nothing else is."""
    texts = [path.read_text() for path in (ROOT / "benchmarks").rglob("*.py")]
    said = {name for text in texts for name in re.findall(r"python -m benchmarks\.([\w.]+\w)(?! [A-Z])\b", text)}
    (names,) = re.findall(r"^benchmarks:.*\n\t@for name in ([^;]*);", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert sorted(names.replace("\\\n", " ").split()) == sorted(said)


def code(markdown: str) -> list[str]:
    """Lines in code blocks and code spans that are commands."""
    blocks = re.findall(r"```(?:console|bash|sh)?\n(.*?)```", markdown, re.DOTALL)
    spans = re.findall(r"`(forecastle [^`\n]+)`", markdown)
    return [*spans, *(line for block in blocks for line in block.splitlines() if re.match(r"\$? ?forecastle ", line))]
