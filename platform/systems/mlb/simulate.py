"""A seeded season of baseball in the files of the real sources.

Belongs here: the random world of teams, pitchers, games and moneylines, and what of it is known by `now`.
Does not belong here: features, labels, reading the files again.

A game's true log-odds add home advantage, strengths of teams and starters. The bookmaker opens with an error and moves
in small steps towards the truth, often several within minutes; what is left of the error is worth less than his margin.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TEAMS = {
    "ARI": "Arizona Diamondbacks", "ATL": "Atlanta Braves", "BAL": "Baltimore Orioles", "BOS": "Boston Red Sox",
    "CHN": "Chicago Cubs", "CHA": "Chicago White Sox", "CIN": "Cincinnati Reds", "CLE": "Cleveland Indians",
    "COL": "Colorado Rockies", "DET": "Detroit Tigers", "HOU": "Houston Astros", "KCA": "Kansas City Royals",
    "LAN": "Los Angeles Dodgers", "MIA": "Miami Marlins", "MIL": "Milwaukee Brewers", "MIN": "Minnesota Twins",
    "NYN": "New York Mets", "NYA": "New York Yankees", "OAK": "Oakland Athletics", "PHI": "Philadelphia Phillies",
    "PIT": "Pittsburgh Pirates", "SDN": "San Diego Padres", "SFN": "San Francisco Giants", "SEA": "Seattle Mariners",
}  # fmt: skip
FIRST_NAMES = ("Al", "Ben", "Carl", "Dan", "Ed")
FIRST_PITCH = timedelta(hours=17, minutes=5)
LISTED_AHEAD = timedelta(days=1)
BURN_IN_DAYS = 365
REPORTED_AFTER = timedelta(hours=36)
HOME_ADVANTAGE = 0.12
TEAM_SPREAD, STARTER_SPREAD, OPENING_ERROR = 0.22, 0.2, 0.12
MARGIN = 0.022
LINES = 12
DOUBLEHEADER_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Game:
    """One game of the season; `logit` is the home team's true log-odds."""

    game_id: str
    day: datetime
    number: int
    starts_at: datetime
    home: str
    away: str
    pitchers: tuple[int, int]
    logit: float
    runs: tuple[int, int]


def world(folder: Path, *, seed: int, now: datetime, until: datetime | None = None, days: int = 140) -> Path:
    """Write games from `days` before `now` to the day after `until`, their lines, and results known by `until`.

    The same arguments give the same bytes, a later `until` the same rows and those known since. Of the year before
    there are results only, so that form has a past.

    Args:
        folder: made when it is not there; files of these names are replaced.
        seed: of every random choice.
        now: with a zone; the season so far leads up to it.
        until: nothing known later is written; `now` when not given.
        days: length of the season at `now`.

    Returns:
        The folder.

    Raises:
        ValueError: `now` has no zone or the season is shorter than 30 days.
    """
    if now.tzinfo is None or days < 30:
        raise ValueError(f"got now={now.isoformat()}, days={days}; now needs a zone, days at least 30")
    now = now.astimezone(UTC)
    until = (until or now).astimezone(UTC)
    games, lines = _season(seed, now, until, days)
    listed = {game.game_id for game in games if game.starts_at - LISTED_AHEAD <= until}
    opening = _midnight(now) - timedelta(days=days)
    known = [game for game in games if game.day >= opening and game.game_id in listed]
    finished = [game for game in games if game.day + REPORTED_AFTER <= until]
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "games_2016.parquet", [_listing(game) for game in known], GAMES)
    _write(folder / "lines_2016.parquet", [row for row in lines if row["game_id"] in listed], LINES_SCHEMA)
    _write(folder / "team_games_2015_2016.parquet", [row for game in finished for row in _team_rows(game)], TEAM_GAMES)
    _write(folder / "game_logs_2014_2016.parquet", [_log(game) for game in finished], LOGS)
    return folder


def _season(seed: int, now: datetime, until: datetime, days: int) -> tuple[list[Game], list[dict[str, Any]]]:
    """Games from the year before the season to after `until`, and the lines of the season's until then.

    Days after those drawn for `now` have a generator each, so that a season that goes on has the same past.
    """
    random, opening = np.random.default_rng(seed), _midnight(now) - timedelta(days=days)
    calendar = [opening + timedelta(days=day) for day in range(-BURN_IN_DAYS, days + 3)]
    games = [game for day in calendar for game in _day(random, day)]
    season = [game for game in games if game.day >= opening]
    # Those listed at `now` before the others: what comes later must not move what was drawn for them.
    season.sort(key=lambda game: game.starts_at - LISTED_AHEAD > now)
    lines = [row for game in season for row in _lines(random, game, until)]
    for number in range(days + 3, days + 3 + (until - now).days + 1):
        random = np.random.default_rng([seed, number])
        later = _day(random, opening + timedelta(days=number))
        games += later
        lines += [row for game in later for row in _lines(random, game, until)]
    return games, lines


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _day(random: np.random.Generator, day: datetime) -> list[Game]:
    """All teams but those that rest, in random pairs; strengths depend on the team's place alone and stay."""
    codes = list(TEAMS)
    order = [int(place) for place in random.permutation(len(codes))]
    resting = 2 * int(random.integers(0, 3))
    games = []
    for home, away in zip(order[resting::2], order[resting + 1 :: 2], strict=True):
        twice = random.random() < DOUBLEHEADER_SHARE
        start = day + FIRST_PITCH + timedelta(minutes=5 * int(random.integers(0, 84)))
        for number in (1, 2) if twice else (0,):
            at = start + timedelta(hours=4 * (number == 2))
            games.append(
                _game(random, at, day=day, number=number, teams=(codes[home], codes[away]), places=[home, away])
            )
    return games


