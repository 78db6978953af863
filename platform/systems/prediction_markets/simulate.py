"""A seeded world of prediction markets in the columns of the real files, with the true probabilities beside it.

Belongs here: the random world of markets, prices, polls and trades, and what of it is known by `now`.
Does not belong here: features, labels, anything that reads the files again. `truth.parquet` is for tests, no source.

Every market follows a Brownian motion W with one step a day and resolves yes when W at its close is above zero, so that
P(yes | W_t) = Phi(W_t / sqrt(close − t)) exactly (https://en.wikipedia.org/wiki/Brownian_motion: independent normal
increments). Prices and polls are two noisy views of the same W, each with its own lateness.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import expit, logit, ndtr

PLATFORMS = ("polymarket", "manifold", "metaculus", "infer")
PLATFORM_SHARE = (0.45, 0.25, 0.25, 0.05)
# Standard deviation of the lasting error of a platform's price, in log-odds.
PLATFORM_NOISE = {"polymarket": 0.5, "manifold": 0.7, "metaculus": 0.55, "infer": 0.6}
# Prices lean to one half: the log-odds that a market shows are this share of the true ones.
FAVOURITE_SHRINKAGE = 0.9
PRICE_LIMIT = 0.003

LATE_QUOTE_SHARE = 0.045
RESTATED_QUOTE_SHARE = 0.01
LATE_POLL_SHARE = 0.05
POLLED_SHARE = 0.9
POLL_NOISE = 0.03
HOUSE_NOISE = 0.015
CORRECTED_RESOLUTIONS = 3
SHORTEST_DAYS, LONGEST_DAYS = 20, 120
REDATED_SHARE = 0.06
LISTED_SHARE = 0.93
SNAPSHOT_EVERY_DAYS = 14

SECONDS_PER_DAY = 86_400
MICROSECONDS = 1_000_000

Columns = dict[str, Any]


class Market(NamedTuple):
    """One market's hidden life: `path[d]` is W on day `opens + d`, with `days` steps to its close."""

    mid: int
    platform: str
    opens: int
    days: int
    path: np.ndarray

    @property
    def outcome(self) -> float:
        """1.0 for yes, 0.0 for no."""
        return float(self.path[-1] > 0.0)

    def probabilities(self) -> np.ndarray:
        """True probability of yes on each day before the close."""
        return ndtr(self.path[:-1] / np.sqrt(np.arange(self.days, 0, -1)))


