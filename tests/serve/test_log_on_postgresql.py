"""The service with its log on a real PostgreSQL server: the same answers, and none while the server is away."""

from __future__ import annotations

import dataclasses

from forecastle.store.prediction_log_postgres import PostgresPredictionReader
from tests.serve.client import running
from tests.serve.toy import GIVEN
from tests.store import postgresql


def test_answers_are_logged_on_the_server_and_stop_with_it(settings, caplog):
    """Logged there, not in the file; a repeated request id gets the first answer; without the server 503.

    A request that names its id fails where its id is looked up; health and the service's own log say so too, once.
    """
    ask = {"features": GIVEN, "request_id": "once"}
    with postgresql.server() as running_url:
        url = running_url.replace("+psycopg", "")
        context = running(dataclasses.replace(settings, log_url=url))
        client = context.__enter__()
        first, again = client.predict(ask), client.predict(ask)
        assert (first.status, again.body) == (200, first.body)
        reader = PostgresPredictionReader(url, "toy")
        assert [p.prediction_id for p in reader.since(0)] == [first.json["prediction_id"]]
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
    away = client.predict({"features": GIVEN})
    assert (away.status, away.json["error"]["code"]) == (503, "log_unavailable")
    assert b"probability" not in away.body
    assert postgresql.PASSWORD.encode() not in away.body
    context.__exit__(None, None, None)
