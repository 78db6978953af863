"""`batch_predictions` and `predictions`: what the champion says of everybody, and what it said when asked.

Belongs here: scoring the whole population, ingesting the prediction log.
Does not belong here: scoring (`forecastle.learn.score`), the log (`forecastle.store.prediction_log`).
"""

from datetime import date, datetime
from typing import Any, Final

import dagster as dg

from assets.champion import required_champion
from assets.daily import daily, days_of, end_of, tell_days
from assets.describe import attributes, key, told_plainly, version_metadata
from forecastle.contract.load import LoadedSystem
from forecastle.learn.bundle import Bundle, load_bundle
from forecastle.learn.score import decide_rows, score_answerable
from forecastle.store.logged import ingest_predictions
from forecastle.store.population import population
from resources.platform import Platform

BATCH: Final = "batch_predictions"


def build_batch_predictions(system: LoadedSystem) -> dg.AssetsDefinition:
    """The champion's probability for every entity that can be asked about, day by day."""

    @dg.asset(
        **attributes(
            system,
            "batch_predictions",
            description="The champion's probability for every entity that can be asked about: now, or as it would have "
            "been answered at the end of an earlier UTC day.",
            kinds={"lightgbm", "duckdb"},
            deps=[
                key(system, "promotion"),
                *(key(system, "features", name) for name in system.declaration.feature_views),
            ],
        ),
        **daily(system),
    )
    def batch_predictions_asset(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        told = {}
        with told_plainly():
            now = platform.clock()
            for day in days_of(context, now=now):
                told[day] = publish_day(platform, system, day, now=now)
                context.log.info("%s: %s rows", day, told[day]["dagster/row_count"])
        tell_days(context, system, key(system, "batch_predictions"), told)
        return dg.MaterializeResult(metadata=told[max(told)])

    return batch_predictions_asset


def publish_day(platform: Platform, system: LoadedSystem, day: date, *, now: datetime) -> dict[str, Any]:
    """Score everybody at the end of a day (today: now) by the bundle that was champion then; what is said of it.

    The table is `batch_predictions/day_YYYY_MM_DD`; today's stands in `batch_predictions/all` as well.
    """
    at = end_of(day, now=now)
    bundle, since = champion_then(platform, system, at=at)
    everybody = population(platform.warehouse(), system, now=at)
    rows, scores = score_answerable(bundle, everybody)
    decided = decide_rows(bundle, scores, rows["predict_at"])
    scored = rows.assign(
        raw_score=scores.raw,
        probability=scores.probability,
        bundle=bundle.hash,
        model_version=bundle.facts["model_version"],
        decision=list(decided.json),
    )[decided.is_open].reset_index(drop=True)
    facts = {"day": f"{day}", "asked_at": at.isoformat()}
    version = platform.warehouse().publish(f"{system.name}/{BATCH}/day_{day:%Y_%m_%d}", scored, facts=facts)
    if at == now:
        version = platform.warehouse().publish(f"{system.name}/{BATCH}/all", scored, facts=facts)
    return {
        **version_metadata(version),
        "day": f"{day}",
        "asked_at": at.isoformat(),
        "champion": since,
        "rows_after_cutoff": int((~decided.is_open).sum()),
        "rows_without_a_model": len(everybody) - len(rows),
    }


def champion_then(platform: Platform, system: LoadedSystem, *, at: datetime) -> tuple[Bundle, str]:
    """The bundle that was champion at an instant, else the first that became it, and a sentence on which it is.

    Raises:
        Failure: no bundle was ever promoted.
    """
    present = required_champion(platform, system)
    history = platform.registry().history(system.name)
    then = next((promotion for promotion in history if promotion.promoted_at <= at), history[-1])
    told = f"{then.bundle[:12]}, promoted at {then.promoted_at:%Y-%m-%d %H:%M} UTC"
    if then.promoted_at > at:
        told += ": later than this day, so this is what it would have said and not what anybody was told"
    if then.bundle == present.hash:
        return present, told
    return load_bundle(platform.layout.bundles(system.name) / then.bundle, expected_hash=then.bundle), told


def build_predictions(system: LoadedSystem) -> dg.AssetsDefinition:
    """Every answer given so far, from the prediction log into the warehouse, each once."""

    @dg.asset(
        **attributes(
            system,
            "predictions",
            description="Every answer given so far, ingested from the prediction log.",
            kinds={"sqlite", "duckdb"},
            deps=[key(system, "promotion")],
        )
    )
    def predictions_asset(platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            log = platform.prediction_log(system.name)
            version = ingest_predictions(log, platform.warehouse(), table=f"{system.name}/predictions/all")
            log.close()
        return dg.MaterializeResult(metadata=version_metadata(version))

    return predictions_asset
