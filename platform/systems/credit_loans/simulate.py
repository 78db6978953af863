"""A seeded lender in the three files of the real source: loans to be scored, loans before them, customers.

Belongs here: the random world of customers and their loans, and what of it is known by `now`.
Does not belong here: features, labels, reading the files again.

Each customer has a habit of being late (beta) and borrows again soon after paying back. As in the real files every
customer has one newest loan that is scored, and a past that is paid back; creation is UTC, other times are Lagos time.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# Lagos has no summer time.
LAGOS_US = 3_600_000_000
DAY_US = 86_400_000_000
TOLD_DAYS = 92
SCORED_DAYS = 240
FIRST_LOAN_ID = 300_000_000
TERMS_DAYS, TERM_SHARES = (15, 30, 60, 90), (0.3, 0.6, 0.08, 0.02)
INTEREST = {15: 0.15, 30: 0.3, 60: 0.3, 90: 0.4}
EMPLOYMENT = ("Permanent", "Self-Employed", "Student", "Unemployed", None)
LATE_A, LATE_B = 0.5, 1.6

Columns = dict[str, np.ndarray]


def world(
    folder: Path, *, seed: int, now: datetime, until: datetime | None = None, customers: int = 2_500
) -> tuple[Path, Path, Path]:
    """Write a lender's files with the loans approved by `now`, as they are at `until`.

    The same arguments give the same bytes. A later `until` gives the same rows with the outcomes known since: the files
    hold the newest loan of each customer and those before it, so a further loan would take a scored one away.

    Args:
        folder: made when it is not there; files of these names are replaced.
        seed: of every random choice.
        now: with a zone; nobody borrows later.
        until: no outcome known later is written; `now` when not given.
        customers: how many have a loan to be scored.

    Returns:
        The paths of the files of loans, previous loans and customers.

    Raises:
        ValueError: `now` has no zone, or there is no customer.
    """
    if now.tzinfo is None or customers < 1:
        raise ValueError(f"got now={now.isoformat()}, customers={customers}; now needs a zone, customers at least 1")
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    now_us = round(now.timestamp()) * 1_000_000
    every = _loans(random, customers, now_us)
    scored = every["is_scored"]
    told = every["approved_us"] + TOLD_DAYS * DAY_US <= round((until or now).timestamp()) * 1_000_000
    names = ("loans", "previous_loans", "customers")
    loans, past, people = (folder / f"superlender_{name}.parquet" for name in names)
    pq.write_table(_scored(every, scored, told), loans, compression="zstd")
    pq.write_table(_past(every, ~scored), past, compression="zstd")
    pq.write_table(_customers(random, customers, now), people, compression="zstd")
    return loans, past, people


def _loans(random: np.random.Generator, customers: int, now_us: int) -> Columns:
    """Every loan in the order of approval: each customer's one after the other, the last of them scored."""
    habit = random.beta(LATE_A, LATE_B, customers)
    past = random.geometric(0.25, customers)
    customer = np.repeat(np.arange(customers), past + 1)
    number = np.concatenate([np.arange(1, count + 2) for count in past])
    size = customer.size
    term = random.choice(TERMS_DAYS, size, p=TERM_SHARES)
    late = random.random(size) < habit[customer]
    early_days, late_days = random.beta(4.0, 1.0, size) * term, term + 1.2 + random.exponential(8.0, size)
    run_days = np.where(late, late_days, np.minimum(early_days + 0.5, term + 0.9))
    # Whoever pays late waits longer for the next loan.
    gap_days = random.exponential(np.where(late, 15.0, 6.0)) + 0.05
    scored = np.append(customer[1:] != customer[:-1], True)
    scored_us = now_us - (random.random(customers) * SCORED_DAYS * DAY_US).astype(np.int64) - DAY_US // 24
    # From each loan to the scored one of its customer: what lies between, counted from the end.
    span = ((run_days + gap_days) * DAY_US).astype(np.int64)
    ahead = np.cumsum(span[::-1])[::-1]
    last = np.flatnonzero(scored)
    approved = scored_us[customer] - (ahead - ahead[last][customer])
    amount = np.minimum(10_000 * (1 + (number - 1) // 3), 60_000)
    due = amount * (1.0 + np.array([INTEREST[days] for days in term]))
    columns = {
        "customer_id": customer, "loannumber": number, "termdays": term, "loanamount": amount,
        "totaldue": due.astype(np.int64), "approved_us": approved, "is_late": late, "is_scored": scored,
        "closed_us": approved + (run_days * DAY_US).astype(np.int64),
        "asked_seconds": random.integers(4, 12, size),
    }  # fmt: skip
    order = np.lexsort((customer, approved))
    return {name: values[order] for name, values in columns.items()} | {"systemloanid": FIRST_LOAN_ID + np.arange(size)}


def _terms(every: Columns, rows: np.ndarray) -> dict[str, pa.Array]:
    """What is known of a loan when it is approved."""
    approved = every["approved_us"][rows]
    return {
        "systemloanid": pa.array(every["systemloanid"][rows], pa.int64()),
        "loannumber": pa.array(every["loannumber"][rows].astype(np.int32)),
        "approveddate": _lagos(approved),
        "creationdate": pa.array(approved - every["asked_seconds"][rows] * 1_000_000, pa.timestamp("us")),
        "loanamount": pa.array(every["loanamount"][rows].astype(np.int32)),
        "totaldue": pa.array(every["totaldue"][rows].astype(np.int32)),
        "termdays": pa.array(every["termdays"][rows].astype(np.int32)),
        "customer_id": pa.array(every["customer_id"][rows].astype(np.int32)),
    }


def _scored(every: Columns, rows: np.ndarray, told: np.ndarray) -> pa.Table:
    bad = pa.array(every["is_late"][rows].astype(np.int8), mask=~told[rows])
    return pa.table({**_terms(every, rows), "bad": bad})


def _past(every: Columns, rows: np.ndarray) -> pa.Table:
    closed = every["closed_us"][rows]
    due = every["approved_us"][rows] + every["termdays"][rows] * DAY_US
    midnight = (due + LAGOS_US) // DAY_US * DAY_US
    times = {
        "closeddate": _lagos(closed),
        "firstduedate": pa.array(midnight, pa.timestamp("us")),
        "firstrepaiddate": _lagos(closed - 60_000_000),
    }
    return pa.table({**_terms(every, rows), **times})


def _customers(random: np.random.Generator, size: int, now: datetime) -> pa.Table:
    born = [now.date() - timedelta(days=int(days)) for days in random.integers(7_600, 19_000, size)]
    employment = random.choice(len(EMPLOYMENT), size, p=(0.72, 0.08, 0.03, 0.02, 0.15))
    return pa.table(
        {
            "birthdate": pa.array(born, pa.date32()),
            "employment_status_clients": pa.array([EMPLOYMENT[code] for code in employment], pa.string()),
            "customer_id": pa.array(np.arange(size, dtype=np.int32)),
        }
    )


def _lagos(instants_us: np.ndarray) -> pa.Array:
    """Instants as naive times of Lagos."""
    return pa.array(instants_us + LAGOS_US, pa.timestamp("us"))
