"""SQL templates: one file that several feature views share, each with literals of its own.

Belongs here: `{{name}}` in a view's SQL file, its substitution by the view's `params`, what is wrong with either.
Does not belong here: parsing the SQL that comes out (`sql.py`), expressions or loops: a template is text with holes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from forecastle.contract.errors import did_you_mean
from forecastle.contract.source_check import PlacedFault

if TYPE_CHECKING:
    from forecastle.contract.system import FeatureView, System

_HOLE: Final = re.compile(r"\{\{ *([a-z][a-z0-9_]*) *\}\}")
_OPENING: Final = "{{"

Literals = Mapping[str, int | float | str]


def with_rendered_views(system: System, sql: Mapping[str, str]) -> tuple[System, dict[str, str]]:
    """The system whose views with params read SQL of their own, and every SQL text by name.

    A rendered text is named after its template and literals: `window.sql` with months 3 is `window(months=3).sql`.
    """
    texts, views = dict(sql), {}
    for name, view in system.feature_views.items():
        if view.params and view.sql in sql:
            rendered = rendered_name(view.sql, view.params)
            texts[rendered] = render(sql[view.sql], view.params)
            views[name] = view.model_copy(update={"sql": rendered})
    if not views:
        return system, texts
    return system.model_copy(update={"feature_views": {**system.feature_views, **views}}), texts


def render(text: str, literals: Literals) -> str:
    """The text with each hole that has a literal filled; other holes stay."""
    return _HOLE.sub(lambda hole: str(literals.get(hole[1], hole[0])), text)


def rendered_name(file: str, literals: Literals) -> str:
    """What a rendered text is called, such as `window(months=3).sql`."""
    told = ", ".join(f"{name}={value}" for name, value in literals.items())
    return f"{file.removesuffix('.sql')}({told}).sql"


def template_of(file: str) -> str:
    """The file in the folder that a SQL text of this name was rendered from; itself where it was not."""
    stem, bracket, _ = file.partition("(")
    return f"{stem}.sql" if bracket else file


def template_faults(view: FeatureView, sql: Mapping[str, str]) -> Iterator[PlacedFault]:
    """Literals of a view that no hole of its file takes, each with its spot in the view."""
    file = template_of(view.sql)
    holes = {hole[1] for hole in _HOLE.finditer(sql.get(file, ""))}
    for name in view.params if file in sql else ():
        if name not in holes:
            hint = did_you_mean(name, holes - set(view.params)) or f"write {{{{{name}}}}} there, or leave it out"
            yield ("params", name), f"{file} has no {{{{{name}}}}}", hint


def open_holes(text: str, literals: Literals) -> Iterator[tuple[int, str, str]]:
    """Line, fault and hint of each `{{` that no literal fills; braces in comments count too."""
    for number, line in enumerate(text.splitlines(), 1):
        for start in re.finditer(re.escape(_OPENING), line):
            hole = _HOLE.match(line, start.start())
            if hole is None:
                yield number, f"has {line[start.start() :][:20]!r}", "a hole is {{name}}, a name of the view's params"
            elif hole[1] not in literals:
                hint = did_you_mean(hole[1], literals) or "name it under params of the view"
                yield number, f"has no literal for {hole[0]}", hint
