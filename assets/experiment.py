"""`experiment`: the A/B read-out of the running trial.

Belongs here: the asset and the check that the split is the declared one.
Does not belong here: what is compared (`forecastle.promote.experiment`), what follows from it (`rollout.py`).
"""

import dagster as dg

from assets.describe import attributes, key, told_plainly, version_metadata
from assets.shown import shown_reasons, shown_table
from forecastle.contract.load import LoadedSystem
from forecastle.promote.experiment import ExperimentReadout, experiment_read_out
from forecastle.promote.rollout import RolloutRecord
from forecastle.serve.champion import CHALLENGER, CHAMPION
from resources.platform import Platform

SPLIT_CHECK = "sample_ratio"


def build_experiment(system: LoadedSystem) -> dg.AssetsDefinition:
    """Champion and challenger on the entities that each answered, since the trial's present phase began."""
    asset_key = key(system, "experiment")

    @dg.asset(
        **attributes(
            system,
            "experiment",
            description="A/B read-out of the running trial: the split against the declared shares, differences with "
            "anytime-valid intervals; only final outcomes count.",
            kinds={"python"},
            deps=[key(system, "outcomes")],
        ),
        check_specs=[
            dg.AssetCheckSpec(SPLIT_CHECK, asset=asset_key, description="Entities fell to the arms as declared.")
        ],
    )
    def experiment_asset(platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            found = read_experiment(platform, system)
            if found is None:
                is_shadow = system.declaration.rollout.shadow
                said = "In the shadow a challenger answers nobody." if is_shadow else "No bundle is under trial."
                check = dg.AssetCheckResult(asset_key=asset_key, check_name=SPLIT_CHECK, passed=True, description=said)
                return dg.MaterializeResult(metadata={"reasons": said}, check_results=[check])
            version = platform.warehouse().publish(f"{system.name}/experiment/all", found.table)
        metadata = {
            **version_metadata(version),
            "reasons": shown_reasons(found.reasons),
            "table": shown_table(found.table),
            "not_final": found.waiting,
        }
        return dg.MaterializeResult(metadata=metadata, check_results=[_split_check(found, asset_key)])

    return experiment_asset


def read_experiment(platform: Platform, system: LoadedSystem) -> ExperimentReadout | None:
    """The read-out of the running trial's phase; None where none runs, or only in the shadow."""
    declared = system.declaration
    trial = RolloutRecord(platform.layout.registry, clock=platform.clock).running(system.name)
    if trial is None or declared.rollout.shadow:
        return None
    outcomes = platform.warehouse().frame(f"{system.name}/outcomes/all")
    return experiment_read_out(
        outcomes[outcomes["predicted_at"] > trial.at],
        shares={CHAMPION: 1 - trial.share, CHALLENGER: trial.share},
        keys=list(declared.entity_of_label().keys),
        metric=declared.rollout.metric,
    )


def _split_check(found: ExperimentReadout, asset_key: dg.AssetKey) -> dg.AssetCheckResult:
    """Whether entities fell to the arms as declared; it passes while nobody was asked about."""
    return dg.AssetCheckResult(
        asset_key=asset_key,
        check_name=SPLIT_CHECK,
        passed=found.ratio is None or not found.ratio.is_mismatch,
        severity=dg.AssetCheckSeverity.ERROR,
        description=found.reasons[-1] if found.ratio is None else found.ratio.reasons[-1],
    )
