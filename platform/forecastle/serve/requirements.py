"""What a bundle's model needs beside the serving requirements, with the hashes that the lock file recorded.

Belongs here: the packages a model asks for with all of theirs, and their blocks of a lock file.
Does not belong here: the build (`packaging.py`), opening models (`learn/foreign_model.py`).
Format: https://pip.pypa.io/en/stable/topics/secure-installs/
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from forecastle.contract.errors import BundleError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_OPTIONAL: Final = re.compile(r";.*\bextra\b")


def extended_lock(serving: str, packages: Iterable[str], *, whole: Path) -> str:
    """The serving lock with what the packages need, from a lock of everything.

    Args:
        serving: text of the serving lock.
        packages: distributions that the bundle's model was made with.
        whole: the lock file that holds every package of the repository; read only where something is lacking.

    Raises:
        BundleError: a package is in neither lock.
    """
    have = _blocks(serving)
    lacking = sorted(_with_theirs(packages) - set(have))
    if not lacking:
        return serving
    known = _blocks(whole.read_text(encoding="utf-8")) if whole.is_file() else {}
    unknown = [name for name in lacking if name not in known]
    if unknown:
        raise BundleError(
            f"the bundle's model needs {', '.join(unknown)}, which {whole.name} does not pin; add it to the project's "
            "dependencies and lock them again"
        )
    return serving.rstrip("\n") + "\n" + "".join(block for name in lacking for block in known[name])


def _with_theirs(packages: Iterable[str]) -> set[str]:
    """Distributions with all that they require here, extras left out."""
    found: set[str] = set()
    waiting = [_canonical(name) for name in packages]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            required = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            # One for another system or Python: it is not installed here, and no lock need hold it.
            continue
        found.add(name)
        waiting += [_canonical(_name(text)) for text in required if not _OPTIONAL.search(text)]
    return found


def _blocks(text: str) -> dict[str, list[str]]:
    """The pins of a lock file with their hashes, by distribution; one may be pinned once for each Python."""
    found: dict[str, list[str]] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", text.strip("\n")):
        if _NAME.match(block):
            found.setdefault(_canonical(_name(block)), []).append(block + "\n")
    return found


def _name(requirement: str) -> str:
    found = _NAME.match(requirement.strip())
    return found.group() if found else requirement


def _canonical(name: str) -> str:
    """https://packaging.python.org/en/latest/specifications/name-normalization/"""
    return re.sub(r"[-_.]+", "-", name).lower()
