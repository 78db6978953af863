"""Builds a Bento: the library, one bundle beside it, the serving requirements, and proof of all three.

Belongs here: staging a build context shaped like `platform/`, the build, the check of what was built.
Does not belong here: options of the build (`bentofile.yaml`), choosing the bundle (`promote/registry.py`).
https://docs.bentoml.com/en/latest/reference/bentoml/bento-build-options.html
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from forecastle.contract.errors import BundleError
from forecastle.learn.alive import working_folder
from forecastle.learn.bundle import FILES, MANIFEST, Bundle, load_bundle
from forecastle.serve.requirements import extended_lock

REQUIREMENTS: Final = "requirements-serve.lock"
WHOLE_LOCK: Final = "requirements.lock"
WORK: Final = f"forecastle-bento-{os.getuid()}"
"""Folder in the temporary one for build contexts; those of builds that were killed are removed by the next."""

_NEEDED: Final = ("forecastle/serve/service.py", *(f"bundle/{name}" for name in (MANIFEST, *FILES)))
_LABEL: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class BuiltBento:
    """A Bento in the store: its tag, its folder, and the files of its `src` folder."""

    tag: str
    path: Path
    files: tuple[str, ...]


def build_bento(
    *,
    bundle_folder: Path,
    bentofile: Path,
    version: str,
    labels: Mapping[str, str],
    source_root: Path,
    bento_home: Path,
) -> BuiltBento:
    """Build the service with one bundle inside, in place of a Bento of the same version.

    Args:
        bundle_folder: the verified bundle, named by its hash.
        bentofile: build options.
        version: the Bento's version; characters a tag may not have become dashes.
        labels: facts to keep with the Bento.
        source_root: folder that holds the `forecastle` package and `requirements-serve.lock`.
        bento_home: BENTOML_HOME of the build, kept apart from other users of BentoML.

    Raises:
        BundleError: the bundle does not verify, the built Bento lacks a file it needs, or others can write where it is
            put together.
    """
    bundle = load_bundle(bundle_folder, expected_hash=bundle_folder.name)
    bento_home.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Not in BENTOML_HOME: BentoML reads nothing below a hidden folder, and the home is `.forecastle` where none is set.
    with working_folder(_own_folder(Path(tempfile.gettempdir()) / WORK)) as folder:
        context = _stage(folder / "platform", bundle_folder=bundle_folder, source_root=source_root)
        _lock(context / REQUIREMENTS, bundle, whole=bentofile.parent / WHOLE_LOCK)
        built_labels = {"system": bundle.system, "bundle": bundle.hash[:63], **labels}
        tag, path = _build(bentofile, version=_LABEL.sub("-", version), labels=built_labels, context=context,
                           bento_home=bento_home)  # fmt: skip
    files = tuple(sorted(str(file.relative_to(path / "src")) for file in (path / "src").rglob("*") if file.is_file()))
    lacking = sorted({*_NEEDED, f"bundle/{bundle.scoring.file}"} - set(files))
    if lacking:
        raise BundleError(f"Bento {tag} lacks {', '.join(lacking)}; look at include and exclude in {bentofile}")
    load_bundle(path / "src" / "bundle", expected_hash=bundle.hash)
    return BuiltBento(tag, path, files)


def _own_folder(path: Path) -> Path:
    """A folder under a name that anybody can guess: what another user lays there would be packed."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise BundleError(f"{path} is not a folder that only you can write; remove it, or set TMPDIR to one of yours")
    return path


def _stage(context: Path, *, bundle_folder: Path, source_root: Path) -> Path:
    """A copy of what the Bento is made of; the build then sees nothing else."""
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(source_root / "forecastle", context / "forecastle", ignore=ignore)
    shutil.copytree(bundle_folder, context / "bundle")
    shutil.copy2(source_root / REQUIREMENTS, context / REQUIREMENTS)
    return context


def _lock(file: Path, bundle: Bundle, *, whole: Path) -> None:
    """The serving requirements, with scikit-learn, skops or XGBoost only where this bundle's model needs them."""
    serving = file.read_text(encoding="utf-8")
    file.write_text(extended_lock(serving, bundle.scoring.requires, whole=whole), encoding="utf-8")


def _build(
    bentofile: Path, *, version: str, labels: Mapping[str, str], context: Path, bento_home: Path
) -> tuple[str, Path]:
    """Build in a process of its own: BentoML changes directory, logging and imports of the one it runs in."""
    # The champion of yesterday is packed again with the library of today; BentoML refuses a version that is there.
    for earlier in bento_home.glob(f"bentos/*/{version}"):
        shutil.rmtree(earlier)
    command = [sys.executable, "-m", "bentoml", "build", "--bentofile", str(bentofile), "--version", version]
    for name, value in labels.items():
        command += ["--label", f"{name}={value}"]
    environment = os.environ | {
        "BENTOML_HOME": str(bento_home),
        "BENTOML_DO_NOT_TRACK": "1",
        "PYTHONPATH": str(context),
    }
    done = subprocess.run(  # noqa: S603  our own arguments, no shell
        [*command, "--output", "tag", str(context)],
        env=environment, cwd=context, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = re.search(r"__tag__:(\S+)", done.stdout)
    if done.returncode or found is None:
        raise BundleError(f"BentoML did not build: {(done.stderr or done.stdout).strip()[-2000:]}")
    name, _, built = found[1].partition(":")
    return found[1], bento_home / "bentos" / name / built
