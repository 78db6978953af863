"""Verbs of whoever operates a served system: rolling back, replaying answers.

Belongs here: opening what a verb needs from the surroundings and printing what it did.
Does not belong here: choosing the bundle (`promote/rollback.py`), computing again (`serve/replay.py`).
"""

from __future__ import annotations

import getpass
from datetime import timedelta
from pathlib import Path

from rich.console import Console

from forecastle.cli.surroundings import Surroundings
from forecastle.contract.errors import ForecastleError
from forecastle.contract.types import parse_duration
from forecastle.learn.bundle import load_bundle
from forecastle.promote.promote import Candidate, rollback, settle
from forecastle.promote.registry import Promotion
from forecastle.promote.rollback import PREFIX_LENGTH_MIN, rollback_reason, rollback_target
from forecastle.promote.rollout import RolloutRecord, RolloutStep, publish_challenger
from forecastle.serve.challenger import SHADOW
from forecastle.serve.champion import load_champion
from forecastle.serve.receipt import microseconds
from forecastle.serve.replay import ShadowSummary, replay_prediction, shadow, summary
from forecastle.store.logged import streamed


def roll_back(
    system: str, around: Surroundings, *, to: str | None, reason: str, by: str, console: Console
) -> Promotion:
    """Make an earlier champion answer again: one recorded act, followed by every server within its polling interval.

    Raises:
        LearnError: no earlier bundle fits.
        BundleError: the bundle on disk is damaged; the champion stays.
        ConflictError: another promotion came first.
    """
    registry, home = around.registry(), around.home
    history = registry.history(system)
    target = rollback_target(history, to=to)
    facts = load_bundle(home.bundles(system) / target.bundle, expected_hash=target.bundle).facts
    made = settle(
        Candidate(system, str(facts.get("model", system)), target.bundle, target.model_version),
        rollback(rollback_reason(history[0].bundle, by=by, reason=reason)),
        None,
        registry=registry,
        tracking=around.tracking(),
        bundles=home.bundles(system),
        pointer=home.champion(system),
        expected=history[0],
        approved_by=by,
    )
    if made is None:
        raise ForecastleError(f"{system}: nothing was promoted; look at `forecastle history {system}`")
    console.print(f"{system}: bundle {made.bundle[:12]} (version {made.model_version}) answers again", highlight=False)
    return made


def challenge(system: str, bundle: str, around: Surroundings, *, reason: str, console: Console) -> None:
    """Put a bundle under trial with the declared share of the entities, or in the shadow of every answer.

    Raises:
        LearnError: another trial is running.
        ForecastleError: it is the champion.
        BundleError: the bundle does not pass the checks that serving makes.
    """
    declared, home = around.system(system).declaration.rollout, around.home
    folder = _bundle(home.bundles(system), bundle)
    champion = around.registry().champion(system)
    if champion is not None and champion.bundle == folder.name:
        raise ForecastleError(f"{system}: bundle {folder.name[:12]} is the champion; put another one under trial")
    loaded = load_champion(folder, system=system, expected_hash=folder.name)
    record = RolloutRecord(home.registry, clock=around.clock)
    record.start(
        system, bundle=folder.name, model_version=loaded.model_version, share=declared.challenger_share,
        approved_by=getpass.getuser(), reason=reason,
    )  # fmt: skip
    publish_challenger(home.challenger(system), record, system=system, declaration=declared)
    how = "in the shadow of every answer" if declared.shadow else f"for {declared.challenger_share:.0%} of the entities"
    console.print(f"{system}: bundle {folder.name[:12]} is under trial {how}", highlight=False)


def stop_challenger(system: str, around: Surroundings, *, reason: str, console: Console) -> None:
    """End the trial: the champion answers everybody again.

    Raises:
        ForecastleError: no trial is running.
    """
    declared, home = around.system(system).declaration.rollout, around.home
    record = RolloutRecord(home.registry, clock=around.clock)
    running = record.running(system)
    if running is None:
        raise ForecastleError(f"{system}: no bundle is under trial; nothing to stop")
    record.apply(running, RolloutStep("stop", (reason,)), declaration=declared, approved_by=getpass.getuser())
    publish_challenger(home.challenger(system), record, system=system, declaration=declared)
    console.print(f"{system}: the trial of bundle {running.bundle[:12]} has ended", highlight=False)


def replay_one(system: str, prediction_id: str, around: Surroundings, *, console: Console) -> bool:
    """Compute one logged answer again and print both numbers; whether they are the same."""
    log = around.prediction_log(system)
    prediction = log.get(prediction_id)
    log.close()
    if prediction is None:
        raise ForecastleError(
            f"{system} has given no prediction {prediction_id!r}; look at the receipt's prediction_id"
        )
    folder = around.home.bundles(system) / prediction.bundle
    bundle = load_champion(folder, system=system, expected_hash=prediction.bundle)
    again = replay_prediction(prediction, bundle)
    console.print(f"bundle   {prediction.bundle[:12]} (version {prediction.model_version})", highlight=False)
    console.print(f"logged   {prediction.probability!r}  {prediction.decision_json}", highlight=False, markup=False)
    console.print(f"replayed {again.probability!r}  {again.decision_json}", highlight=False, markup=False)
    console.print("the same" if again.is_same else "NOT the same")
    return again.is_same


def replay_candidate(
    system: str, around: Surroundings, *, candidate: str, last: str, console: Console
) -> ShadowSummary:
    """What a candidate would have answered to the requests of the last while, beside what was answered.

    Raises:
        ForecastleError: the span or the bundle is not understood.
    """
    try:
        span: timedelta = parse_duration(last)
    except ValueError as error:
        raise ForecastleError(f"--last is {last!r}; write a time such as 7d or 12h") from error
    since_us = microseconds(around.clock() - span)
    folder = _bundle(around.home.bundles(system), candidate)
    loaded = load_champion(folder, system=system, expected_hash=folder.name)
    log = around.prediction_log(system)
    table = shadow((p for p in streamed(log, since_us=since_us) if p.variant != SHADOW), loaded)
    log.close()
    found = summary(table)
    console.print(
        f"{found.answers} answers since {last} ago; candidate {folder.name[:12]} answers {found.answered} of them",
        highlight=False,
    )
    if found.answered < found.answers:
        reasons = table.loc[table["not_answered"] != "", "not_answered"]
        console.print(f"why not the others, most often: {reasons.mode()[0]}", highlight=False, markup=False)
    if not found.answered:
        return found  # nothing stands beside nothing: no mean
    console.print(
        f"candidate minus answer: mean {found.mean_difference:+.5f}, mean absolute "
        f"{found.mean_absolute_difference:.5f}, largest {found.largest_difference:.5f}\n"
        f"decisions changed: {found.decisions_changed}",
        highlight=False,
    )
    return found


def _bundle(bundles: Path, named: str) -> Path:
    """The one bundle folder whose hash begins with the text."""
    fitting = [folder for folder in bundles.glob(f"{named}*") if folder.is_dir()] if named.isalnum() else []
    if len(named) < PREFIX_LENGTH_MIN or len(fitting) != 1:
        raise ForecastleError(
            f"{named!r} names {len(fitting)} bundles of {bundles.name}; give {PREFIX_LENGTH_MIN} digits or more of one"
        )
    return fitting[0]