def _game(
    random: np.random.Generator, at: datetime, *, day: datetime, number: int, teams: tuple[str, str], places: list[int]
) -> Game:
    pitchers = (int(random.integers(0, 5)), int(random.integers(0, 5)))
    strength = [
        TEAM_SPREAD * np.sin(2.4 * place) + STARTER_SPREAD * (pitcher - 2) / 2
        for place, pitcher in zip(places, pitchers, strict=True)
    ]
    logit = float(HOME_ADVANTAGE + strength[0] - strength[1])
    won = random.random() < 1 / (1 + np.exp(-logit))
    lost_runs = int(random.poisson(3.2))
    won_runs = lost_runs + 1 + int(random.geometric(0.45))
    return Game(
        game_id=f"{teams[0]}{day:%Y%m%d}{number}",
        day=day,
        number=number,
        starts_at=at,
        home=teams[0],
        away=teams[1],
        pitchers=pitchers,
        logit=logit,
        runs=(won_runs, lost_runs) if won else (lost_runs, won_runs),
    )


def _lines(random: np.random.Generator, game: Game, until: datetime) -> list[dict[str, Any]]:
    """Moneylines from two days before the start until it, or until `until`."""
    minutes = np.sort(np.concatenate([[2_400.0], random.uniform(0, 2_000, LINES)]))[::-1]
    minutes[1] = minutes[2] + 8.0
    error = random.normal(0, OPENING_ERROR) * np.linspace(1.0, 0.3, minutes.size) + random.normal(0, 0.01, minutes.size)
    total = float(random.integers(13, 20)) / 2
    rows = []
    for seq, (before, off) in enumerate(zip(minutes, error, strict=True)):
        at = game.starts_at - timedelta(seconds=round(60 * before))
        if at > until:
            break
        fair = 1 / (1 + np.exp(-(game.logit + off)))
        home, away = _moneyline(fair + MARGIN / 2), _moneyline(1 - fair + MARGIN / 2)
        rows.append({
            "game_id": game.game_id, "seq": seq, "entered_ts": at, "ml_home": home, "ml_away": away, "total": total,
        })  # fmt: skip
    return rows


def _moneyline(price: float) -> int:
    """American odds of a share of the payout."""
    return -round(100 * price / (1 - price)) if price > 0.5 else max(round(100 * (1 - price) / price), 100)


def _listing(game: Game) -> dict[str, Any]:
    return {
        "game_id": game.game_id, "start_ts": game.starts_at, "home_team": TEAMS[game.home],
        "away_team": TEAMS[game.away], "doubleheader": game.number,
        "home_sp": _short(_pitcher(game, 0)),
        "away_sp": _short(_pitcher(game, 1)),
    }  # fmt: skip


def _pitcher(game: Game, side: int) -> str:
    """First name and surname, one man for each team and place in its rotation."""
    team = (game.home, game.away)[side]
    return f"{FIRST_NAMES[game.pitchers[side]]} {TEAMS[team].rsplit(' ', 1)[-1]}man{team[0]}"


def _short(name: str) -> str:
    """Initial and surname, as lines list a pitcher."""
    return f"{name[0]} {name.split(' ', 1)[1]}".upper()


def _team_rows(game: Game) -> list[dict[str, Any]]:
    rows = []
    for at_home, team in ((1, game.home), (0, game.away)):
        scored, allowed = game.runs if at_home else game.runs[::-1]
        rows.append({
            "game_key": game.game_id, "game_date": game.day.date(), "team_key": team, "team_alignment": at_home,
            "r_w": int(scored > allowed), "r_l": int(scored < allowed), "b_r": scored, "p_r": allowed,
        })  # fmt: skip
    return rows


def _log(game: Game) -> dict[str, Any]:
    return {
        "game_id": game.game_id, "date": game.day.date(), "home_sp": _pitcher(game, 0), "away_sp": _pitcher(game, 1),
        "home_score": game.runs[0], "away_score": game.runs[1],
    }  # fmt: skip


def _write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, compression="zstd")


_AT = pa.timestamp("us", tz="UTC")
GAMES = pa.schema([
    ("game_id", pa.string()), ("start_ts", _AT), ("home_team", pa.string()), ("away_team", pa.string()),
    ("doubleheader", pa.int8()), ("home_sp", pa.string()), ("away_sp", pa.string()),
])  # fmt: skip
LINES_SCHEMA = pa.schema([
    ("game_id", pa.string()), ("seq", pa.int16()), ("entered_ts", _AT), ("ml_home", pa.int16()),
    ("ml_away", pa.int16()), ("total", pa.float32()),
])  # fmt: skip
TEAM_GAMES = pa.schema([
    ("game_key", pa.string()), ("game_date", pa.date32()), ("team_key", pa.string()), ("team_alignment", pa.int64()),
    ("r_w", pa.int16()), ("r_l", pa.int16()), ("b_r", pa.int16()), ("p_r", pa.int16()),
])  # fmt: skip
LOGS = pa.schema([
    ("game_id", pa.string()), ("date", pa.date32()), ("home_sp", pa.string()), ("away_sp", pa.string()),
    ("home_score", pa.int32()), ("away_score", pa.int32()),
])  # fmt: skip
