"""The rules of conformance: what every system keeps, whoever wrote it. Each rule gives the ways in which it is broken.

Belongs here: one function a rule, over one materialised system; no rule knows any system by name.
Does not belong here: running them (`test_conformance.py`), proof that each can fail (`test_controls.py`).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from assets.champion import champion_bundle
from assets.failures import reason
from assets.parity import compare_online, compare_served, fed_views
from forecastle.contract.column import Feature
from forecastle.contract.source import Source
from forecastle.contract.table import violations
from forecastle.learn.golden import golden_faults
from forecastle.serve.trace import trace_prediction
from forecastle.store.labels import label_columns
from forecastle.store.leakage import leakage_check
from forecastle.store.source_files import source_paths
from tests.conformance.materialised import NOW, SEED, Materialised, made_by

SHOWN = 5
BY_NAME = 20
GOES_ON_DAYS = (0, 1, 40)


def simulator(made: Materialised) -> Iterator[str]:
    """The system runs with no download: its simulator writes every source, seeded, and nothing of the future."""
    declared = made.system.declaration
    if declared.simulate is None:
        yield "no simulate function is declared"
        return
    first, again, other = (_written(made, seed) for seed in (SEED, SEED, SEED + 1))
    if first != again:
        yield "the same seed gives other bytes"
    if first == other:
        yield "another seed gives the same bytes: the seed is not used"
    for name, source in declared.sources.items():
        if f"source/{name}" in made_by(made.run):
            late = int((made.frame(f"source/{name}")["known_at"] > pd.Timestamp(NOW) + pd.Timedelta(hours=1)).sum())
            if late and source.kind != "stream":
                yield f"source {name} holds {late} rows that become known after `now`"


def continued(made: Materialised) -> Iterator[str]:
    """What the simulator told at `now` it tells at every later `until` too; only nulls are filled in."""
    with tempfile.TemporaryDirectory() as folder:
        worlds = [_continued(made, Path(folder) / str(days), timedelta(days=days)) for days in GOES_ON_DAYS]
        for name, source in made.system.declaration.sources.items():
            if source.kind not in ("csv", "parquet"):
                continue
            tables = [_rows(source_paths(name, source.path, data=world)) for world in worlds]
            for before, after in itertools.pairwise(tables):
                if lost := _lost(before, after, source):
                    yield f"source {name}: {lost} of {len(before)} rows are gone or changed at a later `until`"


def graph(made: Materialised) -> Iterator[str]:
    """Every asset is made, owned, described and in the system's own group; every view leads to the Bento."""
    nodes = made.definitions.resolve_asset_graph()
    for key in nodes.get_all_asset_keys():
        node = nodes.get(key)
        name = key.to_user_string()
        if not (node.owners and node.kinds and node.description):
            yield f"{name} has no owner, kind or description"
        if node.group_name != made.system.name:
            yield f"{name} stands in group {node.group_name}"
        yield from (f"{name} depends on {up}" for up in node.parent_keys if up.path[0] != made.system.name)
    explained = made.left_out if made.refused else set()
    for step, told in _failures(made.run).items():
        if step not in explained or "champion" not in told:
            yield f"{step} was not made: {told}"
    missing = made.declared_assets - made_by(made.run) - explained
    yield from (f"{asset} was never started" for asset in sorted(missing - set(_failures(made.run))))
    if made.completed is not None:
        yield from (f"{asset} was not made: {told}" for asset, told in _failures(made.completed).items())
    before = _upstream(nodes, dg.AssetKey([made.system.name, "bento"]))
    views = {dg.AssetKey([made.system.name, "features", name]) for name in made.system.declaration.feature_views}
    yield from (f"{key.to_user_string()} does not lead to the Bento" for key in sorted(views - before))


