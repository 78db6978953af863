"""YAML read the strict way: what it takes, what it refuses, and on which line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.document import DEPTH_LIMIT, SIZE_LIMIT_BYTES, parse_document, read_document
from forecastle.contract.errors import ContractError, Problem


def problem_of(text: str) -> Problem:
    with pytest.raises(ContractError) as caught:
        parse_document(text, file="f.yaml")
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


def refusals(text: str) -> list[tuple[int, str]]:
    return [(p.line, p.text) for p in parse_document(text, file="f.yaml").problems]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("+7", 7),
        ("1.5", 1.5),
        (".5", 0.5),
        ("2.", 2.0),
        ("1e3", 1000.0),
        ("1.5E-3", 0.0015),
        ("012", 12),
        ("text", "text"),
    ],
)
def test_plain_words_are_those_of_yaml_1_2(word: str, value: object):
    """A plain word is a number, a truth or nothing exactly where YAML 1.2's core schema says so."""
    data = parse_document(f"a: {word}", file="f.yaml").data
    assert data == {"a": value}
    assert type(data["a"]) is type(value)


@pytest.mark.parametrize(
    "word",
    ["no", "yes", "on", "off", "y", "N", "True", "FALSE", "Null", "12:30", "0o14", "0x1F", "1_000", ".nan", ".inf",
     "2026-06-01", "2026-06-01T12:00:00Z", "<<", "=", "1.2.3", "--1"],
)  # fmt: skip
def test_words_that_yaml_1_1_would_turn_into_something_else_stay_text(word: str):
    """Norway stays no, half past twelve stays 12:30, a date stays what was written."""
    assert parse_document(f"a: {word}", file="f.yaml").data == {"a": word}


@pytest.mark.parametrize("style", ['"{}"', "'{}'", "|-\n  {}", ">-\n  {}"])
@pytest.mark.parametrize("word", ["true", "12", "1e3", "null"])
def test_a_quoted_word_is_text(style: str, word: str):
    """Quotes and blocks keep a word as it is written."""
    assert parse_document("a: " + style.format(word), file="f.yaml").data == {"a": word}


def test_a_number_of_a_thousand_digits_is_text_and_no_crash():
    """Python refuses to read such integers; here they stay text, which no number field takes."""
    assert parse_document("a: " + "9" * 5000, file="f.yaml").data == {"a": "9" * 5000}


def test_every_place_has_its_line():
    """Keys stand on their own line, items on theirs, and a place that is not there on the nearest above it."""
    document = parse_document("a:\n  b: 1\n  c:\n    - x\n    - y\n", file="f.yaml")
    assert document.line(("a", "b")) == 2
    assert document.line(("a", "c", 1)) == 5
    assert document.line(("a", "c", 7)) == 3
    assert document.line(("z",)) == 1


def test_a_key_said_twice_names_both_lines_and_the_first_one_stands():
    """PyYAML would silently keep the last; we say so and go on with the first."""
    document = parse_document("a: 1\nb: 2\na: 3\n", file="f.yaml")
    assert [(p.line, p.text) for p in document.problems] == [(3, "says 'a' twice (first on line 1)")]
    assert document.data == {"a": 1, "b": 2}


def test_all_refusals_of_one_file_are_listed():
    """Duplicates, anchors, aliases, tags and keys that are no words are told together, in file order."""
    text = "a: &x 1\nb: *x\nc: !!int 3\nd: !python/object:os.system {}\n? [1, 2]\n: 3\na: 9\n"
    assert refusals(text) == [
        (1, "has the YAML anchor &x; write the value out"),
        (2, "has the YAML alias *x; write the value out"),
        (3, "has the YAML tag tag:yaml.org,2002:int; write the plain value"),
        (4, "has the YAML tag !python/object:os.system; write the plain value"),
        (5, "has a key that is not a word"),
        (7, "says 'a' twice (first on line 1)"),
    ]


def test_laughing_a_billion_times_is_refused_before_anything_grows():
    """Every anchor and alias of the bomb is refused; nothing is expanded."""
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 30)]
    document = parse_document("\n".join(lines), file="f.yaml")
    assert len(document.problems) == 1 + 29 * 3
    assert document.data["a29"] == [None, None]


