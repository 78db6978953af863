"""The service with its log on a real PostgreSQL server: the same answers, and none while the server is away."""

from __future__ import annotations

import dataclasses

from forecastle.store.prediction_log_postgres import PostgresPredictionReader
from tests.serve import toy
from tests.serve.client import running
from tests.serve.test_together import of
from tests.serve.toy import GIVEN
from tests.store import postgresql


def test_answers_are_logged_on_the_server_and_stop_with_it(settings, caplog):
    """Logged there, not in the file; a repeated request id gets the first answer; without the server 503.

    Requests that come together are rows there like any. A request that names its id fails where its id is looked up;
    health and the service's own log say so too, once.
    """
    ask = {"features": GIVEN, "request_id": "once"}
    for market_id in range(8):
        toy.push(settings.home.online("toy"), market_id=market_id)
    with postgresql.server() as running_url:
        url = running_url.replace("+psycopg", "")
        context = running(dataclasses.replace(settings, log_url=url))
        client = context.__enter__()
        first, again = client.predict(ask), client.predict(ask)
        assert (first.status, again.body) == (200, first.body)
        crowd = client.predict_at_once(
            [*[ask] * 3, *map(of, range(8)), *[of(n) | {"request_id": f"r{n}"} for n in (1, 1)]]
        )
        assert [answer.body for answer in crowd[:3]] == [first.body] * 3
        assert crowd[11].body == crowd[12].body
        reader = PostgresPredictionReader(url, "toy")
        ids = [first.json["prediction_id"], *{answer.json["prediction_id"] for answer in crowd[3:]}]
        assert sorted(p.prediction_id for p in reader.since(0)) == sorted(ids)
        assert len(ids) == 1 + 8 + 1
        reader.close()
    assert not settings.home.prediction_log("toy").exists()
    assert client.ask("GET", "/healthz").json["log"] == "available"
    with caplog.at_level("ERROR"):
        named = [client.predict(ask), client.predict(ask)]
    assert [answer.json["error"]["code"] for answer in named] == ["log_unavailable"] * 2
    health = client.ask("GET", "/healthz").json
    assert (health["status"], health["log"]) == ("degraded", "unavailable")
    (why,) = [record.getMessage() for record in caplog.records]
    assert "the prediction log's server cannot be asked" in why
    for away in (client.predict({"features": GIVEN}), *client.predict_at_once([of(n) for n in range(8)])):
        assert (away.status, away.json["error"]["code"]) == (503, "log_unavailable")
    assert b"probability" not in away.body
    assert postgresql.PASSWORD.encode() not in away.body
    context.__exit__(None, None, None)
