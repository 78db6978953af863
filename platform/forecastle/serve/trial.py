"""A process that loads one bundle and ends: what kills it kills no answer.

Belongs here: the child's command line (`python -m forecastle.serve.trial FOLDER SYSTEM HASH`), exit status.
Does not belong here: the checks themselves (`champion.py`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from forecastle.contract.errors import ForecastleError
from forecastle.serve.champion import load_champion


def main(arguments: list[str]) -> int:
    """0 when the bundle passes every check; else 1, with the reason as the last line of standard error."""
    folder, system, expected_hash = arguments
    try:
        load_champion(Path(folder), system=system, expected_hash=expected_hash or None)
    except (ForecastleError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
