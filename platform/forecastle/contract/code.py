"""The Python beside a declaration, read without running it: its functions, their arguments, what it imports.

Belongs here: what can be known of a system's code from its text, so that loading definitions imports nothing
heavy.
Does not belong here: running it (`feature_set.load_module`), what a declaration asks of it (`check.py`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from forecastle.contract.errors import Problem


@dataclass(frozen=True, slots=True)
class FunctionText:
    """One top-level `def`: its line, its arguments by position and by name, those it needs."""

    line: int
    by_position: tuple[str, ...]
    accepts: tuple[str, ...]
    needs: tuple[str, ...]
    takes_any: bool

    def lacks(self, arguments: Iterable[str]) -> list[str]:
        """Arguments of a call by name that it would refuse, sorted."""
        return [] if self.takes_any else sorted(set(arguments) - set(self.accepts))

    def wants(self, arguments: Iterable[str]) -> list[str]:
        """Arguments that it needs and such a call would not give, sorted."""
        return sorted(set(self.needs) - set(arguments))


@dataclass(frozen=True, slots=True)
class ModuleText:
    """One module: functions by name; imported top-level modules with lines ("" for a relative import)."""

    file: str
    functions: Mapping[str, FunctionText]
    imports: tuple[tuple[str, int], ...]


def read_module(text: str, *, file: str) -> tuple[ModuleText | None, list[Problem]]:
    """Read a module's text; what is not Python becomes a problem with its line."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return None, [Problem(file, error.lineno or 1, f"is not Python: {error.msg}")]
    except (ValueError, RecursionError, MemoryError) as error:
        return None, [Problem(file, 1, f"is not Python: {error}")]
    functions = {node.name: _function(node) for node in tree.body if isinstance(node, ast.FunctionDef)}
    return ModuleText(file, functions, tuple(_imports(tree))), []


def _function(node: ast.FunctionDef) -> FunctionText:
    arguments = node.args
    by_position = [*arguments.posonlyargs, *arguments.args]
    required = by_position[: len(by_position) - len(arguments.defaults)]
    by_name = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return FunctionText(
        line=node.lineno,
        by_position=tuple(a.arg for a in by_position),
        accepts=tuple(a.arg for a in (*arguments.args, *arguments.kwonlyargs)),
        needs=(*(a.arg for a in required), *(a.arg for a, default in by_name if default is None)),
        takes_any=arguments.kwarg is not None,
    )


def _imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "" if node.level else str(node.module).partition(".")[0], node.lineno
