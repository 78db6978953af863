"""A seeded order book of an online shop in the file of the real source.

Belongs here: the random world of customers and orders, what of it is known by `now`, and how it goes on.
Does not belong here: features, labels, reading the file again.

Customers order at a rate of their own (gamma) while they live and leave for good after an order with a probability of
their own (beta): BG/NBD, Fader, Hardie and Lee 2005, Marketing Science 24, 275. The shop's season makes everybody order
more in autumn, so that the share of customers who do not come back moves through the year.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

DAYS_OF_SEASON = 365.25
# Orders come at between 0.9 and 1.1 times the yearly mean, most in late October: enough to see, and not so much that a
# model of last season's answers misses this one's. The real shop swings far more.
SEASON_SWING = 0.1
BUSIEST_DAY_OF_YEAR = 300
MEAN_GAP_DAYS = 45.0
RATE_SHAPE = 0.9
LEAVES_A, LEAVES_B = 0.9, 4.0
# Orders after `now` are drawn four weeks at a time, so that a book that goes on further has the same past.
BLOCK_DAYS = 28
# The shop is older than its book: customers of this long before it are there from its first day.
BEFORE_DAYS = 400
CANCEL_SHARE = 0.12
HOME_SHARE = 0.9
ABROAD = ("EIRE", "France", "Germany")
FIRST_CUSTOMER = 12_346
OPEN_SECONDS, CLOSE_SECONDS = 8 * 3_600, 18 * 3_600
SECONDS_PER_DAY = 86_400
SATURDAY = 2  # 3 January 1970, in days since the first; the shop rests then

Columns = dict[str, np.ndarray]


class Customer(NamedTuple):
    """Somebody who may order again: orders a day, and how likely an order is the last."""

    customer_id: int
    rate: float
    leaves: float


class Habit(NamedTuple):
    """What stays the same from order to order."""

    size: float
    country: str


def world(
    folder: Path, *, seed: int, now: datetime, until: datetime | None = None, customers: int = 4_000, days: int = 600
) -> Path:
    """Write an order book that begins `days` before `now` and ends with what is known at `until`.

    The same arguments give the same bytes, a later `until` the same rows and those known since. Customers come at an
    even rate, since long before the book begins.

    Args:
        folder: made when it is not there; a file of this name is replaced.
        seed: of every random choice.
        now: with a zone; the history leads up to it.
        until: nothing known later is written; `now` when not given.
        customers: how many come until `now`, some of them gone before the book begins.
        days: length of the history at `now`.

    Returns:
        The path of `online_retail_orders.parquet`.

    Raises:
        ValueError: `now` has no zone, there is no customer, or the history is shorter than 400 days.
    """
    if now.tzinfo is None or customers < 1 or days < 400:
        given = f"now={now.isoformat()}, customers={customers}, days={days}"
        raise ValueError(f"got {given}; now needs a zone, customers at least 1, days at least 400")
    random = np.random.default_rng(seed)
    until = until or now
    begin, last = (int(at.timestamp()) // SECONDS_PER_DAY for at in (now, until))
    ordered, stay = _orders(random, customers=customers, first_day=begin - days, days=days)
    habits: dict[int, Habit] = {}
    parts = [_with_cancels(random, _priced(random, ordered, habits))]
    for random_, later in _later(seed, stay, begin + 1, last, newcomers=(customers, customers / (BEFORE_DAYS + days))):
        parts.append(_with_cancels(random_, _priced(random_, later, habits)))
    booked = _until(_joined(parts), int(until.timestamp()))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "online_retail_orders.parquet"
    pq.write_table(_table(booked), path, compression="zstd")
    return path


def _orders(
    random: np.random.Generator, *, customers: int, first_day: int, days: int
) -> tuple[Columns, list[Customer]]:
    """Customer and second of every order, and the customers who have not left when the days are over."""
    rate = random.gamma(RATE_SHAPE, 1.0 / (RATE_SHAPE * MEAN_GAP_DAYS), customers) + 1 / 400
    leaves = random.beta(LEAVES_A, LEAVES_B, customers)
    starts = random.uniform(-BEFORE_DAYS, days, customers)
    ids, at, stay = [], [], []
    for customer in range(customers):
        every = _life(random, rate[customer], leaves[customer], start=float(starts[customer]), days=days)
        if every[-1] >= days:
            stay.append(Customer(FIRST_CUSTOMER + customer, float(rate[customer]), float(leaves[customer])))
        times = every[every < days]
        kept = times[random.random(times.size) < _season(first_day + times)]
        # The first order is what makes a customer: no season takes it away.
        times = np.union1d(kept, times[:1])
        times = times[times >= 0]
        ids.append(np.full(times.size, FIRST_CUSTOMER + customer))
        at.append(times)
    return _ordered(random, ids, at, first_day=first_day), stay


def _ordered(random: np.random.Generator, ids: list[np.ndarray], at: list[np.ndarray], *, first_day: int) -> Columns:
    seconds = _opening(random, first_day + np.floor(np.concatenate(at)).astype(np.int64))
    return {"customer_id": np.concatenate(ids), "second": seconds}


def _life(random: np.random.Generator, rate: float, leaves: float, *, start: float, days: int) -> np.ndarray:
    """Days of one customer's orders, were every season the busiest; those after the book's end show that he stays."""
    busiest = rate * (1.0 + SEASON_SWING)
    orders = int(random.geometric(max(leaves, 1e-3)))
    gaps = random.exponential(1.0 / busiest, min(orders, 2 + int(4 * busiest * (days + BEFORE_DAYS))))
    gaps[0] *= 0.2
    return np.asarray(start + np.cumsum(gaps))


def _later(
    seed: int, stay: list[Customer], begin: int, last: int, *, newcomers: tuple[int, float]
) -> Iterator[tuple[np.random.Generator, Columns]]:
    """Orders from day `begin` on, block by block until the one that holds `last`.

    Gaps between orders are exponential and every order is as likely the last, so who stays is all that a block needs to
    know of those before it. `newcomers` are how many customers there were before and how many come a day.
    """
    size = max(1, round(newcomers[1] * BLOCK_DAYS))
    for number, first_day in enumerate(range(begin, last + 1, BLOCK_DAYS), start=1):
        random = np.random.default_rng([seed, number])
        rate = random.gamma(RATE_SHAPE, 1.0 / (RATE_SHAPE * MEAN_GAP_DAYS), size) + 1 / 400
        leaves = random.beta(LEAVES_A, LEAVES_B, size)
        first_id = FIRST_CUSTOMER + newcomers[0] + (number - 1) * size
        came = [Customer(first_id + i, float(rate[i]), float(leaves[i])) for i in range(size)]
        ids, at, left = [], [], set()
        for customer in [*stay, *came]:
            begins = float(random.uniform(0, BLOCK_DAYS)) if customer.customer_id >= first_id else None
            times, stays = _block(random, customer, first_day=first_day, begins=begins)
            ids.append(np.full(times.size, customer.customer_id))
            at.append(times)
            left |= set() if stays else {customer.customer_id}
        stay = [customer for customer in [*stay, *came] if customer.customer_id not in left]
        yield random, _ordered(random, ids, at, first_day=first_day)


def _block(
    random: np.random.Generator, customer: Customer, *, first_day: int, begins: float | None
) -> tuple[np.ndarray, bool]:
    """Days of one customer's orders in a block, the first at `begins` where he is new; does he stay after them?"""
    since = begins or 0.0
    count = int(random.poisson(customer.rate * (1.0 + SEASON_SWING) * (BLOCK_DAYS - since)))
    times = np.sort(random.uniform(since, BLOCK_DAYS, count))
    times = times if begins is None else np.append(since, times)
    lasts = int(random.geometric(max(customer.leaves, 1e-3)))
    is_kept = random.random(times.size) < _season(first_day + times)
    is_kept[: int(begins is not None)] = True
    return times[:lasts][is_kept[:lasts]], lasts > times.size


