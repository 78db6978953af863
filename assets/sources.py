"""`source/*`: raw rows from outside, checked against their contract.

Belongs here: one asset a declared source, its checks of contract, clocks and event-time freshness.
Does not belong here: how rows are read (`forecastle.store.sources`), what a clock's gap means
(`forecastle.measure.clocks`).
"""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import dagster as dg
from dagster_duckdb import DuckDBResource
from pydantic import Field

from assets.describe import attributes, column_schema, key, told_plainly, version_metadata
from assets.freshness import FRESHNESS_CHECK, event_time_freshness
from assets.preview import preview
from assets.shown import shown_table
from assets.source_marks import MARK, mark_of
from forecastle.contract.load import LoadedSystem
from forecastle.contract.source import KnownFrom, Source
from forecastle.store.arrivals import ArrivalError, Arrived, questions
from forecastle.store.clocks import ClockReport, compare_clocks, has_clocks
from forecastle.store.quarantine import QuarantineError
from forecastle.store.sources import Ingested, ingest
from forecastle.store.stream_source import ingest_stream
from forecastle.store.warehouse import Warehouse
from resources.platform import Platform
from resources.variables import variables

Made = Iterator[dg.AssetCheckResult | dg.MaterializeResult]
TIMES = {"event_at": "timestamp", "known_at": "timestamp"}
SHOWN_QUARANTINE = 20
SHOWN_CHARACTERS = 200
ARRIVALS = {
    "units": "Values of the last day are of the size of those before, not of another unit.",
    "replay": "The last day's rows tell of new events, not of known ones again.",
    "restatement": "No more known values than usual were corrected in the last day.",
}


class Arriving(dg.Config):
    """What a person may say when materialising a source."""

    accept_units: bool = Field(False, description="Values of another size are meant: publish them from now on.")


def build_source(system: LoadedSystem, name: str) -> dg.AssetsDefinition:
    """The asset of one declared source."""
    source = system.declaration.sources[name]
    asset_key = key(system, "source", name)

    @dg.asset(
        **attributes(
            system,
            "source",
            name,
            description=source.description or f"Rows of {_origin(source)}.",
            kinds={source.kind, "duckdb"},
            deps=_waits_for(system, source),
            freshness=source.freshness,
            metadata={**column_schema(source.columns, TIMES), "origin": _origin(source)},
        ),
        check_specs=_check_specs(source, asset_key),
    )
    def source_asset(config: Arriving, platform: Platform, engine: DuckDBResource) -> Made:
        now = platform.clock()
        with told_plainly():
            warehouse = platform.warehouse()
            mark = mark_of(platform, system, name)
            try:
                ingested = _ingested(platform, warehouse, system, name, config)
            except ArrivalError as error:
                yield from (_arrived(found, asset_key) for found in error.arrived)
                raise
            except QuarantineError as error:
                yield _contract(warehouse, system, name, error.quarantined, rows=error.rows)
                raise
            contract = _contract(warehouse, system, name, ingested.read.quarantined, rows=ingested.read.rows_read)
            clocks = compare_clocks(warehouse, system.name, source, ingested.source, now=now)
        fresh = event_time_freshness(warehouse, ingested.source, source.freshness, asset_key, now=now)
        results = [contract, fresh, *(_arrived(found, asset_key) for found in ingested.arrived)]
        results += [_clocks(clocks, asset_key)] if has_clocks(source) else []
        shown = {**ingested.read.facts(), **preview(engine, warehouse, ingested.source), MARK: mark}
        yield dg.MaterializeResult(metadata=version_metadata(ingested.source) | shown, check_results=results)

    return source_asset


def _ingested(platform: Platform, warehouse: Warehouse, system: LoadedSystem, name: str, config: Arriving) -> Ingested:
    """Rows of files and databases are read whole; a stream's new events join those that are there."""
    source = system.declaration.sources[name]
    if source.kind != "stream":
        data = platform.data_folder(system)
        return ingest(
            warehouse, system.name, name, source, data=data, variables=variables(), accept_units=config.accept_units
        )
    with closing(platform.stream_log(system.name)) as log:
        return ingest_stream(warehouse, system.name, name, source, log=log, now=platform.clock())