def checks(made: Materialised) -> Iterator[str]:
    """Every declared check ran, and none that blocks has failed."""
    declared = made.definitions.resolve_asset_graph()
    runs = [made.run, *([made.completed] if made.completed else [])]
    found = {e.asset_check_key: e for run in runs for e in run.get_asset_check_evaluations()}
    job = {dg.AssetKey([made.system.name, *asset.split("/")]) for asset in made.declared_assets}
    for key in sorted(declared.asset_check_keys):
        told = f"check {key.name} of {key.asset_key.to_user_string()}"
        if key not in found:
            if key.asset_key in job:
                yield f"{told} never ran"
        elif declared.get(key).blocking and not found[key].passed:
            yield f"{told} failed: {found[key].description}"


def contract(made: Materialised) -> Iterator[str]:
    """Sources, views, label and training rows hold what is declared, column by column, by the pandera compiler."""
    declared = made.system.declaration
    tables = {f"source/{name}": dict(source.columns) for name, source in declared.sources.items()}
    tables |= {f"features/{name}": dict(view.features) for name, view in declared.feature_views.items()}
    tables["label/all"] = label_columns(declared.label, declared.entity_of_label())
    tables["training_set/all"] = dict(declared.features())
    for table, columns in tables.items():
        rows = made.frame(table)
        lacking = [name for name in columns if name not in rows]
        if lacking:
            yield f"{table} lacks {', '.join(lacking)}"
            continue
        for row in violations(rows[list(columns)], columns).head(SHOWN).itertuples():
            yield f"{table}: {row.column} = {row.value!r} breaks {row.rule}"
        if rows.empty and table != "label/all" and not _optional(made, table):
            yield f"{table} is empty: nothing was tested"


def leakage(made: Materialised) -> Iterator[str]:
    """No training row knows anything later than its prediction, and features derive again from sources cut there."""
    training = made.platform.warehouse().resolve(f"{made.system.name}/training_set/all")
    rows = made.frame("training_set/all")
    for view in made.system.declaration.feature_views:
        for time in ("known_at", "event_at"):
            late = int((rows[f"{view}__{time}"] > rows["predict_at"]).sum())
            if late:
                yield f"{late} rows of {view} have a {time} after predict_at"
    early = int((rows["known_at"] <= rows["predict_at"]).sum())
    if early:
        yield f"{early} outcomes were known before they were asked about"
    report = leakage_check(made.platform.warehouse(), made.system, training, instants=6, seed=1)
    if not report.ok or not report.values_checked:
        yield report.sentence()


def repeatable(made: Materialised) -> Iterator[str]:
    """The same files again make no new version of a source, a view or the training set."""
    declared = made.system.declaration
    tables = [f"source/{name}" for name in declared.sources] + [f"features/{name}" for name in declared.feature_views]
    again = made.execute(*tables, "training_set")
    yield from (f"{asset} failed the second time: {told}" for asset, told in _failures(again).items())
    for event in again.get_asset_materialization_events():
        told = event.materialization.metadata.get("unchanged")
        if told is not None and told.value is not True:
            yield f"{event.materialization.asset_key.to_user_string()} is another table the second time"


def on_demand(made: Materialised) -> Iterator[str]:
    """On-demand functions give the same bits for a column as for each of its values."""
    features = made.system.all_features()
    functions = features.functions()
    rows = made.frame("training_set/all")
    rows = rows.sample(min(len(rows), 200), random_state=SEED)
    for spec in features.on_demand:
        columns = {n: np.append(rows[n].to_numpy(np.float64, na_value=np.nan), np.nan) for n in spec.inputs}
        whole = functions[spec.name](**columns)
        for row in range(len(rows) + 1):
            one = functions[spec.name](**{name: float(values[row]) for name, values in columns.items()})
            for name in spec.outputs:
                if np.float64(one[name]).tobytes() != np.float64(whole[name][row]).tobytes():
                    given = {n: float(values[row]) for n, values in columns.items()}
                    yield f"{name} of {given} is {float(one[name])!r} alone and {float(whole[name][row])!r} in a column"
                    return