def _season(day: np.ndarray) -> np.ndarray:
    """Share of the busiest rate on a day since 1970: thinning of a Poisson process."""
    phase = 2 * np.pi * (day - BUSIEST_DAY_OF_YEAR) / DAYS_OF_SEASON
    return np.asarray((1.0 + SEASON_SWING * np.cos(phase)) / (1.0 + SEASON_SWING))


def _opening(random: np.random.Generator, day: np.ndarray) -> np.ndarray:
    """A whole minute of a day's opening hours, in seconds since 1970; of a Saturday the Sunday after."""
    open_day = day + (day % 7 == SATURDAY)
    minute = random.integers(OPEN_SECONDS // 60, CLOSE_SECONDS // 60, day.size)
    return np.asarray(open_day * SECONDS_PER_DAY + minute * 60)


def _priced(random: np.random.Generator, orders: Columns, habits: dict[int, Habit]) -> Columns:
    """Orders with what was bought: big customers buy more each time. Habits of customers not yet known are added."""
    ids, index = np.unique(orders["customer_id"], return_inverse=True)
    sizes = random.lognormal(0.0, 0.5, ids.size)
    size = np.array([habits[c].size if c in habits else s for c, s in zip(ids.tolist(), sizes, strict=True)])[index]
    lines = 1 + random.poisson(12 * size)
    units = lines * (1 + random.poisson(8, lines.size))
    amount = np.round(units * random.lognormal(0.5, 0.4, lines.size), 2)
    home = random.random(ids.size) < HOME_SHARE
    countries = np.where(home, "United Kingdom", random.choice(ABROAD, ids.size)).tolist()
    for customer, *habit in zip(ids.tolist(), sizes.tolist(), countries, strict=True):
        habits.setdefault(customer, Habit(*habit))
    country = np.array([habits[customer].country for customer in ids.tolist()])[index]
    kind = np.full(lines.size, "order")
    return {**orders, "kind": kind, "lines": lines, "units": units, "amount": amount, "country": country}


def _with_cancels(random: np.random.Generator, orders: Columns) -> Columns:
    """Some orders come back in part, hours to days later."""
    back = np.flatnonzero(random.random(orders["second"].size) < CANCEL_SHARE)
    cancels = {name: values[back] for name, values in orders.items()}
    part = random.uniform(0.05, 0.6, back.size)
    later = (random.exponential(4.0, back.size) * 1_440).astype(np.int64) * 60
    cancels["second"] = cancels["second"] + later
    cancels["kind"] = np.full(back.size, "cancel")
    cancels["lines"] = np.maximum(1, (cancels["lines"] * part).astype(np.int64))
    cancels["units"] = -np.maximum(1, (cancels["units"] * part).astype(np.int64))
    cancels["amount"] = -np.round(cancels["amount"] * part, 2)
    return _joined([orders, cancels])


def _joined(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _until(booked: Columns, cut: int) -> Columns:
    """Rows known at `cut` in the order in which they were booked, one for each customer, minute and kind."""
    order = np.lexsort((booked["kind"], booked["customer_id"], booked["second"]))
    ordered = {name: values[order] for name, values in booked.items()}
    same = np.ones(order.size, dtype=bool)
    for name in ("second", "customer_id", "kind"):
        same[1:] &= ordered[name][1:] == ordered[name][:-1]
    same[0] = False
    kept = ~same & (ordered["second"] <= cut)
    return {name: values[kept] for name, values in ordered.items()}


def _table(booked: Columns) -> pa.Table:
    # The real column carries no zone and London's time; the simulated shop's minutes are those of UTC, moved there.
    london = pa.array(booked["second"], pa.timestamp("s", tz="Europe/London")).cast(
        pa.timestamp("ms", tz="Europe/London")
    )
    return pa.table(
        {
            "customer_id": pa.array(booked["customer_id"], pa.int32()),
            "ts": pc.local_timestamp(london),
            "kind": pa.array(booked["kind"]),
            "lines": pa.array(booked["lines"], pa.int64()),
            "units": pa.array(booked["units"], pa.int32()),
            "products": pa.array(booked["lines"], pa.int64()),
            "amount": pa.array(booked["amount"], pa.float32()),
            "country": pa.array(booked["country"]),
        }
    )