def _check_specs(source: Source, asset_key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    specs = [
        dg.AssetCheckSpec("contract", asset=asset_key, description="Rows that break the contract are few."),
        dg.AssetCheckSpec(FRESHNESS_CHECK, asset=asset_key, description="The newest row is recent enough."),
    ]
    if has_clocks(source):
        told = "The row's clocks run in one time zone, and none is ahead of its time."
        specs.append(dg.AssetCheckSpec("clocks", asset=asset_key, description=told))
    asked = questions(source) if source.kind != "stream" else ()
    specs += [dg.AssetCheckSpec(question, asset=asset_key, description=ARRIVALS[question]) for question in asked]
    return specs


def _arrived(found: Arrived, asset_key: dg.AssetKey) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset_key,
        check_name=found.question,
        passed=found.is_well,
        severity=dg.AssetCheckSeverity.WARN if found.question == "restatement" else dg.AssetCheckSeverity.ERROR,
        description=found.sentence,
    )


def _contract(
    warehouse: Warehouse, system: LoadedSystem, name: str, quarantined: int, *, rows: int
) -> dg.AssetCheckResult:
    """How many of the rows read stand in quarantine, and the first of them with the rule that each broke."""
    limit = system.declaration.sources[name].quarantine_limit
    share = quarantined / rows if rows else 0.0
    metadata: dict[str, Any] = {"quarantined": quarantined, "rows_read": rows, "limit": limit}
    if quarantined:
        lines = warehouse.frame(f"{system.name}/quarantine/{name}")
        counts = lines.groupby(["column", "rule"]).size().rename("values").reset_index()
        metadata["by_rule"] = shown_table(counts)
        shown = lines.assign(row_json=lines["row_json"].str.slice(0, SHOWN_CHARACTERS))
        metadata["first_rows"] = shown_table(shown, max_rows=SHOWN_QUARANTINE)
    kept = f"{quarantined:,} of {rows:,} rows ({share:.2%}) break the contract and stand in quarantine"
    refused = share > limit
    return dg.AssetCheckResult(
        asset_key=key(system, "source", name),
        check_name="contract",
        passed=quarantined == 0,
        severity=dg.AssetCheckSeverity.ERROR if refused else dg.AssetCheckSeverity.WARN,
        description=f"{kept}; above {limit:.2%} the source is refused{': the old table stays' if refused else ''}."
        if quarantined
        else f"All {rows:,} rows keep the contract.",
        metadata=metadata,
    )


def _clocks(report: ClockReport, asset_key: dg.AssetKey) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset_key,
        check_name="clocks",
        passed=report.ok,
        # A zone that was always off is known to whoever wrote the SQL; one that changed spoils what is learned now.
        severity=dg.AssetCheckSeverity.ERROR if report.changed_lately else dg.AssetCheckSeverity.WARN,
        description=report.sentence,
        metadata={
            "future_rows": report.future_rows,
            **{f"{p.first} → {p.second}, seconds": p.gap.gap_seconds for p in report.pairs},
        },
    )


def _origin(source: Source) -> str:
    """Where rows come from, without an address."""
    if source.kind == "sql":
        return f"{source.path or (source.url and source.url.env)}: {source.table or 'query'}"
    if source.kind == "stream":
        return f"topic {source.kafka.topic}" if source.kafka else "events posted to /stream"
    return source.path


def _waits_for(system: LoadedSystem, source: Source) -> list[dg.AssetKey]:
    """Sources that tell this one's knowledge time or its end."""
    told = [source.known_at.source] if isinstance(source.known_at, KnownFrom) else []
    told += [source.closes.source] if source.closes else []
    return [key(system, "source", other) for other in dict.fromkeys(told)]
