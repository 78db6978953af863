"""`outcomes`, `live_performance`, `live_calibration`, `drift/predictions`: what was answered, and what came of it.

Belongs here: the four kinds that read served predictions, their pictures and checks.
Does not belong here: joins (`forecastle.store.outcomes`), numbers (`forecastle.promote.live`, `forecastle.measure`).
"""

from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd

from assets.champion import required_champion
from assets.daily import daily, tell_days
from assets.describe import attributes, key, told_plainly, version_metadata
from assets.live_days import day_gap, day_spec, outcomes_came, renew_days
from assets.reports import miscalibration_result, miscalibration_spec, report_metadata
from assets.shown import shown_picture, shown_table
from forecastle.contract.errors import StoreError
from forecastle.contract.load import LoadedSystem
from forecastle.draw.drift import drift_diagram
from forecastle.draw.history import score_history
from forecastle.learn.build import cluster_column
from forecastle.learn.calibration import calibration_of, write_report
from forecastle.measure.calibration_report import CalibrationReport
from forecastle.measure.drift import DriftTable, Tolerance, drift_table
from forecastle.measure.reference import reference
from forecastle.promote.live import (
    CalibrationRows,
    calibration_rows,
    caller_conflicts,
    coverage,
    live_scores,
    live_sentence,
)
from forecastle.store.outcomes import publish_outcomes
from forecastle.store.population import one_row_each
from forecastle.store.told import told_outcomes
from forecastle.store.warehouse import Warehouse
from resources.platform import Platform

CALLERS_AGREE = "Callers tell the outcomes that sources do."


def build_outcomes(system: LoadedSystem) -> dg.AssetsDefinition:
    """What happened after each prediction, as far as sources and callers know it, and how much is still to come."""
    declared = system.declaration
    asset_key = key(system, "outcomes")

    @dg.asset(
        **attributes(
            system,
            "outcomes",
            description="Every served prediction beside its outcome (the label's, else what callers told), or what it "
            f"waits for; scores are final only after {declared.label.matures.days} days.",
            kinds={"duckdb"},
            deps=[
                key(system, "predictions"),
                *(key(system, "source", name) for name in system.reads(declared.label.sql)),
            ],
        ),
        check_specs=[dg.AssetCheckSpec("callers_agree", asset=asset_key, description=CALLERS_AGREE)],
    )
    def outcomes_asset(platform: Platform) -> dg.MaterializeResult:
        now = platform.clock()
        with told_plainly():
            told = told_outcomes(platform.layout.outcome_log(system.name))
            version = publish_outcomes(platform.warehouse(), system, now=now, told=told)
            rows = platform.warehouse().frame(version)
        conflicts, sentence = caller_conflicts(rows)
        metadata = {
            **version_metadata(version),
            "maturity": live_sentence(rows, matures=declared.label.matures),
            **{column: dg.MetadataValue.json(_counts(rows[column])) for column in ("status", "told_by")},
            "conflicts": len(conflicts),
            **_coverage(rows, now=now),
        }
        check = dg.AssetCheckResult(
            asset_key=asset_key, check_name="callers_agree", passed=conflicts.empty,
            severity=dg.AssetCheckSeverity.WARN, description=sentence,
        )  # fmt: skip
        return dg.MaterializeResult(metadata=metadata, check_results=[check])

    return outcomes_asset


