"""`forecastle new`: a working system to start from, written into a folder of the user's own.

Belongs here: where it may be written, and its name put in.
Does not belong here: what it says (`new_system/*.template`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from forecastle.cli.surroundings import ROOT
from forecastle.contract.errors import ForecastleError
from forecastle.contract.types import NAME_PATTERN, PATTERN_HINTS

TEMPLATES: Final = Path(__file__).with_name("new_system")
_SUFFIX: Final = ".template"


def write_system(name: str, folder: Path) -> Path:
    """Write the system `name` into `folder/name` and return that path.

    Raises:
        ForecastleError: the name is no name of a system, or something of that name is there; nothing is written.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise ForecastleError(f"{name!r} cannot name a system: {PATTERN_HINTS[NAME_PATTERN]}")
    shipped = ROOT / "platform" / "systems" / name
    if shipped.exists():
        raise ForecastleError(f"there is a system {name!r} already, in {shipped}; give another name")
    target = folder / name
    try:
        target.mkdir(parents=True)
    except FileExistsError:
        raise ForecastleError(f"{target} is there already; give another name, or another --folder") from None
    except OSError as error:
        raise ForecastleError(f"{target} cannot be made: {error.strerror}; give another --folder") from None
    for template in sorted(TEMPLATES.glob(f"*{_SUFFIX}")):
        text = template.read_text(encoding="utf-8").replace("__NAME__", name).replace("__PARENT__", str(folder))
        (target / template.name.removesuffix(_SUFFIX)).write_text(text, encoding="utf-8")
    return target
