"""A trace on the terminal: asked for in these surroundings, shown as a tree.

Belongs here: which home a trace is looked for in, which of its parts are shown and in which order.
Does not belong here: finding the parts (`serve/trace.py`).
"""

from __future__ import annotations

from rich.console import Console
from rich.tree import Tree

from forecastle.cli.surroundings import Surroundings
from forecastle.serve.trace import Trace, trace_prediction


def trace_here(prediction_id: str, system: str, around: Surroundings) -> Trace:
    """Walk one answer of a system back; raises what `trace_prediction` raises."""
    return trace_prediction(
        prediction_id,
        system=around.system(system),
        home=around.home,
        log=around.prediction_log(system),
        warehouse=around.warehouse(),
        registry=around.registry(),
        tracking=around.tracking(),
    )


def print_trace(trace: Trace, *, console: Console) -> None:
    """Draw one trace."""
    p, facts = trace.prediction, trace.bundle.facts
    whom = "features of the request" if p.entity_json in {None, "null"} else p.entity_json
    tree = Tree(f"[bold]{p.probability:.6f}[/bold] for {whom} at {trace.predicted_at:%Y-%m-%d %H:%M:%S} UTC")
    same = "[green]the same number[/green]" if trace.same_number else f"[red]another number: {trace.recomputed!r}[/red]"
    tree.add(f"recomputed from the logged vector: {same}")
    bundle = tree.add(f"bundle {trace.bundle.hash[:12]} (model {facts['model']}, version {facts['model_version']})")
    if trace.promotion is not None:
        bundle.add(f"promoted {trace.promotion.promoted_at:%Y-%m-%d %H:%M:%S} UTC by {trace.promotion.approved_by}")
    bundle.add(f"MLflow run {facts['mlflow_run_id']} ({trace.run['status']})")
    bundle.add(f"Dagster run {facts['dagster_run_id']}")
    _training(bundle, trace)
    features = tree.add(f"features (set {trace.bundle.feature_set.hash[:12]})")
    for name, feature in trace.features.items():
        known = f", known {feature['known_at'][:19]}" if feature["known_at"] else ""
        value = "null" if feature["value"] is None else feature["value"]
        features.add(f"{name} = {value} [dim]{feature['status']}{known} ← {_origin(trace, name)}[/dim]")
    _sources(tree, trace)
    console.print(tree, highlight=False)


def _origin(trace: Trace, name: str) -> str:
    """Where a value came from: what a request gave has no columns behind it."""
    if trace.features[name]["status"] == "REQUEST":
        return "the request"
    return ", ".join(f"{table}.{column}" for table, column in trace.lineage.get(name, ())) or "on-demand"


def _training(bundle: Tree, trace: Trace) -> None:
    found = trace.training_set
    if found is None:
        bundle.add("[red]its training set is gone[/red]")
        return
    branch = bundle.add(f"training set version {found.version}: {found.rows} rows, hash {found.content_hash[:12]}")
    for name, text in sorted(found.facts.items()):
        if name.startswith("input."):
            branch.add(f"made from {text}")


def _sources(tree: Tree, trace: Trace) -> None:
    branch = tree.add("source rows" if trace.sources else "no source rows: no value came from a feature view")
    for rows in trace.sources:
        whose = "of this entity" if rows.by_entity else "of any entity"
        name = f"{rows.view} ← {rows.table.name}@{rows.table.version}"
        part = branch.add(f"{name}: {rows.count} rows {whose} known by {rows.known_until:%Y-%m-%d %H:%M}")
        for row in rows.newest[:3]:
            part.add("[dim]" + ", ".join(f"{k}={v}" for k, v in row.items()) + "[/dim]")
