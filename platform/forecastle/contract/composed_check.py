"""What is wrong with the SQL files that a text reads by name: told of their own file and line, once.

Belongs here: circles, holes that no view fills, faults of a file that others read.
Does not belong here: putting texts together (`composed_sql.py`), views and the label themselves (`check.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from forecastle.contract.composed_sql import ComposedSql
from forecastle.contract.errors import Problem
from forecastle.contract.sql import Schema, parse_select
from forecastle.contract.template import open_holes


def inside_problems(file: str, composed: ComposedSql, *, folder: Path, schema: Schema) -> Iterator[Problem]:
    """Every fault of the files that stand inside a text; while there is one, the text itself would only echo it."""
    circle = composed.circle(file)
    if circle is not None:
        text = f"reads itself: {' → '.join(circle)}"
        yield Problem(str(folder / circle[0]), 1, text, "one of them must read sources alone")
        return
    for part in composed.inside(file):
        path, text = str(folder / part), composed.texts[part]
        holes = [(line, fault, "a file that others read has no params") for line, fault, _ in open_holes(text, {})]
        yield from (Problem(path, *hole) for hole in holes)
        if not holes:
            yield from parse_select(text, file=path, schema=schema, files=composed.names())[1]