def promotion(made: Materialised) -> Iterator[str]:
    """The decision is recorded with a reason for every gate; the champion is the bundle it was made about."""
    decisions = made.platform.registry().decisions(made.system.name)
    first = min(decisions, key=lambda decision: decision.decision_id)
    gates = first.evidence["gates"]
    if not first.reasons or len(gates) < 3:
        yield f"the decision has {len(gates)} gates and {len(first.reasons)} reasons"
    yield from (f"gate {gate['gate']} gives no reason" for gate in gates if not gate["reason"].strip())
    if first.promote != all(gate["passed"] for gate in gates):
        yield "the decision is not what its gates say"
    waits = first.expires_at is not None  # for a person's approval, which this suite gives
    if first.promote == made.refused and not waits:
        yield "the registry's champion is not what was decided"
    champion = made.platform.registry().champion(made.system.name)
    pointer = json.loads(made.home.champion(made.system.name).read_text())
    if champion is None or pointer["bundle"] != champion.bundle or first.bundle != champion.bundle:
        yield "registry, pointer and decision name different bundles"


def card(made: Materialised) -> Iterator[str]:
    """The champion's card names owner, training set, every feature with its raw columns, scores and limits."""
    bundle = champion_bundle(made.platform, made.system)
    assert bundle is not None
    text = (made.home.bundles(made.system.name) / bundle.hash / "card.md").read_text()
    training = made.platform.warehouse().resolve(f"{made.system.name}/training_set/all")
    wanted = [made.system.name, made.system.declaration.owner, training.content_hash, "Scores", "Limits", "Calibrator"]
    yield from (f"the card does not say {word!r}" for word in wanted if word not in text)
    for name in bundle.feature_set.model_features:
        if f"| {name} |" not in text:
            yield f"the card has no row for feature {name}"
    if made.served.model.get("card") != text:
        yield "GET /model gives another card than the bundle's"
    yield from golden_faults(bundle)


def calibration(made: Materialised) -> Iterator[str]:
    """Each model is measured on rows it never saw, with a report; a champion's miscalibration is within its gate.

    Of a matrix the one that is judged has the report; the others' miscalibration stands on their partitions.
    """
    decision = min(made.platform.registry().decisions(made.system.name), key=lambda d: d.decision_id)
    told = _told_miscalibration(made)
    grouped = {model for models in made.system.declaration.model_groups().values() for model in models}
    for model in dict.fromkeys((*made.system.declaration.models, decision.model)):
        rows = made.frame(f"models/{model}")
        if not rows["probability"].between(0, 1).all():
            yield f"{model} gives probabilities outside 0 to 1"
        if rows["outcome"].nunique() < 2:
            yield f"the test rows of {model} have one outcome: nothing was tested"
        found = _miscalibration(rows["outcome"].to_numpy(np.float64), rows["probability"].to_numpy(np.float64))
        if model in grouped and abs(told.get(model, math.inf) - found) > 1e-9:
            yield f"the partition of {model} says {told.get(model)} of its miscalibration; it is {found:.5f}"
        report = made.home.reports / made.system.name / f"calibration-{model}" / "report.json"
        if (model not in grouped or model == decision.model) and not report.is_file():
            yield f"{model} has no calibration report"
        limit = made.system.declaration.gates.miscalibration_max
        if model == decision.model and decision.promote and found > limit + 1e-9:
            yield f"the champion's miscalibration is {found:.5f}; {limit:g} is allowed"


def batch(made: Materialised) -> Iterator[str]:
    """Whoever can be asked about now has one probability between 0 and 1, and a decision where a rule is declared."""
    rows = made.frame("batch_predictions/all") if made.completed is None or made.completed.success else pd.DataFrame()
    if rows.empty:
        yield "nobody can be asked about now: nothing was tested"
        return
    keys = list(made.system.declaration.entity_of_label().keys)
    if rows.duplicated(keys).any():
        yield "an entity stands there twice"
    if not rows["probability"].between(0, 1).all():
        yield "a probability lies outside 0 to 1"
    decided = [json.loads(text) for text in rows["decision"]]
    if made.system.declaration.decide and not all(d and d.get("action") for d in decided):
        yield "a decision has no action"