def world(folder: Path, *, seed: int, now: datetime, markets: int = 2_000, days: int = 360) -> Path:
    """Write a world that began `days` ago, as far as it is known at `now`; returns the path of `truth.parquet`.

    The same arguments give the same bytes. About half the markets are still open at `now`. Files: quotes, resolutions,
    markets, snapshots, polls_races, market_races, trades (the sources of the system) and truth (mid, day,
    true_probability of yes given all that had happened when the day began).

    Args:
        folder: created when it is not there; existing files of these names are replaced.
        seed: of every random choice.
        now: with a zone; nothing known later is written.
        markets: how many markets open in the time.
        days: length of the history.

    Raises:
        ValueError: `now` has no zone, or there is no market or less than 30 days.
    """
    if now.tzinfo is None or markets < 1 or days < 30:
        raise ValueError(f"got now={now!r}, markets={markets}, days={days}; needs a zone, 1 market and 30 days")
    random = np.random.default_rng(seed)
    cut = int(now.timestamp()) * MICROSECONDS
    today = cut // (SECONDS_PER_DAY * MICROSECONDS)
    lives = [_market(random, mid, first_day=today - days, days=days) for mid in range(markets)]
    resolved_at = {life.mid: _micros(life.opens + life.days + random.uniform(0.1, 3.0)) for life in lives}
    quotes = _quotes(random, lives, resolved_at)
    snapshots = _snapshots(random, lives, quotes)
    races, polls = _polls(random, lives)
    tables: dict[str, tuple[Columns, str]] = {
        "quotes": (quotes, "known_at"),
        "resolutions": (_resolutions(random, lives, resolved_at), "known_at"),
        "snapshots": (snapshots, "freeze_datetime"),
        "polls_races": (polls, "created_at"),
        "market_races": (races, "known_at"),
        "trades": (_trades(random, lives), "known_at"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, (columns, known) in tables.items():
        _write(folder / f"{name}.parquet", _until(columns, known, cut))
    _write(folder / "markets.parquet", _markets(lives, _until(snapshots, "freeze_datetime", cut), cut))
    _write(folder / "truth.parquet", _truth(lives, today))
    return folder / "truth.parquet"


def _market(random: np.random.Generator, mid: int, *, first_day: int, days: int) -> Market:
    lasts = int(random.integers(SHORTEST_DAYS, LONGEST_DAYS + 1))
    start = random.normal(-0.45, 0.7) * np.sqrt(lasts)
    path = start + np.concatenate([[0.0], np.cumsum(random.normal(size=lasts))])
    platform = str(random.choice(PLATFORMS, p=PLATFORM_SHARE))
    return Market(mid, platform, first_day + int(random.integers(0, days - 5)), lasts, path)


def _quotes(random: np.random.Generator, lives: list[Market], resolved_at: dict[int, int]) -> Columns:
    parts = [_prices(random, life, resolved_at[life.mid]) for life in lives]
    return _joined(parts)


def _prices(random: np.random.Generator, life: Market, resolved_at: int) -> Columns:
    """Daily prices, some restated, each with the instant it became known; none is known after the resolution."""
    size = life.days
    noise = PLATFORM_NOISE[life.platform] * _lasting(random, size, memory=0.95)
    odds = FAVOURITE_SHRINKAGE * logit(np.clip(life.probabilities(), 1e-6, 1 - 1e-6)) + noise
    value = np.round(np.clip(expit(odds), PRICE_LIMIT, 1 - PRICE_LIMIT), 4)
    day = life.opens + np.arange(size)
    lag = 1.0 + random.uniform(0.04, 0.35, size)
    late = random.random(size) < LATE_QUOTE_SHARE
    lag[late] += 7.0 + random.exponential(20.0, int(late.sum()))
    again = np.flatnonzero(random.random(size) < RESTATED_QUOTE_SHARE)
    restated = np.round(np.clip(value[again] + random.normal(0, 0.02, again.size), PRICE_LIMIT, 1 - PRICE_LIMIT), 4)
    day, value = np.concatenate([day, day[again]]), np.concatenate([value, restated])
    lag = np.concatenate([lag, lag[again] + random.uniform(1, 4, again.size)])
    known_at = _micros(day + lag)
    columns = {
        "mid": np.full(day.size, life.mid, dtype=np.int32),
        "source": np.full(day.size, life.platform),
        "value_date": _dates(day),
        "value": value.astype(np.float32),
        "known_at": known_at,
    }
    return _where(columns, known_at < resolved_at)


def _lasting(random: np.random.Generator, size: int, *, memory: float) -> np.ndarray:
    """A stationary AR(1) series of unit variance: an error that takes weeks to go away."""
    shocks = random.normal(size=size) * np.sqrt(1 - memory**2)
    series = np.empty(size)
    level = float(random.normal())
    for index, shock in enumerate(shocks):
        level = memory * level + shock
        series[index] = level
    return series


def _resolutions(random: np.random.Generator, lives: list[Market], resolved_at: dict[int, int]) -> Columns:
    """The outcome of every market; a few first stated wrongly, some stated again with another date."""
    first_closed = sorted(lives, key=lambda life: life.opens + life.days)[: max(1, len(lives) // 3)]
    corrected = set(random.choice([life.mid for life in first_closed], size=min(3, len(first_closed)), replace=False))
    rows = []
    for life in lives:
        closes, known_at = life.opens + life.days, resolved_at[life.mid]
        stated = 1.0 - life.outcome if life.mid in corrected else life.outcome
        rows.append((life.mid, life.platform, closes, stated, known_at))
        if life.mid in corrected:
            rows.append((life.mid, life.platform, closes, life.outcome, known_at + _micros(random.uniform(2, 5))))
        elif random.random() < REDATED_SHARE:
            rows.append((life.mid, life.platform, closes + 1, stated, known_at + _micros(random.uniform(1, 9))))
    mids, sources, closing, outcomes, known = zip(*rows, strict=True)
    return {
        "mid": np.array(mids, dtype=np.int32),
        "source": np.array(sources),
        "resolution_date": _dates(np.array(closing)),
        "resolved_to": np.array(outcomes),
        "known_at": np.array(known, dtype=np.int64),
    }


def _snapshots(random: np.random.Generator, lives: list[Market], quotes: Columns) -> Columns:
    """Each market is listed by the first question set after its opening, if by any."""
    price = {
        (int(mid), int(day)): float(value)
        for mid, day, value in zip(quotes["mid"], quotes["value_date"].astype(np.int64), quotes["value"], strict=True)
    }
    rows = []
    for life in lives:
        freeze = -(-(life.opens + 1) // SNAPSHOT_EVERY_DAYS) * SNAPSHOT_EVERY_DAYS
        if random.random() < LISTED_SHARE and freeze < life.opens + life.days:
            rows.append((life.mid, life.platform, freeze, price.get((life.mid, freeze - 2), np.nan)))
    mids, sources, freezes, values = zip(*rows, strict=True) if rows else ((), (), (), ())
    return {
        "set_due_date": _dates(np.array(freezes, dtype=np.int64) + 10),
        "mid": np.array(mids, dtype=np.int32),
        "source": np.array(sources, dtype=str),
        "freeze_datetime": _micros(np.array(freezes, dtype=np.int64)),
        "freeze_value": np.array(values, dtype=np.float32),
    }


def _markets(lives: list[Market], snapshots: Columns, cut: int) -> Columns:
    """One row per market opened so far; question and dates are null where no question set listed it."""
    listed = set(snapshots["mid"].tolist())
    seen = [life for life in lives if _micros(life.opens) <= cut]
    return {
        "source": np.array([life.platform for life in seen], dtype=str),
        "market_id": np.array([f"sim-{life.mid}" for life in seen], dtype=str),
        "mid": np.array([life.mid for life in seen], dtype=np.int32),
        "question": pa.array([f"Will event {life.mid} happen?" if life.mid in listed else None for life in seen]),
        "open_ts": _instants([_micros(life.opens) if life.mid in listed else None for life in seen]),
        "close_ts": _instants([_micros(life.opens + life.days) if life.mid in listed else None for life in seen]),
    }


def _polls(random: np.random.Generator, lives: list[Market]) -> tuple[Columns, Columns]:
    """Links of markets to races, and polls of the candidate and the rival; most days late, some months."""
    polled = [life for life in lives if random.random() < POLLED_SHARE]
    parts = [_race(random, life) for life in polled]
    races = {
        "mid": np.array([life.mid for life in polled], dtype=np.int32),
        "race_id": np.array([_race_id(life) for life in polled], dtype=np.int64),
        "candidate_name": np.array([f"Candidate {life.mid}" for life in polled], dtype=str),
        "known_at": _micros(np.array([life.opens + 0.5 for life in polled])),
    }
    return races, _joined(parts)


def _race(random: np.random.Generator, life: Market) -> Columns:
    count = max(1, int(random.poisson(life.days / 2)))
    step = np.sort(random.integers(0, life.days, count))
    noise = random.normal(0, HOUSE_NOISE) + random.normal(0, POLL_NOISE, count)
    share = life.probabilities()[step] + noise
    pct = np.round(100 * np.clip(share, 0.02, 0.98), 1)
    ended = life.opens + step
    lag = random.lognormal(np.log(1.8), 0.7, count)
    late = random.random(count) < LATE_POLL_SHARE
    lag[late] += random.uniform(20, 150, int(late.sum()))
    lag[random.random(count) < 0.02] = -0.5
    question_id = np.repeat(life.mid * 1_000 + np.arange(count), 2)
    candidates = np.tile(np.array([f"Candidate {life.mid}", f"Rival {life.mid}"]), count)
    return {
        "poll_id": question_id,
        "question_id": question_id,
        "race_id": np.full(2 * count, _race_id(life), dtype=np.int64),
        "start_date": _dates(np.repeat(ended - 3, 2)),
        "end_date": _dates(np.repeat(ended, 2)),
        # The real column carries no zone.
        "created_at": np.repeat(_micros(ended + lag), 2).astype("datetime64[us]"),
        "candidate_name": candidates,
        "pct": np.column_stack([pct, np.round(100 - pct, 1)]).ravel(),
    }


def _race_id(life: Market) -> int:
    return 10_000 + life.mid


def _trades(random: np.random.Generator, lives: list[Market]) -> Columns:
    parts = [_trades_of(random, life) for life in lives if life.platform == "polymarket"]
    trades = _joined(parts or [_trades_of(random, lives[0])])
    return {"trade_id": np.arange(trades["mid"].size, dtype=np.int64), **trades}


def _trades_of(random: np.random.Generator, life: Market) -> Columns:
    true = life.probabilities()
    moves = np.abs(np.diff(true, prepend=true[0]))
    counts = random.poisson(random.gamma(2.0, 0.6) * (0.5 + 10 * moves))
    step = np.repeat(np.arange(life.days), counts)
    traded = life.opens + step + random.random(step.size)
    lag = random.exponential(5.0, step.size) / (24 * 60)
    return {
        "mid": np.full(step.size, life.mid, dtype=np.int32),
        "traded_at": _micros(traded),
        "price": np.round(np.clip(true[step] + random.normal(0, 0.03, step.size), PRICE_LIMIT, 1 - PRICE_LIMIT), 4),
        "size_usd": np.round(random.lognormal(4.0, 1.2, step.size), 2),
        "known_at": _micros(traded + lag),
    }


def _truth(lives: list[Market], today: int) -> Columns:
    parts = []
    for life in lives:
        days = life.opens + np.arange(life.days)
        columns = {
            "mid": np.full(life.days, life.mid, dtype=np.int32),
            "day": _dates(days),
            "true_probability": life.probabilities(),
        }
        parts.append(_where(columns, days <= today))
    return _joined(parts)


def _micros(days: Any) -> Any:
    """Days since 1970 → whole microseconds since then, at full seconds."""
    return np.asarray(np.floor(np.asarray(days) * SECONDS_PER_DAY), dtype=np.int64) * MICROSECONDS


def _dates(days: np.ndarray) -> np.ndarray:
    return np.asarray(days, dtype=np.int64).astype("datetime64[D]")


def _instants(micros: list[Any]) -> pa.Array:
    return pa.array([None if m is None else int(m) for m in micros], pa.timestamp("us", tz="UTC"))


def _joined(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def _where(columns: Columns, keep: np.ndarray) -> Columns:
    return {name: values[keep] for name, values in columns.items()}


def _until(columns: Columns, known: str, cut: int) -> Columns:
    """The rows known at `cut`, oldest knowledge first, as they would have been collected."""
    order = np.argsort(columns[known], kind="stable")
    kept = {name: values[order] for name, values in columns.items()}
    return _where(kept, kept[known].astype(np.int64) <= cut)


def _write(path: Path, columns: Columns) -> None:
    instants = {"known_at", "freeze_datetime", "traded_at"}
    arrays = {
        name: pa.array(values, pa.timestamp("us", tz="UTC")) if name in instants else pa.array(values)
        for name, values in columns.items()
    }
    pq.write_table(pa.table(arrays), path, compression="zstd")
