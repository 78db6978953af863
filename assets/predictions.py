"""`batch_predictions` and `predictions`: what the champion says of everybody, and what it said when asked.

Belongs here: scoring the whole population, ingesting the prediction log.
Does not belong here: scoring (`forecastle.learn.score`), the log (`forecastle.store.prediction_log`).
"""

import dagster as dg

from assets.champion import required_champion
from assets.describe import attributes, key, told_plainly, version_metadata
from forecastle.contract.load import LoadedSystem
from forecastle.learn.score import decide_rows, score_answerable
from forecastle.store.logged import ingest_predictions
from forecastle.store.population import population
from resources.platform import Platform


def build_batch_predictions(system: LoadedSystem) -> dg.AssetsDefinition:
    """The champion's probability for every entity that can be asked about now."""

    @dg.asset(
        **attributes(
            system,
            "batch_predictions",
            description="The champion's probability for every entity that can be asked about now.",
            kinds={"lightgbm", "duckdb"},
            deps=[
                key(system, "promotion"),
                *(key(system, "features", name) for name in system.declaration.feature_views),
            ],
        )
    )
    def batch_predictions_asset(platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            bundle = required_champion(platform, system)
            everybody = population(platform.warehouse(), system, now=platform.clock())
            rows, scores = score_answerable(bundle, everybody)
            decided = decide_rows(bundle, scores, rows["predict_at"])
            scored = rows.assign(
                raw_score=scores.raw,
                probability=scores.probability,
                bundle=bundle.hash,
                model_version=bundle.facts["model_version"],
                decision=list(decided.json),
            )[decided.is_open].reset_index(drop=True)
            version = platform.warehouse().publish(f"{system.name}/batch_predictions/all", scored)
        too_late = int((~decided.is_open).sum())
        left_out = {"rows_after_cutoff": too_late, "rows_without_a_model": len(everybody) - len(rows)}
        return dg.MaterializeResult(metadata={**version_metadata(version), **left_out})

    return batch_predictions_asset


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