def serving(made: Materialised) -> Iterator[str]:
    """The service gives the batch's numbers, bit for bit: one by one, many at once, and by name in any order."""
    if len(made.served.batch) != len(made.served.rows):
        yield f"{len(made.served.batch)} of {len(made.served.rows)} rows were answered at once"
    answers = zip(made.served.rows.itertuples(), made.served.singles, made.served.batch, strict=False)
    for row, single, many in answers:
        for way, answer in (("/predict", single), ("/predict_batch", many.get("receipt", many))):
            told = _differs(made, row, answer)
            if told:
                yield f"{way} of {answer.get('entity', answer)}: {told}"
                return
    yield from _by_name(made)


def request(made: Materialised) -> Iterator[str]:
    """A value that the contract forbids is refused with the feature's name and the rule, never used."""
    entity = made.entities(made.served.rows.head(1))[0]
    bundle = champion_bundle(made.platform, made.system)
    assert bundle is not None
    with made.service(made.served.rows["predict_at"].max().to_pydatetime()) as client:
        for spec in bundle.feature_set.features:
            for rule, value in _forbidden(spec.contract):
                if spec.view is None or not spec.contract.request:
                    continue
                answer = client.predict({"entity": entity, "features": {spec.name: value}})
                if answer.status != 422 or (spec.name, rule) not in answer.rules:
                    yield f"{spec.name} = {value!r} is answered with {answer.status}, not refused by {rule}"


def parity(made: Materialised) -> Iterator[str]:
    """The warehouse explains every value in the online store and every value that was served."""
    views = [name for name, view in made.system.declaration.feature_views.items() if view.online]
    fed = fed_views(made.system, made.home)
    stands = compare_online(made.platform, made.system, views, now=made.platform.clock(), fed=fed)
    assert made.served.singles
    answered = compare_served(made.platform, made.system, now=made.platform.clock(), fed=fed)
    for what, report in (("online", stands), ("served", answered)):
        if not report.ok:
            yield f"{what}: {report.sentence('values')}"
        if not report.compared:
            yield f"{what}: no value was compared: nothing was tested"


def trace(made: Materialised) -> Iterator[str]:
    """An answer is walked back to its training set and recomputed to the same number."""
    answer = made.served.singles[0]
    platform = made.platform
    found = trace_prediction(
        answer["prediction_id"], system=made.system, home=made.home, log=platform.prediction_log(made.system.name),
        warehouse=platform.warehouse(), registry=platform.registry(), tracking=platform.tracking(),
    )  # fmt: skip
    if not found.same_number or found.recomputed != answer["probability"]:
        yield f"answered was {answer['probability']!r}, recomputed {found.recomputed!r}"


RULES: dict[str, Callable[[Materialised], Iterator[str]]] = {
    rule.__name__: rule
    for rule in (
        simulator, continued, graph, checks, contract, leakage, repeatable, on_demand, promotion, card, calibration,
        batch, serving, request, parity, trace,
    )
}  # fmt: skip
"""Every rule by its name, in the order in which a system is best mended."""


def _written(made: Materialised, seed: int) -> dict[str, str]:
    """SHA-256 of every file that the simulator writes, by name."""
    declared = made.system.declaration.simulate
    assert declared is not None
    with tempfile.TemporaryDirectory() as folder:
        made.system.function(declared)(Path(folder), seed=seed, now=NOW)
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _continued(made: Materialised, data: Path, ahead: timedelta) -> Path:
    declared = made.system.declaration.simulate
    assert declared is not None
    made.system.function(declared)(data / made.system.name, seed=SEED, now=NOW, until=NOW + ahead)
    return data


def _lost(before: pd.DataFrame, after: pd.DataFrame, source: Source) -> int:
    """Rows of `before` that are gone from `after`, or hold another value where they held one."""
    columns = [name for name in before if name in source.columns]
    keys = [name for name in source.key if name in columns]
    both = before[columns].merge(after[columns], on=keys, how="left", suffixes=("", "_after"), indicator=True)
    wrong = both["_merge"] == "left_only"
    for name in set(columns) - set(keys):
        wrong |= both[name].notna() & (both[name] != both[f"{name}_after"])
    return int(wrong.sum())


