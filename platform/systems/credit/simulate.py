"""A seeded card book in the two files of the real source: clients, and a statement a month.

Belongs here: the random world of clients and statements, and what of it is known by `now`.
Does not belong here: features, labels, reading the files again.

Clients pay on time at a rate of their own (beta) and once late stay so at another: a Markov chain of payment status,
which roll-rate tables assume. The chain runs a year before the book begins, so that its months are alike.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

STATEMENT_DAYS = 31
BURN_IN_MONTHS = 12
LATE_A, LATE_B = 0.35, 2.5
# How often a late client stays late: by the same weakness, so that a habit tells more than one statement.
STAYS_LATE_MIN, STAYS_LATE_MORE = 0.25, 0.7
EDUCATION = {1: 0.35, 2: 0.46, 3: 0.16, 4: 0.03}
LIMITS_NTD = (20_000, 50_000, 80_000, 120_000, 200_000, 300_000, 500_000)


def world(
    folder: Path, *, seed: int, now: datetime, until: datetime | None = None, clients: int = 1_000, months: int = 11
) -> tuple[Path, Path]:
    """Write a card book of the `months` whose statements are known at `now`, and of those known since at `until`.

    The same arguments give the same bytes, a later `until` the same rows and those known since.

    Args:
        folder: made when it is not there; files of these names are replaced.
        seed: of every random choice.
        now: with a zone; the months lead up to it.
        until: nothing known later is written; `now` when not given.
        clients: how many have a card.
        months: statements of each that are known at `now`.

    Returns:
        The paths of `taiwan_clients.parquet` and `taiwan_monthly.parquet`.

    Raises:
        ValueError: `now` has no zone, there is no client, or there are fewer than 5 months.
    """
    if now.tzinfo is None or clients < 1 or months < 5:
        given = f"now={now.isoformat()}, clients={clients}, months={months}"
        raise ValueError(f"got {given}; now needs a zone, clients at least 1, months at least 5")
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    limit = random.choice(LIMITS_NTD, clients).astype(np.float64)
    # A small limit goes to whom the bank trusts less.
    weakness = np.clip(random.beta(LATE_A, LATE_B, clients) * (1.6 - 0.25 * np.log10(limit / 10_000)), 0.001, 0.9)
    paths = folder / "taiwan_clients.parquet", folder / "taiwan_monthly.parquet"
    pq.write_table(_clients(random, limit), paths[0], compression="zstd")
    told = _months(now, until or now, months)
    pq.write_table(_statements(random, limit, weakness, told), paths[1], compression="zstd")
    return paths


def _months(now: datetime, until: datetime, count: int) -> list[date]:
    """First days of the newest months whose statement is known at `now` and those known by `until`, oldest first."""
    newest, last = ((at - timedelta(days=STATEMENT_DAYS)).date().replace(day=1) for at in (now, until))
    found = [newest]
    while len(found) < count:
        found.insert(0, (found[0] - timedelta(days=1)).replace(day=1))
    while found[-1] < last:
        found.append((found[-1] + timedelta(days=31)).replace(day=1))
    return found


def _clients(random: np.random.Generator, limit: np.ndarray) -> pa.Table:
    size = limit.size
    return pa.table(
        {
            "id": pa.array(np.arange(1, size + 1), pa.int64()),
            "limit_bal": pa.array(limit),
            "sex": pa.array(random.choice((1, 2), size, p=(0.4, 0.6)), pa.int64()),
            "education": pa.array(random.choice(list(EDUCATION), size, p=list(EDUCATION.values())), pa.int64()),
            "marriage": pa.array(random.choice((1, 2, 3), size, p=(0.45, 0.53, 0.02)), pa.int64()),
            "age": pa.array(np.clip(random.normal(36, 9, size), 21, 79).astype(np.int64)),
        }
    )


def _statements(random: np.random.Generator, limit: np.ndarray, weakness: np.ndarray, months: list[date]) -> pa.Table:
    size = limit.size
    usage = random.beta(1.2, 2.0, size)
    idle = random.random(size) < 0.15
    status = np.zeros(size, dtype=np.int64)
    columns: dict[str, list[np.ndarray]] = {"id": [], "pay_status": [], "bill_amt": [], "pay_amt": []}
    for month in range(BURN_IN_MONTHS + len(months)):
        status = _next(random, status, weakness=weakness * (0.5 + usage), idle=idle)
        usage = np.clip(usage + random.normal(0.0, 0.05, size) + 0.02 * (status >= 2), 0.0, 1.2)
        usage += 0.05 * (0.4 - usage)
        bill = np.where(idle, 0.0, np.round(usage * limit))
        share = np.where(status >= 2, random.uniform(0.0, 0.03, size), random.uniform(0.03, 0.2, size))
        paid = np.round(np.where(status == -1, bill, share * bill))
        if month >= BURN_IN_MONTHS:
            for name, values in zip(columns, (np.arange(1, size + 1), status, bill, paid), strict=True):
                columns[name].append(values)
    whole = {name: np.concatenate(values) for name, values in columns.items()}
    return pa.table(
        {
            "id": pa.array(whole["id"], pa.int64()),
            "month": pa.array(np.repeat(np.array(months, dtype="datetime64[D]"), size), pa.date32()),
            "pay_status": pa.array(whole["pay_status"], pa.int8()),
            "bill_amt": pa.array(whole["bill_amt"].astype(np.int64), pa.int32()),
            "pay_amt": pa.array(whole["pay_amt"].astype(np.int64), pa.int32()),
        }
    )


def _next(random: np.random.Generator, status: np.ndarray, *, weakness: np.ndarray, idle: np.ndarray) -> np.ndarray:
    """Next month's status: late clients pay up or fall further behind, others stay on time or fall behind."""
    was_late = status >= 2
    late = random.random(status.size) < np.where(was_late, STAYS_LATE_MIN + STAYS_LATE_MORE * weakness, weakness)
    deeper = random.random(status.size) < 0.15
    fallen = np.where(was_late, np.minimum(status + deeper, 8), 2)
    on_time = np.where(random.random(status.size) < 0.25, -1, 0)
    found = np.where(late, fallen, on_time)
    return np.asarray(np.where(idle, -2, found))