def build_live_performance(system: LoadedSystem) -> dg.AssetsDefinition:
    """Scores of served predictions beside the baseline, and what is expected of those still open."""
    declared = system.declaration
    asset_key = key(system, "live_performance")

    @dg.asset(
        **attributes(
            system,
            "live_performance",
            description="Brier score, log loss and AUC of what was served, with intervals, beside the baseline; final "
            "and so far; the estimate for predictions without an outcome; and a row for each day of asking.",
            kinds={"python"},
            deps=[key(system, "outcomes")],
        ),
        **daily(system),
        check_specs=[day_spec(system, asset_key, "outcomes_came", "Every prediction that is mature has an outcome.")],
    )
    def live_performance_asset(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            rows = platform.warehouse().frame(f"{system.name}/outcomes/all")
            table = live_scores(
                rows,
                baseline=declared.evaluate.baseline,
                cluster=cluster_column(system),
                slices=declared.evaluate.slices,
            )
            version = platform.warehouse().publish(f"{system.name}/live_performance/all", table)
            by_day = renew_days(context, platform, system, "live_performance", rows)
        checks = {row.day: outcomes_came(asset_key, row) for row in by_day.made.itertuples()}
        tell_days(context, system, asset_key, by_day.told(), checks)
        metadata = {
            **version_metadata(version),
            "maturity": live_sentence(rows, matures=declared.label.matures),
            "scores": shown_table(table[table["slice"] == "all"].drop(columns="slice")),
            "slices": shown_table(table[table["slice"] != "all"], max_rows=60),
            **by_day.metadata("brier", "Brier score by day"),
        }
        return dg.MaterializeResult(metadata=metadata, check_results=[by_day.check_of_run(checks)])

    return live_performance_asset


def build_live_calibration(system: LoadedSystem) -> dg.AssetsDefinition:
    """The calibration report of what was served, and the gap of each day."""
    asset_key = key(system, "live_calibration")

    @dg.asset(
        **attributes(
            system,
            "live_calibration",
            description="Did served probabilities come true as often as they said: the report on live outcomes, and "
            "mean outcome less mean probability of each day of asking.",
            kinds={"python"},
            deps=[key(system, "outcomes")],
        ),
        **daily(system),
        check_specs=[
            miscalibration_spec(system, asset_key),
            day_spec(system, asset_key, "day_gap", "A final day's mean outcome is its mean probability, up to chance."),
        ],
    )
    def live_calibration_asset(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            version = platform.warehouse().resolve(f"{system.name}/outcomes/all")
            rows = platform.warehouse().frame(version)
            found = calibration_rows(rows)
            report, page = _live_report(platform, system, found, known_until=version.facts["known_until"])
            by_day = renew_days(context, platform, system, "live_calibration", rows)
        checks = {row.day: day_gap(asset_key, row) for row in by_day.made.itertuples()}
        tell_days(context, system, asset_key, by_day.told(), checks)
        check = miscalibration_result(system, asset_key, report, sentence=found.sentence, needs_evidence=True)
        metadata = {
            "rows": found.sentence,
            **page,
            **report_metadata(report),
            **by_day.metadata("gap", "Mean outcome less mean probability by day"),
        }
        return dg.MaterializeResult(metadata=metadata, check_results=[check, by_day.check_of_run(checks)])

    return live_calibration_asset


def build_drift_of_predictions(system: LoadedSystem) -> dg.AssetsDefinition:
    """The champion's probabilities lately against those of its test rows."""
    declared = system.declaration
    asset_key = key(system, "drift", "predictions")

    @dg.asset(
        **attributes(
            system,
            "drift",
            "predictions",
            description=f"Probabilities served in the last {declared.drift.window.days} days (batch predictions when "
            "nothing was served) against the champion's test rows.",
            kinds={"python"},
            deps=[key(system, "promotion"), key(system, "predictions"), key(system, "batch_predictions")],
        ),
        check_specs=[dg.AssetCheckSpec("drift", asset=asset_key, description="Probabilities moved within tolerance.")],
    )
    def drift_of_predictions_asset(platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            compared, drift = drift_of_predictions(platform, system)
            if drift is None:
                return dg.MaterializeResult(check_results=[_nothing_said_yet(asset_key)])
            version = platform.warehouse().publish(f"{system.name}/drift/predictions", drift.features)
        check = dg.AssetCheckResult(
            asset_key=asset_key,
            check_name="drift",
            passed=not drift.alarms,
            severity=dg.AssetCheckSeverity.WARN,
            description="\n".join(drift.reasons) or f"The {compared} lie as the test rows did.",
        )
        metadata = {
            **version_metadata(version),
            "compared": compared,
            "picture": shown_picture(drift_diagram(drift), label="Drift of predictions"),
            "table": shown_table(drift.tests),
        }
        return dg.MaterializeResult(metadata=metadata, check_results=[check])

    return drift_of_predictions_asset


def _nothing_said_yet(asset_key: dg.AssetKey) -> dg.AssetCheckResult:
    told = "The champion is new and has said nothing yet; it is compared at the next look."
    return dg.AssetCheckResult(asset_key=asset_key, check_name="drift", passed=True, description=told)


def drift_of_predictions(platform: Platform, system: LoadedSystem) -> tuple[str, DriftTable | None]:
    """Which probabilities were compared, and how they lie against those of the champion's test rows; no table while
    everything that was said is another bundle's.

    Raises:
        StoreError: nothing was served lately and nobody can be asked about.
    """
    champion = required_champion(platform, system)
    declared = system.declaration.drift
    warehouse = platform.warehouse()
    tested = reference_probabilities(warehouse, system, model=champion.facts["model"], bundle=champion.hash)
    compared, rows = recent_probabilities(
        warehouse, system, bundle=champion.hash, now=platform.clock(), window=declared.window
    )
    if len(rows) == 0 and len(warehouse.frame(f"{system.name}/batch_predictions/all", ["bundle"])):
        return compared, None
    if len(rows) == 0:
        raise StoreError(
            f"{system.name} served nothing in the last {declared.window.days} days and nobody can be asked about now: "
            "every entity's features are older than their ttl; look at the freshness of the sources"
        )
    drift = drift_table(
        {"probability": reference(tested, unit="probability")},
        {"probability": rows},
        # A probability comes in no other unit: how far its tails reach is for the distance of the whole to say.
        tolerance=Tolerance(psi=declared.psi_tolerance, tail_rate=1.0),
        alpha=declared.alpha_of_look,
    )
    return f"{len(rows):,} {compared}", drift


def reference_probabilities(
    warehouse: Warehouse, system: LoadedSystem, *, model: str, bundle: str
) -> "pd.Series[float]":
    """Probabilities of the test rows of one bundle, which need not be the model's newest; one row an entity.

    Raises:
        StoreError: no version of the model's table is of that bundle.
    """
    versions = warehouse.versions(f"{system.name}/models/{model}")
    version = next((v for v in reversed(versions) if v.facts.get("bundle") == bundle), None)
    if version is None:
        raise StoreError(f"no version of {system.name}/models/{model} is of bundle {bundle[:12]}; train it again")
    keys = list(system.declaration.entity_of_label().keys)
    return one_row_each(warehouse.frame(version, [*keys, "probability"]), keys)["probability"]


def recent_probabilities(
    warehouse: Warehouse, system: LoadedSystem, *, bundle: str, now: datetime, window: timedelta
) -> tuple[str, "pd.Series[float]"]:
    """What the bundle served within the window before `now`, one answer an entity, else its batch predictions; and
    which of them it is. What another bundle said is no drift of this one: its calibrator may end elsewhere.
    """
    columns = ["prediction_id", "predicted_at", "bundle", "entity_json", "probability"]
    served = warehouse.frame(f"{system.name}/predictions/all", columns)
    at = served["predicted_at"]
    mine = served[(served["bundle"] == bundle) & (at > now - window) & (at <= now)]
    if len(mine):
        # Asked ten times about one entity, it answers nearly the same ten times: one draw, not ten.
        about = mine["entity_json"].where(mine["entity_json"] != "{}", mine["prediction_id"])
        mine = mine.assign(about=about).sort_values("predicted_at", kind="stable")
        return "entities' served predictions", one_row_each(mine, ["about"])["probability"]
    batch = warehouse.frame(f"{system.name}/batch_predictions/all", ["probability", "bundle"])
    return "batch predictions", batch.loc[batch["bundle"] == bundle, "probability"]


def _live_report(
    platform: Platform, system: LoadedSystem, found: CalibrationRows, *, known_until: str
) -> tuple[CalibrationReport | None, dict[str, Any]]:
    """The report on final outcomes, and where its page stands; neither while they are too few."""
    if found.rows is None:
        return None, {"dagster/row_count": 0}
    report = calibration_of(system, found.rows, excluded_rows=found.excluded_rows)
    page = write_report(
        report,
        platform.layout.reports / system.name / "live_calibration",
        title=f"{system.name} / live",
        facts={"rows": found.sentence, "known until": known_until},
    )
    return report, {"dagster/row_count": report.n, "report": dg.MetadataValue.path(str(page))}


def _counts(values: "pd.Series[str]") -> dict[str, int]:
    return {str(value): int(rows) for value, rows in values.value_counts().items()}


def _coverage(rows: pd.DataFrame, *, now: datetime) -> dict[str, Any]:
    table = coverage(rows, now=now)
    if table.empty:
        return {}
    picture = score_history(
        table, value="share_known", period="week", title="Outcomes known, by week of the prediction", subtitle=""
    )
    return {
        "coverage": shown_table(table),
        "picture": shown_picture(picture, label="Share of outcomes known"),
    }
