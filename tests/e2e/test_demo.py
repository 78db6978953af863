"""The demonstration as a stranger runs it: everything once in a fresh home, then again, then on real data."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from pathlib import Path

import pytest

from tests.e2e.conftest import First
from tests.e2e.stack import Stack, forecastle

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

ANSWER = re.compile(r"^\{$.*?^\}$", re.MULTILINE | re.DOTALL)


def proof(output: str) -> dict:
    """The answer that a demonstration printed, after checking that its trace gives the same number."""
    answer = json.loads(ANSWER.search(output)[0])
    assert 0 <= answer["probability"] <= 1
    assert f"$ forecastle trace {answer['prediction_id']}" in output
    assert f"{answer['probability']:.6f} for " in output
    assert "recomputed from the logged vector: the same number" in output
    assert "made from prediction_markets/features/market_quotes@" in output
    assert re.search(r"market_quotes ← prediction_markets/source/quotes@\d+: [1-9]\d* rows of this entity", output)
    return answer


def kept(home: Path) -> dict[str, str]:
    """SHA-256 of every table, bundle and pointer of a home."""
    files = [p for part in ("warehouse", "bundles", "champions", "bentoml") for p in (home / part).rglob("*")]
    return {p.relative_to(home).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files if p.is_file()}


def test_everything_works_in_a_fresh_home(first: First) -> None:
    """Exit status 0, every asset made, one probability with its receipt, and its trace down to source rows."""
    assert first.returncode == 0, first.output
    assert "✗" not in first.output
    for asset in ("source/quotes", "features/market_quotes", "training_set", "models/lightgbm", "promotion", "bento"):
        assert f"✓ prediction_markets/{asset}" in first.output
    answer = proof(first.output)
    assert answer["degraded"] == []
    assert {"market_price", "volume_24h", "urgency"} <= set(answer["features"])
    assert re.search(r"Dagster shows \d+ assets, all made; MLflow shows run lightgbm", first.output)


def test_once_leaves_no_server_behind(first: First) -> None:
    """Every printed port is closed again, and the home is its owner's alone."""
    ports = [int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", first.output)]
    assert len(set(ports)) == 3
    for port in set(ports):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    assert first.home.stat().st_mode & 0o077 == 0


def test_the_second_time_nothing_is_made_anew(first: First, stack: Stack) -> None:
    """It says so, starts servers only, and proves itself again; no table, bundle or pointer has another byte."""
    before = kept(first.home)
    assert "prediction_markets is made already" in stack.text
    assert "✓ prediction_markets/" not in stack.text
    once, again = proof(first.output), proof(stack.text)
    assert again["prediction_id"] != once["prediction_id"]
    assert again["model"] == once["model"]
    assert kept(first.home) == before


def test_on_real_quotes(real_data: Path, tmp_path: Path) -> None:
    """The same command on 246,953 real prices: made, promoted, asked at the newest instant the data know, traced."""
    done = forecastle(tmp_path / "home", "demo", "--once", FORECASTLE_DATA=str(real_data))
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "the clock replays from " in output
    answer = proof(output)
    assert answer["features"]["market_price"]["status"] == "PRESENT"
    assert answer["features"]["poll_avg_7d"]["value"] is None, "real markets have no races: nullable, not faked"
