"""A seeded world of prediction markets in the files of the real sources, with the true probabilities.

Belongs here: the random world of markets, prices, polls and trades, what of it is known by `now`, and how it goes on.
Does not belong here: features, labels, reading the files again. `truth.parquet` is for tests, no source.

Every market follows a Brownian motion W with one step a day and resolves yes when W at its close is above
zero, so P(yes | W_t) = Phi(W_t / sqrt(close − t)) exactly: what is left is a normal increment of variance
close − t (https://en.wikipedia.org/wiki/Wiener_process). Prices and polls are noisy views of that
probability, each late in its own way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import expit, logit, ndtr

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

PLATFORM_SHARE = {"polymarket": 0.45, "manifold": 0.25, "metaculus": 0.25, "infer": 0.05}
SHORTEST_DAYS, LONGEST_DAYS = 20, 120

# Standard deviation of a platform's error in log-odds, and how much of it is still there a day later.
PRICE_NOISE = {"polymarket": 0.5, "manifold": 0.7, "metaculus": 0.55, "infer": 0.6}
PRICE_NOISE_MEMORY = 0.95
# Prices lean to one half: the log-odds that a market shows are this share of the true ones.
PRICE_SHRINKAGE = 0.9
PRICE_MIN = 0.003
LATE_QUOTE_SHARE = 0.045
RESTATED_QUOTE_SHARE = 0.01

# Polls ask whom people expect to win, so that a share estimates the probability itself.
POLLED_SHARE = 0.9
POLL_EVERY_DAYS = 2.0
POLL_NOISE = 0.03
POLL_HOUSE_NOISE = 0.015
LATE_POLL_SHARE = 0.05
EARLY_POLL_SHARE = 0.02

TRADED_PLATFORM = "polymarket"
CORRECTED_RESOLUTIONS = 3
REDATED_SHARE = 0.06
LISTED_SHARE = 0.93
SNAPSHOT_EVERY_DAYS = 14

# Markets that open after `now` are drawn four weeks at a time, so that a world that goes on further has the same past.
BLOCK_DAYS = 28
TRADES_OF_A_BLOCK = 1_000_000_000

A_MONDAY = 4  # 5 January 1970, in days since the first
SECONDS_PER_DAY = 86_400
MICROSECONDS_PER_SECOND = 1_000_000
UTC_INSTANT = pa.timestamp("us", tz="UTC")

# The column that tells when a row became known, where it is another.
KNOWN = {"snapshots": "freeze_datetime", "polls_races": "created_at"}

Columns = dict[str, Any]


class Market(NamedTuple):
    """One market's hidden life: `path[d]` is W on day `opens + d`; days count from 1970."""

    mid: int
    platform: str
    opens: int
    path: np.ndarray
    resolved_at: int

    @property
    def days(self) -> int:
        """Days from opening to close."""
        return len(self.path) - 1

    @property
    def closes(self) -> int:
        """Day of the close."""
        return self.opens + self.days

    @property
    def outcome(self) -> float:
        """1.0 for yes, 0.0 for no."""
        return float(self.path[-1] > 0.0)

    def probabilities(self) -> np.ndarray:
        """True probability of yes on each day before the close."""
        return np.asarray(ndtr(self.path[:-1] / np.sqrt(np.arange(self.days, 0, -1))))


