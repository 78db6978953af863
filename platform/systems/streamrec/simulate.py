"""A seeded world of films, users, ratings and a shop's impressions in the files of the real sources.

Belongs here: the random world, what of it is known by `now`, and how it goes on.
Does not belong here: features, labels, reading the files again.

Users come at an even rate and rate in visits, as the real ones do. What they pick depends on how well a film is known
and on their own genres, what they like on its quality and those genres: popularity is good, and not the best.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

GENRES = ("Action", "Adventure", "Animation", "Comedy", "Crime", "Drama", "Horror", "Musical", "Romance", "Thriller")
GENDERS = ("M", "F")
FEMALE_SHARE = 0.3
RATINGS_MEAN = 70
SECONDS_BETWEEN = 20
RETURNS_SHARE = 0.25
TASTE = 1.2
SECONDS_PER_DAY = 86_400
# Users that come after `now` are drawn four weeks at a time, so that a world that goes on further has the same past.
BLOCK_DAYS = 28
BLOCK_SECONDS = BLOCK_DAYS * SECONDS_PER_DAY
CAMPAIGNS = {"men": 34, "women": 46}
IMPRESSIONS = 8_000
CLICK_RATE = 0.08
POSITIONS = 3

Columns = dict[str, np.ndarray]


def world(
    folder: Path,
    *,
    seed: int,
    now: datetime,
    until: datetime | None = None,
    users: int = 250,
    films: int = 500,
    days: int = 180,
) -> Path:
    """Write the four files of a service that began `days` before `now`, with what is known at `until`.

    The same arguments give the same bytes, a later `until` the same rows and those known since. The shop's impressions
    are those of the week before `now`. Gives the folder.

    Args:
        folder: made when it is not there; files of these names are replaced.
        seed: of every random choice.
        now: with a zone; the history leads up to it.
        until: nothing known later is written; `now` when not given.
        users: how many come until `now`, at an even rate that lasts.
        films: size of the catalogue.
        days: length of the history at `now`.

    Raises:
        ValueError: `now` has no zone, or there are too few users, films (250) or days (60).
    """
    if now.tzinfo is None or users < 1 or films < 250 or days < 60:
        given = f"now={now.isoformat()}, users={users}, films={films}, days={days}"
        raise ValueError(f"got {given}; now needs a zone, users at least 1, films at least 250, days at least 60")
    random = np.random.default_rng(seed)
    begin, cut = int(now.timestamp()), int((until or now).timestamp())
    catalogue = _catalogue(random, films)
    ratings, people = [], []
    for drawn, who, came in [
        (random, range(1, users + 1), (begin - days * SECONDS_PER_DAY, begin)),
        *_later(seed, range(begin, cut, BLOCK_SECONDS), first_user=users + 1, size=round(users / days * BLOCK_DAYS)),
    ]:
        ratings.append(_ratings(drawn, catalogue, users=who, came=came))
        people.append(_users_table(drawn, who))
    known = _known(ratings, cut)
    # Who comes after `now` is a user from the first rating on.
    seen = np.union1d(np.arange(1, users + 1), known["user_id"])
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "ml100k_interactions.parquet", _ratings_table(known))
    _write(folder / "ml100k_items.parquet", _films_table(catalogue))
    _write(folder / "ml100k_users.parquet", pa.concat_tables(people).filter(pc.field("user_id").isin(seen)))
    _write(folder / "obd_impressions.parquet", _impressions_table(random, cut=begin))
    return folder


def _later(
    seed: int, begins: range, *, first_user: int, size: int
) -> Iterator[tuple[np.random.Generator, range, tuple[int, int]]]:
    """Who comes after the first ones, block by block, and between which seconds."""
    size = max(1, size)
    for number, begin in enumerate(begins):
        users = range(first_user + number * size, first_user + (number + 1) * size)
        yield np.random.default_rng([seed, number + 1]), users, (begin, begin + BLOCK_SECONDS)


def _catalogue(random: np.random.Generator, films: int) -> Columns:
    """Genres (films, genres) 0/1, year, how well known, how good."""
    belongs = random.random((films, len(GENRES))) < 0.12
    belongs[np.arange(films), random.integers(0, len(GENRES), films)] = True
    return {
        "genres": belongs.astype(np.float64),
        "year": 1998 - np.floor(random.exponential(8.0, films)).astype(np.int64),
        "known": random.normal(0.0, 1.0, films),
        "good": random.normal(0.0, 0.5, films),
    }


def _ratings(random: np.random.Generator, films: Columns, *, users: range, came: tuple[int, int]) -> Columns:
    """Every rating of users who come between two seconds, however late."""
    ids, items, stars, at = [], [], [], []
    count = films["known"].size
    share = films["genres"] / films["genres"].sum(axis=1, keepdims=True)
    for user in users:
        affinity = share @ random.normal(0.0, TASTE, len(GENRES))
        wanted = min(20 + int(random.geometric(1 / (RATINGS_MEAN - 20))), count // 2)
        # Gumbel's trick: the largest of utility + noise is a draw without replacement.
        utility = films["known"] + affinity + 0.3 * films["good"]
        picked = np.argsort(-(utility + random.gumbel(0.0, 1.0, count)))[:wanted]
        random.shuffle(picked)
        level = 3.5 + 0.6 * films["good"][picked] + 0.6 * affinity[picked] + random.normal(0.0, 0.8, wanted)
        ids.append(np.full(wanted, user))
        items.append(picked + 1)
        stars.append(np.clip(np.round(level), 1, 5).astype(np.int64))
        at.append(_moments(random, wanted, begins=int(random.uniform(*came))))
    found = {"user_id": np.concatenate(ids), "item_id": np.concatenate(items)}
    return found | {"rating": np.concatenate(stars), "second": np.concatenate(at)}


def _known(ratings: list[Columns], cut: int) -> Columns:
    """The ratings known at `cut`, in the order in which they were given."""
    found = {name: np.concatenate([part[name] for part in ratings]) for name in ratings[0]}
    order = np.lexsort((found["item_id"], found["user_id"], found["second"]))
    return {name: values[order][found["second"][order] <= cut] for name, values in found.items()}


def _moments(random: np.random.Generator, count: int, *, begins: int) -> np.ndarray:
    """One visit, every few seconds a rating; some users come back days later for the rest."""
    pauses = random.geometric(1 / SECONDS_BETWEEN, count)
    if random.random() < RETURNS_SHARE:
        pauses[count // 2] += int(random.exponential(10.0) * SECONDS_PER_DAY)
    return np.asarray(begins + np.cumsum(pauses))


def _impressions_table(random: np.random.Generator, *, cut: int) -> pa.Table:
    """Two policies side by side: one uniform, one that shows what it thinks is clicked, and more so at good hours.

    By day people click more and the second policy is surer of itself: what it prefers looks better than it is.
    """
    parts: list[Columns] = []
    for campaign, items in CAMPAIGNS.items():
        appeal = random.normal(0.0, 0.4, items)
        belief = 0.5 * appeal + random.normal(0.0, 0.3, items)
        for policy in ("random", "bts"):
            day = random.random(IMPRESSIONS) < 0.5
            sure = np.where(day, 3.0, 0.0) if policy == "bts" else np.zeros(IMPRESSIONS)
            weight = np.exp(sure[:, None] * belief[None, :])
            chance = weight / weight.sum(axis=1, keepdims=True)
            item = (chance.cumsum(axis=1) < random.random((IMPRESSIONS, 1))).sum(axis=1).clip(0, items - 1)
            position = random.integers(1, POSITIONS + 1, IMPRESSIONS)
            rate = CLICK_RATE * np.exp(appeal[item] + np.where(day, 0.9, -0.9)) / position**0.3
            second = cut - SECONDS_PER_DAY * 7 + np.sort(random.integers(0, SECONDS_PER_DAY * 7, IMPRESSIONS))
            parts.append({
                "policy": np.full(IMPRESSIONS, policy), "campaign": np.full(IMPRESSIONS, campaign), "second": second,
                "item_id": item, "position": position,
                "click": (random.random(IMPRESSIONS) < np.minimum(rate, 1.0)).astype(np.int64),
                "action_prob": chance[np.arange(IMPRESSIONS), item],
            })  # fmt: skip
    every = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return pa.table(
        {
            "impression_id": pa.array(np.arange(every["click"].size), pa.int32()),
            "policy": pa.array(every["policy"]),
            "campaign": pa.array(every["campaign"]),
            "ts": _times(every["second"]),
            "item_id": pa.array(every["item_id"], pa.int16()),
            "position": pa.array(every["position"], pa.int16()),
            "click": pa.array(every["click"], pa.int16()),
            "action_prob": pa.array(every["action_prob"], pa.float64()),
        }
    )


def _ratings_table(ratings: Columns) -> pa.Table:
    return pa.table(
        {
            "user_id": pa.array(ratings["user_id"], pa.int16()),
            "item_id": pa.array(ratings["item_id"], pa.int16()),
            "rating": pa.array(ratings["rating"], pa.int8()),
            "ts": _times(ratings["second"]),
        }
    )


def _films_table(films: Columns) -> pa.Table:
    names = [" ".join(name for name, has in zip(GENRES, row, strict=True) if has) for row in films["genres"]]
    ids = [str(number + 1) for number in range(len(names))]
    return pa.table(
        {
            "item_id": pa.array(ids),
            "movie_title": pa.array([f"Film {number}" for number in ids]),
            "release_year": pa.array([str(year) for year in films["year"]]),
            "class": pa.array(names),
        }
    )


def _users_table(random: np.random.Generator, users: range) -> pa.Table:
    count = len(users)
    return pa.table(
        {
            "user_id": pa.array(users, pa.int64()),
            "age": pa.array(np.clip(random.normal(33.0, 11.0, count), 10, 75).astype(np.int64)),
            "gender": pa.array(np.where(random.random(count) < FEMALE_SHARE, GENDERS[1], GENDERS[0])),
        }
    )


def _times(second: np.ndarray) -> pa.Array:
    return pa.array(second * 1_000, pa.timestamp("ms", tz="UTC"))


def _write(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path, compression="zstd")
