"""`experiment`: the A/B read-out of the running trial.

Belongs here: the asset and the check that the split is the declared one.
Does not belong here: what is compared (`forecastle.learn.experiment`), what follows from it (`rollout.py`).
"""

import dagster as dg

from assets.describe import attributes, key, told_plainly, version_metadata
from forecastle.contract.load import LoadedSystem
from forecastle.draw.markdown import markdown_table
from forecastle.learn.experiment import ExperimentReadout, experiment_read_out
from forecastle.learn.rollout import RolloutRecord
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
                said = "No bundle is under trial."
                check = dg.AssetCheckResult(asset_key=asset_key, check_name=SPLIT_CHECK, passed=True, description=said)
                return dg.MaterializeResult(metadata={"reasons": said}, check_results=[check])
            version = platform.warehouse().publish(f"{system.name}/experiment/all", found.table)
        mismatch = found.ratio is not None and found.ratio.is_mismatch
        check = dg.AssetCheckResult(
            asset_key=asset_key,
            check_name=SPLIT_CHECK,
            passed=not mismatch,
            severity=dg.AssetCheckSeverity.ERROR,
            description=found.reasons[-1] if found.ratio is None else found.ratio.reasons[-1],
        )
        metadata = {
            **version_metadata(version),
            "reasons": dg.MetadataValue.md("\n".join(f"- {reason}" for reason in found.reasons)),
            "table": dg.MetadataValue.md(markdown_table(found.table)),
            "not_final": found.waiting,
        }
        return dg.MaterializeResult(metadata=metadata, check_results=[check])

    return experiment_asset


def read_experiment(platform: Platform, system: LoadedSystem) -> ExperimentReadout | None:
    """The read-out of the running trial's phase; None where none runs."""
    trial = RolloutRecord(platform.layout.registry, clock=platform.clock).running(system.name)
    if trial is None:
        return None
    declared = system.declaration
    outcomes = platform.warehouse().frame(f"{system.name}/outcomes/all")
    return experiment_read_out(
        outcomes[outcomes["predicted_at"] > trial.at],
        shares={CHAMPION: 1 - trial.share, CHALLENGER: trial.share},
        keys=list(declared.entity_of_label().keys),
        metric=declared.rollout.metric,
    )
