"""`reports/*`: what a system reports of its own, a pure function over tables of its graph.

Belongs here: reading the declared tables, the asset, its check.
Does not belong here: calling the function and judging what it gave (`forecastle.learn.report`), what it says (systems).
"""

from typing import Any

import dagster as dg

from assets.describe import attributes, key, told_plainly, version_metadata
from assets.matrix import groups_of
from assets.shown import shown_picture, shown_table
from forecastle.contract.load import LoadedSystem
from forecastle.contract.report import kind_and_name
from forecastle.learn.report import MadeReport, make_report
from resources.platform import Platform

VERDICTS_CHECK = "verdicts"
SHOWN = 60


def build_report(system: LoadedSystem, name: str) -> dg.AssetsDefinition:
    """One declared report; a FAIL warns, since what it judges may be better than what it replaces."""
    declared = system.declaration.reports[name]
    asset_key = key(system, "reports", name)
    told = f"No row says FAIL in column {declared.check}."
    specs = [dg.AssetCheckSpec(VERDICTS_CHECK, asset=asset_key, description=told)] if declared.check else []

    @dg.asset(
        **attributes(
            system,
            "reports",
            name,
            description=declared.description,
            kinds={"python"},
            deps=list(dict.fromkeys(_asset_of(system, table) for table in declared.tables.values())),
        ),
        check_specs=specs,
    )
    def report_asset(platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            warehouse = platform.warehouse()
            tables = {argument: warehouse.frame(_stored(system, table)) for argument, table in declared.tables.items()}
            report = make_report(system, name, tables)
            version = warehouse.publish(f"{system.name}/reports/{name}", report.table)
        metadata = {**version_metadata(version), **_shown(name, report)}
        checks = [_result(asset_key, report)] if declared.check else []
        return dg.MaterializeResult(metadata=metadata, check_results=checks)

    return report_asset


def _asset_of(system: LoadedSystem, table: str) -> dg.AssetKey:
    """The asset that makes a declared table: models of a matrix are made by its factory."""
    kind, name = kind_and_name(table)
    groups = {group.name: group for group in groups_of(system)}
    group = groups.get(system.declaration.models[name].group or "") if kind == "models" and name else None
    return key(system, kind, name) if group is None else group.key("factory")


def _stored(system: LoadedSystem, table: str) -> str:
    kind, name = kind_and_name(table)
    return f"{system.name}/{kind}/{name or 'all'}"


def _shown(name: str, report: MadeReport) -> dict[str, Any]:
    shown: dict[str, Any] = {"table": shown_table(report.table, max_rows=SHOWN)}
    if report.figure is not None:
        shown["picture"] = shown_picture(report.figure, label=name)
    return shown


def _result(asset_key: dg.AssetKey, report: MadeReport) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset_key,
        check_name=VERDICTS_CHECK,
        passed=bool(report.is_passed),
        severity=dg.AssetCheckSeverity.WARN,
        description="\n".join(report.reasons) or f"{report.judged} verdicts, all PASS.",
        metadata={"judged": report.judged, "failed": len(report.reasons)},
    )
