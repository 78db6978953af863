"""The published JSON Schema of `system.yaml`, as a file.

Belongs here: its text, and the one line that writes it: `python -m forecastle.contract.schema FILE`.
Does not belong here: what the schema says (`system.py`).
An editor finds it by the first line of a declaration: `# yaml-language-server: $schema=PATH`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from forecastle.contract.system import json_schema


def schema_text() -> str:
    """The schema as it is published: indented, in the order of the declaration, ending in a newline."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):  # else --help would be a file
        sys.exit("usage: python -m forecastle.contract.schema FILE")
    Path(sys.argv[1]).write_text(schema_text(), encoding="utf-8")
