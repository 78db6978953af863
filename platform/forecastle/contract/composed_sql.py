"""SQL files that read each other: a file reads another of its folder by its name, as it reads a source.

Belongs here: which files a text reads, and the text with each of them inside as a WITH part.
Does not belong here: templates (`template.py`), whether what comes out is right (`sql.py`, `check.py`).

What dbt calls an ephemeral model: https://docs.getdbt.com/docs/build/materializations#ephemeral
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token, TokenType

from forecastle.contract.sql import DIALECT

_SUFFIX: Final = ".sql"


@dataclass(frozen=True, slots=True)
class ComposedSql:
    """Every SQL text by file name with what it reads of other files inside, and which files those are.

    A text has as many lines as its file, so that a fault is told on its own line. Files that read each other in a
    circle, and texts that cannot be parsed, stay as they are.
    """

    texts: Mapping[str, str]
    reads: Mapping[str, tuple[str, ...]]

    def names(self) -> tuple[str, ...]:
        """The names by which files can be read; a rendered template has none."""
        return tuple(file.removesuffix(_SUFFIX) for file in self.texts if "(" not in file)

    def inside(self, file: str) -> tuple[str, ...]:
        """Files that stand inside a text, over any number of others; each after those that it reads itself."""
        found: dict[str, None] = {}
        for other in self.reads.get(file, ()):
            if self.circle(other) is None:
                found |= dict.fromkeys((*self.inside(other), other))
        return tuple(found)

    def circle(self, file: str) -> tuple[str, ...] | None:
        """The way from a file over those that it reads back to one of them; None where there is none."""
        return next(_circles(file, self.reads, ()), None)


def compose(sql: Mapping[str, str], *, sources: Collection[str]) -> ComposedSql:
    """Put into every text the files that it reads by name; a name of `sources` is always the source."""
    files = {file.removesuffix(_SUFFIX): file for file in sql if file.removesuffix(_SUFFIX) not in sources}
    reads = {file: _files_read(text, files) for file, text in sql.items()}
    whole = ComposedSql(sql, reads)
    return ComposedSql(MappingProxyType({file: _composed(file, whole) for file in sql}), reads)


def _files_read(text: str, files: Mapping[str, str]) -> tuple[str, ...]:
    """Parsing costs: only what has the name of a file somewhere is looked at."""
    if not any(re.search(rf"\b{re.escape(name)}\b", text, re.IGNORECASE) for name in files):
        return ()
    try:
        query = sqlglot.parse_one(text, dialect=DIALECT)
    except SqlglotError:
        return ()
    own = {part.alias_or_name.lower() for part in query.find_all(exp.CTE)}
    named = {table.name.lower() for table in query.find_all(exp.Table) if not table.db}
    return tuple(files[name] for name in sorted(named - own) if name in files)


def _circles(file: str, reads: Mapping[str, tuple[str, ...]], way: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if file in way:
        yield (*way[way.index(file) :], file)
        return
    for other in reads.get(file, ()):
        yield from _circles(other, reads, (*way, file))


def _composed(file: str, whole: ComposedSql) -> str:
    text = whole.texts[file]
    if not whole.reads[file] or whole.circle(file) is not None:
        return text
    inside = [(part.removesuffix(_SUFFIX), _on_one_line(_composed(part, whole))) for part in whole.reads[file]]
    parts = ", ".join(f"{name} AS ({body})" for name, body in inside)
    first, second, *_ = sqlglot.tokenize(text, read=DIALECT)
    if first.token_type is not TokenType.WITH:
        return f"{text[: first.start]}WITH {parts} {text[first.start :]}"
    last = second if second.token_type is TokenType.RECURSIVE else first
    return f"{text[: last.end + 1]} {parts},{text[last.end + 1 :]}"


def _on_one_line(text: str) -> str:
    """The words of a text as they stand, with one space where there were some, and without comments."""
    words: list[str] = []
    before: Token | None = None
    for token in sqlglot.tokenize(text, read=DIALECT):
        if token.token_type is TokenType.SEMICOLON:
            break
        if before is not None and token.start > before.end + 1:
            words.append(" ")
        words.append(text[token.start : token.end + 1])
        before = token
    return "".join(words)
