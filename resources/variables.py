"""Values that declarations name by `{env: NAME}`, such as a database's address with its password.

Belongs here: where such values come from; they are read when asked and kept nowhere, so no page or log shows them.
Does not belong here: our own settings (`environment.py`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping


def variables() -> Mapping[str, str]:
    """The environment as it is now."""
    return os.environ
