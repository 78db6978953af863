"""Feature SQL: one SELECT over declared sources, every column known, and where each output comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from forecastle.contract.load import load_system
from forecastle.contract.sql import column_lineage, output_line, parse_select

MARKETS = Path(__file__).parents[2] / "platform" / "systems" / "prediction_markets"
SCHEMA = {
    "quotes": ["mid", "value", "event_at", "known_at"],
    "polls": ["mid", "pct", "known_at"],
}


def parsed(text: str):
    found, problems = parse_select(text, file="f.sql", schema=SCHEMA)
    assert problems == []
    assert found is not None
    return found


def told(text: str) -> list[str]:
    found, problems = parse_select(text, file="f.sql", schema=SCHEMA)
    assert found is None
    assert problems
    return [str(problem).removeprefix("f.sql:") for problem in problems]


@pytest.mark.parametrize(
    ("text", "outputs"),
    [
        ("SELECT quotes.mid AS k FROM quotes", ("k",)),
        ("SELECT mid FROM quotes -- trailing ; comment\n;", ("mid",)),
        ("SELECT QUOTES.MID FROM Quotes", ("mid",)),
        ("(SELECT mid FROM quotes)", ("mid",)),
        ("SELECT mid FROM quotes JOIN polls USING (mid)", ("mid",)),
        ("SELECT q.mid, u.x FROM quotes AS q, UNNEST([1, 2]) AS u(x)", ("mid", "x")),
        ("SELECT mid AS k, COUNT(*) AS n FROM quotes GROUP BY k HAVING n > 1 ORDER BY n", ("k", "n")),
        ("SELECT mid AS k, k + 1 AS l FROM quotes", ("k", "l")),
        ("SELECT (SELECT MAX(p.pct) FROM polls AS p WHERE p.mid = q.mid) AS m FROM quotes AS q", ("m",)),
        (
            "WITH RECURSIVE r AS (SELECT mid, 1 AS n FROM quotes UNION ALL SELECT mid, n + 1 FROM r) SELECT r.n FROM r",
            ("n",),
        ),
        ("SELECT x.a FROM (SELECT mid AS a FROM quotes) AS x UNION ALL SELECT polls.mid AS a FROM polls", ("a",)),
        ("SELECT RANK() OVER w AS r FROM quotes WINDOW w AS (PARTITION BY mid ORDER BY value)", ("r",)),
        ("SELECT LIST_TRANSFORM([1], x -> x + mid) AS y FROM quotes", ("y",)),
    ],
)
def test_a_select_over_declared_sources_is_taken(text: str, outputs: tuple[str, ...]):
    """Joins, windows, subqueries, unions, recursion and aliases are ordinary SQL: each column is found."""
    assert parsed(text).outputs == outputs


STATEMENTS = {
    "INSERT INTO quotes VALUES (1)": "1: holds INSERT; one SELECT is allowed",
    "DELETE FROM quotes": "1: holds DELETE; one SELECT is allowed",
    "UPDATE quotes SET value = 1": "1: holds UPDATE; one SELECT is allowed",
    "DROP TABLE quotes": "1: holds DROP; one SELECT is allowed",
    "CREATE TABLE t AS SELECT mid FROM quotes": "1: holds CREATE; one SELECT is allowed",
    "COPY quotes TO 'x.csv'": "1: holds COPY; one SELECT is allowed",
    "ATTACH 'x.db'": "1: holds ATTACH; one SELECT is allowed",
    "SET threads = 1": "1: holds SET; one SELECT is allowed",
    "PRAGMA database_list": "1: holds PRAGMA; one SELECT is allowed",
    "PIVOT quotes ON mid USING SUM(value)": "1: holds PIVOT; one SELECT is allowed",
    "SELECT 1 AS a;\nSELECT mid FROM quotes": "2: holds 2 statements; one SELECT is allowed",
    "SELECT mid FROM quotes;\nDROP TABLE quotes": "2: holds 2 statements; one SELECT is allowed",
    "": "1: holds no statement (write one SELECT)",
    "-- nothing": "1: holds no statement (write one SELECT)",
}


@pytest.mark.parametrize(("text", "problem"), STATEMENTS.items())
def test_anything_but_one_select_is_refused(text: str, problem: str):
    """A view can change nothing: there is one statement, and it is a SELECT."""
    assert told(text) == [problem]


OUTSIDE = {
    "SELECT a FROM read_csv('x.csv')": "1: reads READ_CSV('x.csv'); only declared sources may be read",
    "SELECT a FROM read_parquet('x')": "1: reads READ_PARQUET('x'); only declared sources may be read",
    "SELECT a FROM glob('*')": "1: reads GLOB('*'); only declared sources may be read",
    "SELECT content FROM read_text('/etc/hostname')": "only declared sources may be read",
    "SELECT a FROM query('SELECT 1 AS a')": "only declared sources may be read",
    "SELECT a FROM 'x.csv'": "1: reads unknown source 'x.csv' (allowed: polls, quotes)",
    'SELECT a FROM "x.parquet"': "1: reads unknown source 'x.parquet' (allowed: polls, quotes)",
    "SELECT mid FROM main.quotes": "1: reads main.quotes (write quotes)",
    "SELECT name FROM information_schema.tables": "reads information_schema.tables",
    "SELECT mid FROM quotes AT (VERSION => 1)": "(write quotes)",
    "SELECT mid FROM quots": "1: reads unknown source 'quots' (did you mean 'quotes'?)",
    "WITH quotes AS (SELECT mid FROM polls) SELECT mid FROM quotes": "like the source (give it another name)",
    "SELECT mid FROM quotes USING SAMPLE 10": "uses TABLESAMPLE, which a view may not",
    "SELECT mid FROM (PIVOT polls ON pct USING SUM(mid))": "uses PIVOT, which a view may not",
}


@pytest.mark.parametrize(("text", "problem"), OUTSIDE.items())
def test_only_declared_sources_are_read(text: str, problem: str):
    """No file, no other database, no table function, no older version, no chance."""
    assert problem in told(text)[0]


@pytest.mark.parametrize(
    "call",
    ["NOW()", "CURRENT_TIMESTAMP", "CURRENT_DATE", "TODAY()", "RANDOM()", "UUID()", "GEN_RANDOM_UUID()",
     "GET_CURRENT_TIMESTAMP()", "LOCALTIMESTAMP", "NEXTVAL('s')", "CURRENT_SETTING('threads')", "GETENV('HOME')"],
)  # fmt: skip
def test_what_changes_from_run_to_run_is_refused(call: str):
    """A view gives the same rows whenever it runs, or no past training set could be built again."""
    (problem,) = told(f"SELECT mid,\n  {call} AS x FROM quotes")
    assert "gives something else every time it runs (use the times of the sources)" in problem


@pytest.mark.parametrize(
    "text", ["SELECT * FROM quotes", "SELECT quotes.* FROM quotes", "FROM quotes", "SELECT COLUMNS('m.*') FROM quotes",
             "SELECT * EXCLUDE (mid) FROM quotes", "WITH a AS (SELECT * FROM quotes) SELECT a.mid FROM a"]
)  # fmt: skip
def test_columns_are_named(text: str):
    """A star anywhere would let a new source column become a feature."""
    assert "uses SELECT *; name the columns" in told(text)[0]


COLUMNS = {
    "SELECT mid,\n  valu AS v FROM quotes": ["2: reads unknown column 'valu' (did you mean 'value'?)"],
    "SELECT q.mid FROM quotes AS q\nWHERE q.pct > 1": [
        "2: reads unknown column 'q.pct' (allowed: event_at, known_at, mid, value)"
    ],
    "SELECT q.mid AS a,\n r.mid AS b FROM quotes AS q": ["2: reads from unknown 'r' (allowed: q)"],
    "SELECT known_at FROM quotes JOIN polls USING (mid)": [
        "1: reads column 'known_at', which stands in quotes and polls (write quotes.known_at)"
    ],
    "WITH a AS (SELECT mid AS z FROM quotes)\nSELECT a.mid FROM a": ["2: reads unknown column 'a.mid' (allowed: z)"],
    "WITH a AS (\n SELECT quotes.midd FROM quotes),\nb AS (SELECT a.mid FROM a)\nSELECT b.mid FROM b": [
        "2: reads unknown column 'quotes.midd' (did you mean 'mid'?)"
    ],
    "SELECT mid FROM quotes WHERE EXISTS (\n SELECT 1 FROM polls WHERE polls.zzz = quotes.mid)": [
        "2: reads unknown column 'polls.zzz' (allowed: known_at, mid, pct)"
    ],
    "SELECT RANK() OVER w AS r FROM quotes\nWINDOW w AS (ORDER BY valu)": [
        "2: reads unknown column 'valu' (did you mean 'value'?)"
    ],
    "SELECT SUM(value) FROM quotes": ["1: gives SUM(value) no name (write AS name)"],
    "SELECT mid AS a,\n value AS a FROM quotes": ["2: gives column 'a' twice"],
    "SELECT quotes.a,\n quotes.b FROM quotes": [
        "1: reads unknown column 'quotes.a' (allowed: event_at, known_at, mid, value)",
        "2: reads unknown column 'quotes.b' (allowed: event_at, known_at, mid, value)",
    ],
}


@pytest.mark.parametrize(("text", "problems"), COLUMNS.items())
def test_every_unknown_column_is_told_on_its_line(text: str, problems: list[str]):
    """In joins, WITH parts, subqueries and windows: each with what was probably meant, and no echo."""
    assert told(text) == problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("SELECT\n  mid FROM\nquotes WHERE (", "3: is not SQL"),
        ("SELECT 'abc", "1: is not SQL: a quote or a comment is never closed"),
        ("SELECT " + "(" * 3_000 + "1" + ")" * 3_000 + " AS x FROM quotes", "1: nests too deeply to be read"),
        ("SELECT mid FROM quotes WHERE mid = = 1", "1: is not SQL"),
    ],
)
def test_what_is_not_sql_is_one_problem(text: str, problem: str):
    """Broken text of any kind ends in a sentence, never in a crash of the parser."""
    assert told(text)[0].startswith(problem)
    assert "sqlglot" not in told(text)[0]


def test_lineage_follows_aliases_unions_and_subqueries():
    """Each output is traced to raw columns by hand: through a WITH part, both sides of a union, and a window."""
    text = """
        WITH both AS (
          SELECT quotes.mid AS m, quotes.value AS v FROM quotes
          UNION ALL
          SELECT polls.mid AS m, polls.pct / 100 AS v FROM polls
        ),
        nested AS (SELECT b.m, AVG(b.v) OVER (ORDER BY b.m) AS mean FROM both AS b WHERE b.v > 0)
        SELECT nested.m AS entity, nested.mean AS mean, 1 AS one,
          (SELECT MAX(polls.known_at) FROM polls) AS newest
        FROM nested
    """
    found = parsed(text)
    assert found.tables == ("polls", "quotes")
    assert found.outputs == ("entity", "mean", "one", "newest")
    assert column_lineage(found, schema=SCHEMA) == {
        "entity": (("polls", "mid"), ("quotes", "mid")),
        "mean": (("polls", "mid"), ("polls", "pct"), ("quotes", "mid"), ("quotes", "value")),
        "one": (),
        "newest": (("polls", "known_at"),),
    }


def test_lineage_ignores_what_only_chooses_rows():
    """A column of WHERE or ON is no part of a value."""
    text = "SELECT q.value AS v FROM quotes AS q JOIN polls AS p ON p.mid = q.mid WHERE p.pct > 50"
    assert column_lineage(parsed(text), schema=SCHEMA) == {"v": (("quotes", "value"),)}


def test_the_line_of_an_output():
    """An output stands on its own line; one that is not given, on that of the first."""
    found = parsed("WITH a AS (SELECT mid FROM quotes)\nSELECT\n  a.mid AS k,\n  1 AS one FROM a")
    assert [output_line(found, name) for name in ("k", "one", "absent")] == [3, 4, 3]


GOLDEN = {
    "market_trades.sql": {
        "market_id": {"quotes.mid", "trades.mid"},
        "event_at": {"quotes.known_at", "trades.known_at"},
        "known_at": {"quotes.known_at", "trades.known_at"},
        "volume_24h": {"trades.mid", "trades.size_usd", "trades.trade_id"},
    },
    "resolution.sql": {
        "market_id": {"resolutions.mid"},
        "predict_at": {"quotes.known_at", "resolutions.known_at", "resolutions.mid"},
        "outcome": {"resolutions.resolved_to"},
        "known_at": {"resolutions.known_at"},
        "platform": {"quotes.source"},
    },
}


@pytest.mark.parametrize(("file", "expected"), GOLDEN.items())
def test_lineage_of_the_prediction_markets(file: str, expected: dict[str, set[str]]):
    """Raw columns behind each output of two real files, read off the SQL by hand."""
    lineage = load_system(MARKETS).lineage(file)
    assert {name: {".".join(pair) for pair in pairs} for name, pairs in lineage.items()} == expected


def test_every_feature_of_a_real_view_comes_from_somewhere():
    """No feature of a declared view is a constant, and all that it reads is declared."""
    system = load_system(MARKETS)
    for view in system.declaration.feature_views.values():
        lineage = system.lineage(view.sql)
        for feature in view.features:
            assert lineage[feature]
            assert all(column in (*system.declaration.sources[source].columns, "event_at", "known_at")
                       for source, column in lineage[feature])  # fmt: skip
        assert {source for pairs in lineage.values() for source, _ in pairs} <= set(system.reads(view.sql))
