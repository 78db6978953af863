"""The population: every entity that could have been asked about, with its features as they were known then.

Belongs here: rows for batch scoring and drift, made by the same join as training rows.
Does not belong here: labels (`training_set.py`), scoring (`learn/score.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import pandas as pd

from forecastle.contract.load import LoadedSystem
from forecastle.store.delta_log import TableName
from forecastle.store.feature_views import KIND as FEATURES
from forecastle.store.sql import column_list, instant
from forecastle.store.training_set import answerable, join_features, with_on_demand
from forecastle.store.warehouse import Warehouse

WEEK: Final = timedelta(days=7)
# The Monday that begins the first whole week after 1 January 1970, a Thursday.
A_MONDAY: Final = datetime(1970, 1, 5, tzinfo=UTC)


def population(
    warehouse: Warehouse, system: LoadedSystem, *, now: datetime, window: timedelta = timedelta(0)
) -> pd.DataFrame:
    """Every answerable entity at `now`; with a window instead at each Monday 00:00 UTC within it, the newest always.

    A window is for comparison with training rows. Its instants do not move with `now`, so that what repeats with the
    week (when prices arrive, when lists are published) is the same at every look, and the same as in labels that are
    asked on Mondays.

    Columns: entity keys, predict_at (UTC), every feature, and the times of each view's row; sorted by keys and
    predict_at. Features are those known at `predict_at`, also for the weeks before.

    Raises:
        StoreError: a feature view was never published.
    """
    instants = _mondays(now, window) if window else [now]
    declared = system.declaration
    keys = tuple(declared.entity_of_label().keys)
    with warehouse.connect() as connection:
        tables = {
            f"__keys_{name}": TableName(system.name, FEATURES, name)
            for name, view in declared.feature_views.items()
            if set(keys) <= set(declared.entity[view.entity].keys)
        }
        warehouse.attach(connection, tables)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE __asked AS {_grid(list(tables), keys, instants)}")
        joined, _ = join_features(warehouse, system, connection, labels="__asked", now=now)
        frame = connection.sql(f"SELECT * FROM {joined.relation}").to_arrow_table().to_pandas()
    return answerable(system, with_on_demand(system, frame))


def one_row_each(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """One row of every entity, in the order given: of the n-th entity (by key) its n-th row, counted round.

    Rows of one entity are no independent draws; taken like this they are spread over its life and always the same.
    """
    by = rows.groupby(list(keys), sort=True)
    chosen = by.cumcount() == by.ngroup() % by[keys[0]].transform("size")
    found: pd.DataFrame = rows[chosen]
    return found


def _mondays(now: datetime, window: timedelta) -> list[datetime]:
    """Mondays 00:00 UTC up to `now` and after the start of the window, newest first; the newest always."""
    newest = now - (now - A_MONDAY) % WEEK
    count = -((now - newest - window) // WEEK)
    return [newest - WEEK * weeks for weeks in range(max(1, count))]


def _grid(tables: Sequence[str], keys: Sequence[str], instants: Sequence[datetime]) -> str:
    """SQL of every entity of any view at every instant."""
    by = column_list(keys)
    # UNION alone leaves repeated keys where there is one view only.
    entities = " UNION ".join(f"SELECT DISTINCT {by} FROM {table}" for table in tables)
    moments = ", ".join(f"({instant(at)})" for at in instants)
    return (
        f"SELECT {by}, predict_at FROM ({entities}), (VALUES {moments}) AS asked(predict_at) ORDER BY {by}, predict_at"
    )
