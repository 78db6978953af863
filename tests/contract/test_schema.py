"""The published JSON Schema is the one that the models give."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from forecastle.contract.schema import schema_text
from forecastle.contract.source import Source
from forecastle.contract.system import System, json_schema

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / "system.schema.json"


def test_the_published_schema_is_up_to_date():
    """After a change of a model: `PYTHONPATH=platform python -m forecastle.contract.schema docs/system.schema.json`."""
    assert PUBLISHED.read_text(encoding="utf-8") == schema_text()


def test_one_line_writes_the_schema(tmp_path: Path):
    """The command of the docstring gives the published bytes."""
    target = tmp_path / "s.json"
    subprocess.run([sys.executable, "-m", "forecastle.contract.schema", str(target)], check=True, cwd=ROOT / "platform")
    assert target.read_bytes() == PUBLISHED.read_bytes()


def test_an_option_is_no_file(tmp_path: Path):
    """`--help` is answered by the usage and writes nothing."""
    command = [sys.executable, "-m", "forecastle.contract.schema", "--help"]
    done = subprocess.run(
        command, check=False, cwd=tmp_path, env={"PYTHONPATH": str(ROOT / "platform")}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "usage: python -m forecastle.contract.schema FILE" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_schema_refuses_unknown_keys_and_lists_the_words():
    """An editor completes keys and words, and marks what does not belong."""
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is False
    assert list(schema["properties"]) == list(System.model_fields)
    assert all(d.get("additionalProperties") is False for d in schema["$defs"].values() if d["type"] == "object")
    assert "seconds" in json.dumps(schema["$defs"]["Feature"]["properties"]["unit"])


def test_a_duration_is_text_with_a_pattern():
    """An editor tells 4 weeks from 4w."""
    ttl = json_schema()["$defs"]["FeatureView"]["properties"]["ttl"]
    assert (ttl["type"], ttl["pattern"]) == ("string", "^[0-9]{1,8} *[smhdw]$")


def test_descriptions_reach_the_schema():
    """What a field means is shown where it is written."""
    assert json_schema()["$defs"]["Source"]["properties"]["event_at"]["description"] == (
        Source.model_fields["event_at"].description
    )


def test_every_declaration_of_the_house_names_the_schema():
    """The first line of a declaration tells editors where the schema is, by a path that exists."""
    for declaration in sorted((ROOT / "platform" / "systems").glob("*/system.yaml")):
        first = declaration.read_text(encoding="utf-8").partition("\n")[0]
        prefix, _, path = first.partition("$schema=")
        assert prefix == "# yaml-language-server: "
        assert (declaration.parent / path).resolve() == PUBLISHED
