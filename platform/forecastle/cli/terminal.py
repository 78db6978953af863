"""What every verb shares: the consoles, the argument that names a system, this machine's folders, variables, refusals.

Belongs here: what is the same on each line of the command, whichever verb it is.
Does not belong here: verbs (`main.py`, `model_verbs.py`, `table_verbs.py`), what they do.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Annotated

import typer
from rich.console import Console

from forecastle.cli.surroundings import Surroundings, surroundings

# Without emoji: a finding on line 100 of a file reads `:100:`, which is one.
console = Console(emoji=False)
errors = Console(stderr=True, emoji=False)

SystemName = Annotated[str, typer.Argument(help="Name of the system, such as prediction_markets.")]


def around_here() -> Surroundings:
    """Folders and variables of this process."""
    return surroundings(os.environ)


def of_the_machine(error: OSError | sqlite3.Error) -> str:
    """What the machine refused, on which file, and what to look at."""
    if isinstance(error, sqlite3.Error):
        return f"a database below {_home()}: {error}; look at its free space and at who may write there"
    said = error.strerror or str(error)
    return f"{error.filename or _home()}: {said}; look at its free space and at who may read and write there"


def _home() -> str:
    return os.environ.get("FORECASTLE_HOME") or ".forecastle"
