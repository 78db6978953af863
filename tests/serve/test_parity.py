"""Serving and batch are one: ten thousand rows over HTTP against the batch asset's scoring, bit for bit."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pandas as pd
import pytest

from forecastle.learn.bundle import load_bundle
from forecastle.learn.score import decide_rows, score_rows
from forecastle.store.online import OnlineView
from forecastle.store.online_sqlite import SQLiteOnlineStore
from forecastle.store.prediction_log import PredictionReader
from tests.serve import toy
from tests.serve.server import served
from tests.serve.toy import BET, CONTRACTS, NOW, NOW_US, VIEWS

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
ROWS, SINGLES, CALLERS = 10_000, 500, 32


def population(rows: int) -> pd.DataFrame:
    """View features of every entity, with nulls, integers and both ends of their ranges."""
    generator = np.random.default_rng(20260601)
    poll = generator.random(rows)
    poll[generator.random(rows) < 0.3] = np.nan
    price = np.round(generator.random(rows), 6)
    price[:2] = (0.0, 1.0)
    return pd.DataFrame(
        {
            "market_id": np.arange(rows),
            "market_price": price,
            "volume_24h": generator.exponential(1e4, rows),
            "days_left": generator.integers(0, 60, rows),
            "poll_avg_7d": poll,
            "rank": generator.integers(1, 4, rows),
        }
    )


def store(home, frame: pd.DataFrame) -> None:
    """The rows where serving reads them, as the push of feature views writes them."""
    with closing(SQLiteOnlineStore(home.online("toy"))) as online:
        for view, names in VIEWS.items():
            columns = [frame[name].astype(object).where(frame[name].notna(), None) for name in ("market_id", *names)]
            rows = [(key, NOW_US, NOW_US, *values) for key, *values in zip(*columns, strict=True)]
            online.write(OnlineView(view, {"market_id": "int64"}, {n: CONTRACTS[n].dtype for n in names}), rows)


def test_ten_thousand_rows_over_http_are_the_batchs(home):
    """Probability, raw score, decision, cut-off: rows by `predict_batch`, 500 by `predict`, alone and in a crowd."""
    digest = toy.make_bundle(home, version="3", decision=BET)
    toy.promote(home, digest, version="3")
    frame = population(ROWS)
    store(home, frame)
    bundle = load_bundle(home.bundles("toy") / digest, expected_hash=digest)
    scores = score_rows(bundle, frame)
    decided = decide_rows(bundle, scores, pd.Series([pd.Timestamp(NOW)] * ROWS))
    assert 0 < decided.is_open.sum() < ROWS
    asked = [{"entity": {"market_id": n}} for n in range(ROWS)]
    with served(home.root) as server:
        status, batch = server.ask("POST", "/predict_batch", json.dumps({"requests": asked}).encode())
        assert status == 200
        singles = [server.predict(request) for request in asked[:: ROWS // SINGLES]]
        with ThreadPoolExecutor(CALLERS) as callers:
            crowd = list(callers.map(server.predict, asked[:: ROWS // SINGLES]))
    check_batch(batch["answers"], scores, decided)
    check_singles(singles, scores, decided)
    check_singles(crowd, scores, decided)
    check_log(home, scores, decided)


def check_batch(answers, scores, decided) -> None:
    assert [answer["row"] for answer in answers] == list(range(ROWS))
    assert ["receipt" in answer for answer in answers] == decided.is_open.tolist()
    assert {answer["error"]["code"] for answer in answers if "error" in answer} == {"after_cutoff"}
    served_ = {answer["row"]: answer["receipt"] for answer in answers if "receipt" in answer}
    assert [receipt["probability"] for receipt in served_.values()] == scores.probability[decided.is_open].tolist()
    assert all(receipt["decision"] == json.loads(decided.json[row]) for row, receipt in served_.items())


def check_singles(singles, scores, decided) -> None:
    assert len(singles) == SINGLES
    for row, (status, receipt) in zip(range(0, ROWS, ROWS // SINGLES), singles, strict=True):
        assert status == (200 if decided.is_open[row] else 409)
        if status == 200:
            assert receipt["probability"] == scores.probability[row]
            assert receipt["decision"] == json.loads(decided.json[row])


def check_log(home, scores, decided) -> None:
    """The raw scores and the bytes of the decisions, as they are kept."""
    is_open = np.flatnonzero(decided.is_open)
    logged = PredictionReader(home.prediction_log("toy")).since(0, limit=len(is_open))
    assert [p.raw_score for p in logged] == scores.raw[is_open].tolist()
    assert [p.decision_json for p in logged] == [decided.json[row] for row in is_open]