def test_merge_keys_are_plain_keys():
    """`<<` merges nothing: it is a key like any other, so the declaration refuses it as unknown."""
    assert parse_document("a: {<<: {b: 1}}", file="f.yaml").data == {"a": {"<<": {"b": 1}}}


@pytest.mark.parametrize("text", ["[" * 3_000, "{a: " * 3_000, "- " * 3_000 + "x", "[" * 500_000])
def test_a_depth_bomb_stops_at_the_limit(text: str):
    """Three thousand levels end at level forty, with no recursion and no long scan."""
    assert problem_of(text).text == f"nests deeper than {DEPTH_LIMIT} levels"


def test_the_limit_of_depth_itself_is_allowed():
    """Forty levels are read."""
    data = parse_document("[" * DEPTH_LIMIT + "]" * DEPTH_LIMIT, file="f.yaml").data
    assert str(data) == "[" * DEPTH_LIMIT + "]" * DEPTH_LIMIT


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n" * 0 + " "])
def test_an_empty_file_says_how_to_begin(text: str):
    """A file without a document is told what its first line is."""
    assert str(problem_of(text)) == "f.yaml:1: is empty (begin with system: NAME)"


def test_a_second_document_is_refused():
    """One file declares one system."""
    assert refusals("a: 1\n---\nb: 2\n") == [(2, "begins a second document; one file declares one system")]


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: 1\n  b: 2\n", 2), ("a: [1, 2\n", 2), ("a: 'x\n", 2), ("a: 1\n\tb: 2\n", 2), ("a: *\n", 1)],
)
def test_what_is_not_yaml_has_a_line(text: str, line: int):
    """A syntax error is one problem with the line on which the parser stopped."""
    problem = problem_of(text)
    assert problem.text.startswith("is not YAML: ")
    assert abs(problem.line - line) <= 1


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b"])
def test_control_characters_are_no_yaml(character: str):
    """A file with control characters is refused and does not crash the reader."""
    assert problem_of(f"a: 1\nb: {character}\n").text.startswith("is not YAML")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path):
    """Editors on Windows put one there."""
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_document(path).data == {"a": 1}


def test_bytes_that_are_not_utf_8_are_named_by_line(tmp_path: Path):
    """An umlaut in Latin-1 on the third line is told as such."""
    path = tmp_path / "f.yaml"
    path.write_bytes(b"a: 1\nb: 2\nc: \xfc\n")
    with pytest.raises(ContractError, match=r"f\.yaml:3: is not UTF-8 \(save it as UTF-8\)"):
        read_document(path)


def test_a_file_over_one_mebibyte_is_not_read(tmp_path: Path):
    """One byte too many is refused before it is parsed; the limit itself is not."""
    path = tmp_path / "f.yaml"
    path.write_bytes(b"a: 1\n".ljust(SIZE_LIMIT_BYTES, b"\n"))
    assert read_document(path).data == {"a": 1}
    path.write_bytes(b"a: 1\n".ljust(SIZE_LIMIT_BYTES + 1, b"\n"))
    with pytest.raises(ContractError, match="is more than 1048576 bytes"):
        read_document(path)


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path, make):
    """A missing file and a folder in its place are told by name."""
    path = tmp_path / "f.yaml"
    make(path)
    with pytest.raises(ContractError, match=r"f\.yaml: cannot be read: "):
        read_document(path)


_LEAVES = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text("abc xyz-:#", max_size=8)
_TREES = st.recursive(
    _LEAVES,
    lambda t: st.lists(t, max_size=3) | st.dictionaries(st.text("abc", max_size=3), t, max_size=3),
    max_leaves=8,
)


@settings(max_examples=80)
@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=4), _TREES, min_size=1, max_size=4))
def test_what_pyyaml_writes_is_read_as_it_was(tree: dict):
    """Independent writer: data dumped by PyYAML comes back equal, with a line for every key."""
    text = yaml.safe_dump(tree, default_flow_style=False)
    document = parse_document(text, file="f.yaml")
    assert document.data == tree
    assert all((key,) in document.lines for key in tree)
