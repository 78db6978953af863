"""Python read without running it."""

from __future__ import annotations

import pytest

from forecastle.contract.code import read_module


def functions(text: str):
    module, problems = read_module(text, file="f.py")
    assert problems == []
    assert module is not None
    return module.functions


def test_arguments_by_position_by_name_and_by_default():
    """What a call by name may give, must give, and may not give."""
    found = functions("import os\n\ndef f(a, /, b, c=1, *, d, e=2): ...\n")["f"]
    assert found.line == 3
    assert found.by_position == ("a", "b", "c")
    assert found.accepts == ("b", "c", "d", "e")
    assert found.needs == ("a", "b", "d")
    assert found.lacks(["b", "x", "a"]) == ["a", "x"]
    assert found.wants(["b"]) == ["a", "d"]


def test_any_argument_is_taken_by_two_stars():
    """**others lacks nothing."""
    assert functions("def f(**others): ...")["f"].lacks(["x"]) == []


def test_only_top_level_functions_count():
    """A method, a nested function and a lambda are no functions of the module."""
    text = "class A:\n  def m(self): ...\ndef f():\n  def g(): ...\nh = lambda: 1\n"
    assert list(functions(text)) == ["f"]


def test_imports_anywhere_are_seen():
    """Also those inside a function, and relative ones."""
    module, _ = read_module("import a.b, c\ndef f():\n  from d.e import g\nfrom . import h\n", file="f.py")
    assert module is not None
    assert set(module.imports) == {("a", 1), ("c", 1), ("d", 3), ("", 4)}


@pytest.mark.parametrize(
    ("text", "line"),
    [("x = 1\ndef f(:\n", 2), ("x = '\n", 1), ("\x00", 1), ("(" * 500 + ")" * 500, 1), ("  x = 1\n", 1)],
)
def test_what_is_not_python_has_a_line(text: str, line: int):
    """Broken, binary or absurdly nested text is one problem and no crash."""
    module, (problem,) = read_module(text, file="f.py")
    assert module is None
    assert (problem.file, problem.line) == ("f.py", line)
    assert problem.text.startswith("is not Python: ")


def test_reading_runs_nothing():
    """A module that would fail when run is read all the same."""
    assert list(functions("1 / 0\ndef f(): ...\n")) == ["f"]
