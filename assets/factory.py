"""From one system to its Definitions: declare once, derive the graph.

Belongs here: which assets a system has.
Does not belong here: what each of them is (one file a kind), policies (`describe.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import dagster as dg

from assets.alerts import build_alerts, build_alerts_sensor, build_delivery, build_run_failures
from assets.automation import (
    build_conditions_sensor,
    build_ingest_job,
    build_job,
    build_retrain_sensor,
    build_rollout_sensor,
    build_schedule,
    build_source_sensor,
)
from assets.backtest import build_backtest, build_backtest_cut
from assets.comparison import build_comparison
from assets.drift import build_drift
from assets.ensemble import build_ensemble
from assets.evaluation import build_calibration, build_evaluation
from assets.experiment import build_experiment
from assets.features import build_features, build_online
from assets.live import (
    build_drift_of_predictions,
    build_live_calibration,
    build_live_performance,
    build_outcomes,
)
from assets.matrix import build_group, groups_of
from assets.models import build_model_asset
from assets.parity import build_parity
from assets.predictions import build_batch_predictions, build_predictions
from assets.promotion import build_bento_asset, build_promotion
from assets.quality import build_data_quality
from assets.retrain import build_retrain_decision
from assets.rollout import build_rollout, build_shadow
from assets.scheduled_scoring import build_scoring_sensor, has_scoring
from assets.sources import build_source
from assets.system_reports import build_report
from assets.training_set import build_training_set
from forecastle.contract.load import LoadedSystem
from forecastle.learn.combine import asks_for_ensemble

# From the promoted model to what it answered and what came of it.
_ANSWERS = (
    build_promotion,
    build_bento_asset,
    build_batch_predictions,
    build_predictions,
    build_outcomes,
    build_shadow,
    build_rollout,
    build_experiment,
)
# What sees that rows, answers or outcomes are not as they were.
_WATCHERS = (
    build_data_quality,
    build_drift,
    build_drift_of_predictions,
    build_live_performance,
    build_live_calibration,
    build_retrain_decision,
    build_alerts,
)


def build_system(system: LoadedSystem) -> dg.Definitions:
    """Every asset, check, job, schedule and sensor of one system."""
    ingest = build_ingest_job(system)
    return dg.Definitions(
        assets=[
            *_rows(system),
            *_candidates(system),
            *(build(system) for build in (*_ANSWERS, *_WATCHERS)),
            *(build_report(system, name) for name in system.declaration.reports),
        ],
        jobs=[build_job(system), ingest],
        schedules=[build_schedule(system, ingest)],
        sensors=[
            build_alerts_sensor(system),
            build_source_sensor(system, ingest),
            build_retrain_sensor(system),
            build_rollout_sensor(system),
            *([build_scoring_sensor(system)] if has_scoring(system) else []),
        ],
    )


def shared_sensors(systems: Sequence[LoadedSystem]) -> list[dg.SensorDefinition]:
    """Sensors that look after all systems at once."""
    return [build_conditions_sensor(), build_run_failures(systems), build_delivery()]


def _rows(system: LoadedSystem) -> Iterator[dg.AssetsDefinition]:
    """From outside to what a model learns from and serving reads."""
    views = system.declaration.feature_views
    yield from (build_source(system, name) for name in system.declaration.sources)
    yield from (build_features(system, name) for name in views)
    yield from (build_online(system, name) for name, view in views.items() if view.online)
    yield build_parity(system)
    yield build_training_set(system)


def _candidates(system: LoadedSystem) -> Iterator[dg.AssetsDefinition]:
    """Every model, trained and judged, and the one that could be promoted."""
    single = [name for name, model in system.declaration.models.items() if model.group is None]
    for build in (build_model_asset, build_evaluation, build_calibration):
        yield from (build(system, name) for name in single)
    for group in groups_of(system):
        yield from build_group(group)
    yield build_comparison(system)
    if asks_for_ensemble(system):
        yield build_ensemble(system)
    yield build_backtest(system)
    yield build_backtest_cut(system)
