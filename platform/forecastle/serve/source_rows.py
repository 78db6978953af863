"""Which source rows a served feature was made from.

Belongs here: following column lineage to the sources of a view, and the rows of one entity known by then.
Does not belong here: lineage itself (`contract/sql.py`), the rest of a trace (`trace.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from forecastle.contract.feature_set import ViewSpec
from forecastle.contract.load import LoadedSystem
from forecastle.store.delta_log import TableVersion
from forecastle.store.sql import column_list, instant, quote_ident
from forecastle.store.warehouse import Warehouse

SHOWN_ROWS: Final = 5


@dataclass(frozen=True, slots=True)
class SourceRows:
    """Rows of one source that one view could have read for one entity; all are counted, the newest are shown.

    Newest is the latest event, and of one event the latest knowledge: an old event restated today is not news.

    `by_entity` is False where the source reaches the entity only through another source: then rows are only counted by
    what was known, and none is shown as the entity's own.
    """

    view: str
    source: str
    table: TableVersion
    known_until: datetime
    by_entity: bool
    count: int
    newest: tuple[Mapping[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "view": self.view,
            "source": self.source,
            "table": str(self.table.name),
            "version": self.table.version,
            "files": self.table.facts.get("files", ""),
            "known_until": self.known_until.isoformat(),
            "by_entity": self.by_entity,
            "rows": self.count,
            "newest": [dict(row) for row in self.newest],
        }


def source_rows(
    warehouse: Warehouse,
    system: LoadedSystem,
    views: Iterable[ViewSpec],
    *,
    entity: Mapping[str, Any] | None,
    features: Mapping[str, Mapping[str, Any]],
) -> tuple[SourceRows, ...]:
    """Source rows behind every feature of these views (as the model knew them) that came from the online store.

    Rows are read from the source version that the view's own table was made from, cut at the knowledge time that the
    answer's feature carried. Nothing for features that the request gave itself.
    """
    found: list[SourceRows] = []
    for view in views:
        known = next((features[n]["known_at"] for n in view.features if features.get(n, {}).get("known_at")), None)
        declared = system.declaration.feature_views.get(view.name)
        if known is None or declared is None or not entity:
            continue
        until = datetime.fromisoformat(known)
        lineage = system.lineage(declared.sql)
        for source in system.reads(declared.sql):
            keys = _key_columns(lineage, source, view.keys)
            version = _version_read(warehouse, system.name, view.name, source, until)
            rows = _rows(warehouse, version, view=view.name, source=source, keys=keys, entity=entity, until=until)
            found.append(rows)
    return tuple(found)


def _key_columns(
    lineage: Mapping[str, tuple[tuple[str, str], ...]], source: str, keys: tuple[str, ...]
) -> dict[str, str]:
    """Entity key → the source's column that it comes from, where there is exactly one."""
    found = {}
    for key in keys:
        columns = [column for table, column in lineage[key] if table == source]
        if len(columns) == 1:
            found[key] = columns[0]
    return found


def _version_read(warehouse: Warehouse, system: str, view: str, source: str, until: datetime) -> TableVersion:
    """The source version that the view's newest table holding `until` was made from."""
    for version in reversed(warehouse.versions(f"{system}/features/{view}")):
        if version.written_at >= until and (text := version.facts.get(f"input.{source}")):
            wanted = int(text.rpartition("@")[2])
            return next(v for v in warehouse.versions(f"{system}/source/{source}") if v.version == wanted)
    return warehouse.resolve(f"{system}/source/{source}")


def _rows(
    warehouse: Warehouse,
    version: TableVersion,
    *,
    view: str,
    source: str,
    keys: Mapping[str, str],
    entity: Mapping[str, Any],
    until: datetime,
) -> SourceRows:
    by_entity = set(keys) == set(entity)
    where = [f"known_at <= {instant(until)}", *(f"{quote_ident(c)} = ?" for c in keys.values() if by_entity)]
    values = [entity[key] for key in keys] if by_entity else []
    relation = warehouse.relation(version)
    with warehouse.connect() as connection:
        condition = " AND ".join(where)
        counted = connection.execute(f"SELECT count(*) FROM ({relation}) WHERE {condition}", values).fetchone()
        newest: list[dict[str, Any]] = []
        if by_entity:
            shown = connection.execute(
                f"SELECT {column_list(list(version.columns))} FROM ({relation}) WHERE {condition}"
                f" ORDER BY event_at DESC, known_at DESC LIMIT {SHOWN_ROWS}",
                values,
            )
            names = list(version.columns)
            newest = [dict(zip(names, map(_plain, row), strict=True)) for row in shown.fetchall()]
    return SourceRows(view, source, version, until, by_entity, int(counted[0]) if counted else 0, tuple(newest))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool | None) else json.loads(json.dumps(value, default=str))
