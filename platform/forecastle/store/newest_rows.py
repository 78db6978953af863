"""The newest rows of a table: what became known last, for checks that look at what serving will see.

Belongs here: reading rows of the last while before a table's newest knowledge time.
Does not belong here: the newest row of each entity (`push.py`), the whole population (`population.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pandas as pd

from forecastle.store.delta_log import TableVersion
from forecastle.store.sql import column_list
from forecastle.store.warehouse import Warehouse


def newest_rows(
    warehouse: Warehouse, version: TableVersion, columns: Sequence[str], *, window: timedelta
) -> pd.DataFrame:
    """Columns of the rows that became known within `window` of the table's newest `known_at`, that one included."""
    if not columns:
        return pd.DataFrame()
    with warehouse.connect() as connection:
        warehouse.attach(connection, {"__rows": version})
        newest = f"(SELECT max(known_at) FROM __rows) - INTERVAL {int(window.total_seconds())} SECOND"
        found = connection.sql(f"SELECT {column_list(columns)} FROM __rows WHERE known_at > {newest}")
        frame: pd.DataFrame = found.to_arrow_table().to_pandas()
    return frame
