"""Evidence for the gates of a candidate: what Dagster's checks found, how long one answer takes, its test rows.

Belongs here: asking the instance for the newest parity and leakage checks, whether they are of what stands now, and
the registry whether a person has withdrawn the bundle.
Does not belong here: measuring rows (`forecastle.promote.gate_evidence`), verdicts (`forecastle.promote.gates`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import dagster as dg
import pandas as pd
from dagster import DagsterInstance

from assets.describe import key
from forecastle.contract.load import LoadedSystem
from forecastle.learn.build import cluster_column
from forecastle.learn.bundle import Bundle, load_bundle
from forecastle.learn.scorer import load_scorer
from forecastle.promote.gate_evidence import Checked, GateEvidence, Latency, gate_evidence, measure_latency
from forecastle.promote.promote import Candidate
from forecastle.promote.rollback import withdrawal
from resources.platform import Platform

TABLES = "tables"
"""Metadata of the parity check: version of each feature table that it compared."""


def evidence_for(
    candidate: Candidate, rows: pd.DataFrame, *, platform: Platform, system: LoadedSystem, instance: DagsterInstance
) -> GateEvidence:
    """Measure a candidate: `rows` are its test rows with its probabilities."""
    bundle = load_bundle(platform.layout.bundles(system.name) / candidate.bundle, expected_hash=candidate.bundle)
    gates = system.declaration.gates
    return gate_evidence(
        rows,
        declared=system.declaration,
        cluster=cluster_column(system),
        latency=None if gates.latency is None else _latency(bundle, count=gates.latency.rows),
        parity=_parity(platform, system, instance) if gates.parity else None,
        leakage=_leakage(platform, system, instance, bundle) if gates.leakage else None,
        withdrawn=_withdrawn(platform, system, bundle),
    )


def feature_tables(platform: Platform, system: LoadedSystem) -> dict[str, int]:
    """Newest version of each feature table."""
    warehouse = platform.warehouse()
    found = {name: warehouse.version(f"{system.name}/features/{name}") for name in system.declaration.feature_views}
    return {name: version.version for name, version in found.items() if version is not None}


def _latency(bundle: Bundle, *, count: int) -> Latency:
    scorer, calibrator = load_scorer(bundle), bundle.calibrator
    rows = [[math.nan if value is None else float(value) for value in row] for row in bundle.golden.rows]
    return measure_latency(
        lambda row: calibrator.apply_scalar(scorer.score_row(row)), rows, count=count, timer=time.perf_counter
    )


def _parity(platform: Platform, system: LoadedSystem, instance: DagsterInstance) -> Checked | None:
    found = _newest(instance, key(system, "parity"), "parity")
    if found is None:
        return None
    passed, sentence, metadata = found
    compared, now = metadata.get(TABLES, {}), feature_tables(platform, system)
    changed = sorted(name for name, version in now.items() if compared.get(name) != version)
    if changed:
        return Checked(passed=False, sentence=f"features {', '.join(changed)} changed since the check; run it again")
    return Checked(passed, sentence)


def _leakage(platform: Platform, system: LoadedSystem, instance: DagsterInstance, bundle: Bundle) -> Checked | None:
    found = _newest(instance, key(system, "training_set"), "leakage")
    if found is None:
        return None
    passed, sentence, _ = found
    newest = platform.warehouse().resolve(f"{system.name}/training_set/all")
    if bundle.facts.get("training_set_hash") != newest.content_hash:
        trained = str(bundle.facts.get("training_set_hash"))[:12]
        other = f"the check is of training set {newest.content_hash[:12]}, the model was trained on {trained}"
        return Checked(passed=False, sentence=f"{other}; train it again")
    return Checked(passed, sentence)


def _withdrawn(platform: Platform, system: LoadedSystem, bundle: Bundle) -> Checked | None:
    """A person who rolled back knew something that the gates do not measure."""
    registry = platform.registry()
    reasons = {decision.decision_id: decision.reasons for decision in registry.decisions(system.name)}
    said = withdrawal(bundle.hash, registry.history(system.name), reasons)
    back = f"forecastle rollback {system.name} --to {bundle.hash[:12]}"
    return None if said is None else Checked(passed=False, sentence=f"{said}; only a person brings it back: {back}")


def _newest(instance: DagsterInstance, asset: dg.AssetKey, name: str) -> tuple[bool, str, Mapping[str, Any]] | None:
    """The newest outcome of one asset check: passed, its sentence, its metadata."""
    check = dg.AssetCheckKey(asset, name)
    record = instance.event_log_storage.get_latest_asset_check_execution_by_key([check]).get(check)
    evaluation = record.event.asset_check_evaluation if record and record.event else None
    if evaluation is None:
        return None
    metadata = {label: value.value for label, value in evaluation.metadata.items()}
    return evaluation.passed, evaluation.description or "", metadata
