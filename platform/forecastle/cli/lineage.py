"""Lineage on the terminal: one feature from its raw columns to the models that use it.

Belongs here: the tree that `forecastle lineage` prints.
Does not belong here: finding out (`forecastle.contract.load`).
"""

from __future__ import annotations

from rich.console import Console
from rich.tree import Tree

from forecastle.contract.column import Feature
from forecastle.contract.errors import ForecastleError, did_you_mean
from forecastle.contract.load import LoadedSystem


def print_lineage(system: LoadedSystem, feature: str, *, console: Console) -> None:
    """Raw columns → view or function → training set → models of one feature.

    Raises:
        ForecastleError: the system has no such feature.
    """
    declared = system.declaration
    features = declared.features()
    if feature not in features:
        raise ForecastleError(f"{system.name} has no feature {feature!r}; {did_you_mean(feature, features)}")
    root = Tree(f"{system.name}.{feature}  {_contract(features[feature])}", highlight=False)
    _add_origin(root.add("made of"), system, feature)
    used = root.add("used by")
    used.add(f"training_set  column {feature}")
    for model in declared.models:
        names = declared.model_features(model)
        if feature in names:
            used.add(f"models/{model}  input {names.index(feature) + 1} of {len(names)}")
    for name, group in declared.on_demand.items():
        if feature in group.inputs:
            used.add(f"on demand {name}  {', '.join(group.features)}")
    console.print(root, highlight=False)


def _add_origin(branch: Tree, system: LoadedSystem, feature: str) -> None:
    declared = system.declaration
    view = declared.view_of(feature)
    if view is not None:
        text = declared.feature_views[view].sql
        here = branch.add(f"features/{view}  column {feature}, {text}")
        for source, column in system.lineage(text)[feature]:
            unit = declared.sources[source].columns[column].unit if column in declared.sources[source].columns else None
            here.add(f"source/{source}  column {column}" + (f", {unit}" if unit else ""))
        return
    name, group = next((n, g) for n, g in declared.on_demand.items() if feature in g.features)
    here = branch.add(f"on demand {name}  {group.function}")
    for given in group.inputs:
        _add_origin(here.add(given), system, given)


def _contract(feature: Feature) -> str:
    unit = f" in {feature.unit}" if feature.unit else ""
    owner = f", owned by {feature.owner}" if feature.owner else ""
    return f"{feature.dtype}{unit}{owner}"