def world(
    folder: Path, *, seed: int, now: datetime, until: datetime | None = None, markets: int = 2_000, days: int = 360
) -> Path:
    """Write a world whose prices are recorded since about `days` before `now`, as far as it is known at `until`.

    The same arguments give the same bytes, a later `until` the same rows and those known since. Markets open at the
    same rate all the time, so that the recorded past looks like the present: on its first day there are old and new
    ones too, their earlier prices lost. It is a Monday, for labels are asked on Mondays and the first finds a week of
    prices. About one market in six is still open at `now`. Every source of the system gets its file; `truth.parquet`
    has mid, day and true_probability, that of yes given everything that had happened when the day (UTC) began. Gives
    the path of `truth.parquet`.

    Args:
        folder: made when it is not there; files of these names are replaced.
        seed: of every random choice.
        now: with a zone; the recorded past leads up to it.
        until: nothing known later is written; `now` when not given. Markets go on to open at the same rate.
        markets: how many markets are open at some time from the first day to `now`.
        days: length of the history.

    Raises:
        ValueError: `now` has no zone, there is no market, or the history is shorter than 30 days.
    """
    if now.tzinfo is None or markets < 1 or days < 30:
        given = f"now={now.isoformat()}, markets={markets}, days={days}"
        raise ValueError(f"got {given}; now needs a zone, markets at least 1, days at least 30")
    until, random = until or now, np.random.default_rng(seed)
    today, last = (int(at.timestamp()) // SECONDS_PER_DAY for at in (now, until))
    first_day = today - days - (today - days - A_MONDAY) % 7
    lives = [_market(random, mid, first_day=first_day, last_day=today - 6) for mid in range(markets)]
    # The first to close are corrected, so that it is known long before `now`.
    parts = [_told(random, lives, corrected=CORRECTED_RESOLUTIONS)]
    daily = markets / (days + (SHORTEST_DAYS + LONGEST_DAYS) / 2)
    for number, random_, block in _later(seed, today + 2, last, first_mid=markets, daily=daily):
        lives += block
        parts.append(_told(random_, block, corrected=0, first_trade=number * TRADES_OF_A_BLOCK))
    cut = int(until.timestamp()) * MICROSECONDS_PER_SECOND
    tables = _known(parts, lives, int(_instants(first_day)), cut) | {"truth": _truth(lives, last)}
    _write_tables(folder, tables)
    return folder / "truth.parquet"


def _write_tables(folder: Path, tables: dict[str, Columns]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, columns in tables.items():
        _write(folder / f"{name}.parquet", columns)


def _later(
    seed: int, begin: int, last: int, *, first_mid: int, daily: float
) -> Iterator[tuple[int, np.random.Generator, list[Market]]]:
    """Markets that open from day `begin` on, block by block until the one that holds `last`."""
    size = max(1, round(daily * BLOCK_DAYS))
    for number, opens in enumerate(range(begin, last + 1, BLOCK_DAYS), start=1):
        random = np.random.default_rng([seed, number])
        mids = range(first_mid + (number - 1) * size, first_mid + number * size)
        yield number, random, [_opening(random, mid, opens + int(random.integers(BLOCK_DAYS))) for mid in mids]


def _market(random: np.random.Generator, mid: int, *, first_day: int, last_day: int) -> Market:
    """A market that opens by `last_day` and closes after `first_day`."""
    platform, lasts = _drawn(random)
    return _life(random, mid, platform, int(random.integers(first_day - lasts, last_day)) + 1, lasts)


def _opening(random: np.random.Generator, mid: int, opens: int) -> Market:
    """A market that opens on that day."""
    platform, lasts = _drawn(random)
    return _life(random, mid, platform, opens, lasts)


def _drawn(random: np.random.Generator) -> tuple[str, int]:
    """Platform, and days from opening to close."""
    platform = str(random.choice(list(PLATFORM_SHARE), p=list(PLATFORM_SHARE.values())))
    return platform, int(random.integers(SHORTEST_DAYS, LONGEST_DAYS + 1))


def _life(random: np.random.Generator, mid: int, platform: str, opens: int, lasts: int) -> Market:
    start = random.normal(-0.45, 0.7) * np.sqrt(lasts)
    path = start + np.concatenate([[0.0], np.cumsum(random.normal(size=lasts))])
    return Market(mid, platform, opens, path, int(_instants(opens + lasts + random.uniform(0.1, 3.0))))


def _told(
    random: np.random.Generator, lives: list[Market], *, corrected: int, first_trade: int = 0
) -> dict[str, Columns]:
    """What is ever told of some markets, by source file; `markets` is made of all of them."""
    quotes = _joined([_quotes(random, life) for life in lives])
    snapshots = _snapshots(random, lives)
    polled = [life for life in lives if random.random() < POLLED_SHARE] or lives[:1]
    traded = [life for life in lives if life.platform == TRADED_PLATFORM] or lives[:1]
    return {
        "quotes": quotes,
        "resolutions": _resolutions(random, lives, corrected),
        "snapshots": snapshots,
        "market_races": _races(polled),
        "polls_races": _joined([_polls(random, life) for life in polled]),
        "trades": _trades(random, traded, first_trade),
    }


def _known(parts: list[dict[str, Columns]], lives: list[Market], since: int, cut: int) -> dict[str, Columns]:
    """Every source file's columns, with the rows known at `cut` in the order in which they became known."""
    told = {name: _joined([part[name] for part in parts]) for name in parts[0]}
    told["quotes"] = _where(told["quotes"], told["quotes"]["known_at"] >= since)
    known = {name: _until(columns, KNOWN.get(name, "known_at"), cut) for name, columns in told.items()}
    return {**known, "markets": _markets(lives, set(known["snapshots"]["mid"].tolist()), cut)}


def _quotes(random: np.random.Generator, life: Market) -> Columns:
    """Daily prices, some restated, with the instant each became known; none later than the resolution."""
    true = np.clip(life.probabilities(), 1e-6, 1 - 1e-6)
    noise = PRICE_NOISE[life.platform] * _lasting(random, life.days)
    value = _price(expit(PRICE_SHRINKAGE * logit(true) + noise))
    day = life.opens + np.arange(life.days)
    lag_days = 1.0 + random.uniform(0.04, 0.35, life.days)
    late = random.random(life.days) < LATE_QUOTE_SHARE
    lag_days[late] += 7.0 + random.exponential(20.0, int(late.sum()))
    again = np.flatnonzero(random.random(life.days) < RESTATED_QUOTE_SHARE)
    restated = _price(value[again] + random.normal(0, 0.02, again.size))
    restated_lag_days = lag_days[again] + random.uniform(1, 4, again.size)
    days = np.concatenate([day, day[again]])
    columns = {
        "mid": np.full(days.size, life.mid, dtype=np.int32),
        "source": np.full(days.size, life.platform),
        "value_date": _dates(days),
        "value": np.concatenate([value, restated]).astype(np.float32),
        "known_at": _instants(days + np.concatenate([lag_days, restated_lag_days])),
    }
    return _where(columns, columns["known_at"] < life.resolved_at)


def _lasting(random: np.random.Generator, size: int) -> np.ndarray:
    """A stationary AR(1) series of unit variance: an error that takes weeks to go away."""
    shocks = random.normal(size=size) * np.sqrt(1 - PRICE_NOISE_MEMORY**2)
    series = np.empty(size)
    level = float(random.normal())
    for index, shock in enumerate(shocks):
        level = PRICE_NOISE_MEMORY * level + shock
        series[index] = level
    return series


def _resolutions(random: np.random.Generator, lives: list[Market], corrected: int) -> Columns:
    """The outcome of every market; a few early ones first stated wrongly, some stated again with another date."""
    early = [life.mid for life in sorted(lives, key=lambda life: life.resolved_at)[: len(lives) // 3 + 1]]
    wrong_first = set(random.choice(early, size=min(corrected, len(early)), replace=False).tolist())
    rows = []
    for life in lives:
        wrong = life.mid in wrong_first
        rows.append((life.mid, life.closes, 1.0 - life.outcome if wrong else life.outcome, life.resolved_at))
        again_at = life.resolved_at + int(_instants(random.uniform(1, 5)))
        if wrong:
            rows.append((life.mid, life.closes, life.outcome, again_at))
        elif random.random() < REDATED_SHARE:
            rows.append((life.mid, life.closes + 1, life.outcome, again_at))
    mid, closed, outcome, known_at = (np.array(column) for column in zip(*rows, strict=True))
    return {
        "mid": mid.astype(np.int32),
        "resolution_date": _dates(closed),
        "resolved_to": outcome,
        "known_at": known_at,
    }


def _snapshots(random: np.random.Generator, lives: list[Market]) -> Columns:
    """Most markets are listed by the first question set after their opening, at their true probability."""
    rows = []
    for life in lives:
        freeze = (life.opens // SNAPSHOT_EVERY_DAYS + 1) * SNAPSHOT_EVERY_DAYS
        if freeze < life.closes and random.random() < LISTED_SHARE:
            rows.append((life.mid, freeze, life.probabilities()[freeze - life.opens]))
    return {
        "mid": np.array([mid for mid, _, _ in rows], dtype=np.int32),
        "freeze_datetime": _instants([freeze for _, freeze, _ in rows]),
        "freeze_value": np.array([value for _, _, value in rows], dtype=np.float32),
    }


def _markets(lives: list[Market], listed: set[int], cut: int) -> Columns:
    """One row per market opened so far; its dates are null where no question set listed it."""
    seen = [life for life in lives if _instants(life.opens) <= cut]
    unlisted = np.array([life.mid not in listed for life in seen], dtype=bool)
    return {
        "mid": np.array([life.mid for life in seen], dtype=np.int32),
        "open_ts": pa.array(_instants([life.opens for life in seen]), UTC_INSTANT, mask=unlisted),
        "close_ts": pa.array(_instants([life.closes for life in seen]), UTC_INSTANT, mask=unlisted),
    }


def _races(lives: list[Market]) -> Columns:
    return {
        "mid": np.array([life.mid for life in lives], dtype=np.int32),
        "race_id": np.array([life.mid + 10_000 for life in lives], dtype=np.int64),
        "candidate_name": np.array([f"Candidate {life.mid}" for life in lives]),
        "known_at": _instants([life.opens + 0.5 for life in lives]),
    }


def _polls(random: np.random.Generator, life: Market) -> Columns:
    """Polls of a race, a row for the candidate and one for the rival; most known days late, a few months."""
    count = max(1, int(random.poisson(life.days / POLL_EVERY_DAYS)))
    step = np.sort(random.integers(0, life.days, count))
    noise = random.normal(0, POLL_HOUSE_NOISE) + random.normal(0, POLL_NOISE, count)
    pct = np.round(100 * np.clip(life.probabilities()[step] + noise, 0.01, 0.99), 1)
    lag_days = random.lognormal(np.log(1.8), 0.7, count)
    late = random.random(count) < LATE_POLL_SHARE
    lag_days[late] += random.uniform(20, 150, int(late.sum()))
    lag_days[random.random(count) < EARLY_POLL_SHARE] = -0.5
    ended = life.opens + step
    return {
        "question_id": np.repeat(life.mid * 1_000 + np.arange(count), 2),
        "race_id": np.full(2 * count, life.mid + 10_000, dtype=np.int64),
        "end_date": _dates(np.repeat(ended, 2)),
        # The real column carries no zone either.
        "created_at": np.repeat(_instants(ended + lag_days), 2).astype("datetime64[us]"),
        "candidate_name": np.tile(np.array([f"Candidate {life.mid}", f"Rival {life.mid}"]), count),
        "pct": np.column_stack([pct, np.round(100 - pct, 1)]).ravel(),
    }


def _trades(random: np.random.Generator, lives: list[Market], first: int) -> Columns:
    trades = _joined([_trades_of(random, life) for life in lives])
    return {"trade_id": first + np.arange(trades["mid"].size, dtype=np.int64), **trades}


def _trades_of(random: np.random.Generator, life: Market) -> Columns:
    """Trades of one market, more of them on days when the probability moves; reported minutes later."""
    true = life.probabilities()
    moves = np.abs(np.diff(true, prepend=true[0]))
    counts = random.poisson(random.gamma(2.0, 0.6) * (0.5 + 10 * moves))
    step = np.repeat(np.arange(life.days), counts)
    traded = life.opens + step + random.random(step.size)
    return {
        "mid": np.full(step.size, life.mid, dtype=np.int32),
        "traded_at": _instants(traded),
        "price": _price(true[step] + random.normal(0, 0.03, step.size)),
        "size_usd": np.round(random.lognormal(4.0, 1.2, step.size), 2),
        "known_at": _instants(traded + random.exponential(5.0, step.size) / (24 * 60)),
    }


def _truth(lives: list[Market], today: int) -> Columns:
    truth = _joined(
        [
            {
                "mid": np.full(life.days, life.mid, dtype=np.int32),
                "day": life.opens + np.arange(life.days),
                "true_probability": life.probabilities(),
            }
            for life in lives
        ]
    )
    kept = _where(truth, truth["day"] <= today)
    return {**kept, "day": _dates(kept["day"])}


def _price(value: np.ndarray) -> np.ndarray:
    return np.asarray(np.round(np.clip(value, PRICE_MIN, 1 - PRICE_MIN), 4))


def _instants(days: Any) -> Any:
    """Days since 1970 → microseconds since then, at whole seconds."""
    seconds = np.floor(np.asarray(days, dtype=np.float64) * SECONDS_PER_DAY)
    return seconds.astype(np.int64) * MICROSECONDS_PER_SECOND


def _dates(days: np.ndarray) -> np.ndarray:
    return np.asarray(days, dtype="datetime64[D]")


def _joined(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _where(columns: Columns, keep: np.ndarray) -> Columns:
    return {name: values[keep] for name, values in columns.items()}


def _until(columns: Columns, known: str, cut: int) -> Columns:
    order = np.argsort(columns[known], kind="stable")
    ordered = {name: values[order] for name, values in columns.items()}
    return _where(ordered, ordered[known].astype(np.int64) <= cut)


def _write(path: Path, columns: Columns) -> None:
    arrays = {
        name: pa.array(values, UTC_INSTANT if name in {"known_at", "freeze_datetime", "traded_at"} else None)
        for name, values in columns.items()
    }
    pq.write_table(pa.table(arrays), path, compression="zstd")
