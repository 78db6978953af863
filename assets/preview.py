"""A look at the newest rows of a table, where people look first.

Belongs here: a few rows as a Markdown table, read through Dagster's own DuckDB resource.
Does not belong here: what an asset publishes, checks.
"""

from __future__ import annotations

from typing import Any

from dagster_duckdb import DuckDBResource

from assets.shown import shown_table
from forecastle.store.warehouse import TableVersion, Warehouse

ROWS = 5


def preview(engine: DuckDBResource, warehouse: Warehouse, version: TableVersion) -> dict[str, Any]:
    """The newest rows by knowledge time as metadata; the file's checksum was compared before a row is read."""
    newest = "known_at" if "known_at" in version.columns else next(iter(version.columns))
    columns = ", ".join(f'"{name}"' for name in version.columns)
    with engine.get_connection() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = connection.sql(
            f'SELECT {columns} FROM ({warehouse.relation(version)}) ORDER BY "{newest}" DESC LIMIT {ROWS}'
        ).to_arrow_table()
    return {"newest_rows": shown_table(rows.to_pandas())}
