"""The cut-off where it costs money: the service refuses a game from twenty minutes before its start on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from forecastle.measure.assignment import assign_many
from tests.conformance.materialised import NOW, Materialised
from tests.systems.mlb.conftest import FOLDER

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mlb_served")]


@pytest.fixture(scope="module")
def opening(tmp_path_factory: pytest.TempPathFactory) -> Materialised:
    """A simulated season, its champion and its online store."""
    with dg.DagsterInstance.ephemeral() as instance:
        made = Materialised(FOLDER, tmp_path_factory.mktemp("opening"), instance)
        made.complete()
    return made


@pytest.fixture(scope="module")
def next_game(opening: Materialised) -> tuple[dict[str, Any], datetime]:
    """The next game that starts more than twenty minutes from now, and its start."""
    rows = opening.frame("features/line_movement").sort_values("known_at").drop_duplicates("game_id", keep="last")
    ahead = rows[rows["starts_at_seconds"] > (NOW + timedelta(minutes=30)).timestamp()].sort_values("starts_at_seconds")
    row = ahead.iloc[0]
    return {"entity": {"game_id": row["game_id"]}}, datetime.fromtimestamp(row["starts_at_seconds"], tz=UTC)


def test_a_bet_is_answered_until_twenty_minutes_before_the_start(
    opening: Materialised, next_game: tuple[dict[str, Any], datetime]
) -> None:
    """At the cut-off to the second there is a probability and BET or PASS with its value."""
    asked, start = next_game
    with opening.service(start - timedelta(minutes=20)) as client:
        answer = client.predict(asked)
    assert answer.status == 200, answer.json
    assert 0.0 < answer.json["probability"] < 1.0
    assert answer.json["decision"]["action"] in {"bet_home", "bet_away", "pass"}


@pytest.mark.parametrize("late", [timedelta(seconds=1), timedelta(minutes=20), timedelta(minutes=50)])
def test_later_there_is_409_and_no_probability(
    opening: Materialised, next_game: tuple[dict[str, Any], datetime], late: timedelta
) -> None:
    """By every way to ask, before the first pitch and after it; nothing is logged."""
    asked, start = next_game
    with opening.service(start - timedelta(minutes=20) + late) as client:
        for answer in (client.predict(asked), client.post("/explain", asked)):
            assert (answer.status, answer.json["error"]["code"]) == (409, "after_cutoff"), answer.json
            assert b"probability" not in answer.body
        batch = client.post("/predict_batch", {"requests": [asked]}).json
    assert batch["answered"] == 0
    assert batch["answers"][0]["error"]["code"] == "after_cutoff"


def test_no_request_may_say_when_the_game_starts(
    opening: Materialised, next_game: tuple[dict[str, Any], datetime]
) -> None:
    """Otherwise the cut-off would be the caller's: the start comes from the store alone."""
    asked, start = next_game
    later = (start + timedelta(hours=3)).timestamp()
    with opening.service(start) as client:
        answer = client.predict({**asked, "features": {"starts_at_seconds": later}})
    assert answer.status == 422, answer.json


def test_a_trial_gets_five_percent_of_the_games(opening: Materialised) -> None:
    """The declared share and salt: of 20,000 games 1,000 ± 4 standard deviations of √(20,000 × 0.05 × 0.95)."""
    declared = opening.system.declaration.rollout
    games = [f"BOS2016{number:06d}" for number in range(20_000)]
    shares = {"challenger": declared.challenger_share, "champion": 1 - declared.challenger_share}
    found = int((assign_many(games, shares, salt=declared.salt) == "challenger").sum())
    assert abs(found - 1_000) < 4 * 31