def _rows(paths: list[Path]) -> pd.DataFrame:
    """The rows of a source's files as they are stored."""
    read = [pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str) for path in paths]
    return pd.concat(read, ignore_index=True)


def _failures(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """What each failed step said of itself, by asset."""
    failed = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    return {str(event.step_key).partition("__")[2].replace("__", "/"): reason(event) for event in failed}


def _upstream(nodes: Any, key: dg.AssetKey) -> set[dg.AssetKey]:
    found, left = set(), [key]
    while left:
        found.add(one := left.pop())
        left += [up for up in nodes.get(one).parent_keys if up not in found]
    return found


def _optional(made: Materialised, table: str) -> bool:
    kind, _, name = table.partition("/")
    if kind != "source":
        return False
    source = made.system.declaration.sources[name]
    # A simulator writes files; a stream is empty until somebody posts to it.
    return source.optional or source.kind == "stream"


def _differs(made: Materialised, row: Any, answer: dict[str, Any]) -> str:
    """The first difference between a batch row and a receipt; empty where they are the same."""
    if "probability" not in answer:
        return f"no probability: {json.dumps(answer)[:300]}"
    if answer["probability"] != row.probability:
        return f"probability {answer['probability']!r}, batch {row.probability!r}"
    if answer["model"]["bundle"] != row.bundle:
        return f"bundle {answer['model']['bundle'][:12]}, batch {row.bundle[:12]}"
    if answer["decision"] != json.loads(row.decision):
        return f"decision {answer['decision']}, batch {row.decision}"
    for name, shown in answer["features"].items():
        mine = getattr(row, name)
        same = shown["value"] is None if pd.isna(mine) else shown["value"] == mine
        if not same:
            return f"{name} is {shown['value']!r}, batch {mine!r}"
    return ""


def _by_name(made: Materialised) -> Iterator[str]:
    """The same values given with the request, last feature first."""
    features = made.system.declaration.features()
    rows = made.served.rows.head(BY_NAME)
    with made.service(rows["predict_at"].max().to_pydatetime()) as client:
        for row, entity, single in zip(rows.itertuples(), made.entities(rows), made.served.singles, strict=False):
            given = {
                name: _plain(features[name], shown["value"])
                for name, shown in reversed(single["features"].items())
                if features[name].request and made.system.declaration.view_of(name) and shown["value"] is not None
            }
            answer = client.predict({"entity": entity, "features": given}).json
            if answer.get("probability") != row.probability:
                told = answer.get("probability", json.dumps(answer)[:300])
                yield f"{entity} with its features in another order gives {told}, batch {row.probability!r}"
                return


def _plain(feature: Feature, value: Any) -> Any:
    return int(value) if feature.dtype == "int64" else value


def _forbidden(feature: Feature) -> list[tuple[str, Any]]:
    """A rule of the contract and a value that breaks it."""
    if feature.dtype not in ("float64", "int64"):
        return []
    kind = int if feature.dtype == "int64" else float
    found: list[tuple[str, Any]] = [("dtype", "7")]
    if feature.min is not None:
        found.append(("min", kind(math.floor(feature.min) - 1)))
    if feature.max is not None:
        found.append(("max", kind(math.ceil(feature.max) + 1)))
    return found


def _told_miscalibration(made: Materialised) -> dict[str, Any]:
    """What this run recorded on the partition of each model of a matrix, by model."""
    if not made.system.declaration.model_groups():
        return {}
    events = [event.materialization for event in made.run.get_asset_materialization_events()]
    return {
        str(event.partition): event.metadata["miscalibration"].value
        for event in events
        if event.partition and event.asset_key.path[1] == "calibration" and "miscalibration" in event.metadata
    }


def _miscalibration(outcomes: np.ndarray, probability: np.ndarray) -> float:
    """CORP miscalibration of the Brier score: what isotonic recalibration of these very rows would win.

    Dimitriadis, Gneiting and Jordan 2021, PNAS 118, e2016191118; pooled here by scikit-learn, not by our own code.
    """
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1).fit_transform(probability, outcomes)
    return float(np.mean((probability - outcomes) ** 2) - np.mean((fitted - outcomes) ** 2))
