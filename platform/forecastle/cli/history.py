"""The history of a system on the terminal: which bundle answered, why that one, who said so; and approving one.

Belongs here: what is printed of promotions, of what waits for approval and of what was under trial.
Does not belong here: keeping them (`promote/registry.py`, `promote/rollout.py`), approving (`promote/approval.py`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from rich.console import Console

from forecastle.cli.surroundings import Surroundings
from forecastle.contract.errors import ForecastleError
from forecastle.promote.approval import approve, awaiting
from forecastle.promote.registry import Promotion, RecordedDecision
from forecastle.promote.rollback import is_rollback
from forecastle.promote.rollout import RolloutAct, RolloutRecord

REFUSED_SHOWN: Final = 3
_ACTS: Final = {
    "start": "under trial since", "advance": "under trial, given more since", "stop": "trial stopped",
    "promote": "trial won",
}  # fmt: skip


def moment_option(at: str | None) -> datetime | None:
    """The instant that `--at` names.

    Raises:
        ForecastleError: it is no instant, or has no zone.
    """
    if at is None:
        return None
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        hint = "write an instant with zone, such as 2026-11-21T14:05:00+00:00"
        raise ForecastleError(f"--at is {at!r}; {hint}") from None
    if moment.tzinfo is None:
        raise ForecastleError(f"--at is {at!r}, which has no zone; write 2026-11-21T14:05:00+00:00")
    return moment


def print_history(
    system: str, around: Surroundings, *, at: datetime | None, as_json: bool = False, console: Console
) -> None:
    """Promotions, newest first, or the one that was live at an instant, each with its reasons and who approved it."""
    told = list(_told(system, around, at=at))
    if as_json:
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
        return
    if not told:
        console.print("No bundle was live.")
    for promotion in told:
        _print_promotion(promotion, console)
        if at is not None:
            _print_until(promotion, console)
    if at is None:
        _print_waiting(system, around, console)
        _print_refused(system, around, console)
        _print_newest_act(system, around, console)
        _print_retraining(system, around, console)
    else:
        _print_trial(system, around, at, console)


def print_approval(
    system: str, around: Surroundings, *, bundle: str | None, by: str, reason: str, console: Console
) -> None:
    """Approve the bundle that waits, and say what answers now.

    Raises:
        LearnError: nobody is named, or nothing of that kind waits.
        BundleError: the bundle is damaged.
        ConflictError: another promotion came first.
    """
    home = around.home
    made = approve(
        system,
        bundle=bundle,
        by=by,
        reason=reason,
        declared=around.system(system).declaration.promote,
        registry=around.registry(),
        tracking=around.tracking(),
        bundles=home.bundles(system),
        pointer=home.champion(system),
        now=around.clock(),
    )
    console.print(
        f"{system}: bundle {made.bundle[:12]} (version {made.model_version}) answers, approved by {made.approved_by}",
        highlight=False,
        markup=False,
    )


def _told(system: str, around: Surroundings, *, at: datetime | None) -> Iterator[dict[str, Any]]:
    registry = around.registry()
    decisions = {decision.decision_id: decision for decision in registry.decisions(system)}
    promotions = registry.history(system)
    successors = {promotion.previous_id: promotion for promotion in promotions}
    made = [promotion for promotion in promotions if at is None or promotion.promoted_at <= at]
    for promotion in made[: 1 if at else None]:
        decision = decisions.get(promotion.decision_id or 0)
        yield _plain(promotion, decision, successor=successors.get(promotion.promotion_id))


def _plain(promotion: Promotion, decision: RecordedDecision | None, *, successor: Promotion | None) -> dict[str, Any]:
    return {
        "live_since": promotion.promoted_at.isoformat(),
        "live_until": successor.promoted_at.isoformat() if successor else None,
        "replaced_by": successor.bundle if successor else None,
        "model": decision.model if decision else None,
        "model_version": promotion.model_version,
        "bundle": promotion.bundle,
        "approved_by": promotion.approved_by,
        "approval_reason": promotion.reason or None,
        "is_rollback": is_rollback(decision.reasons) if decision else False,
        "reasons": list(decision.reasons) if decision else [],
        "evidence": dict(decision.evidence) if decision else {},
    }


def _print_promotion(told: dict[str, Any], console: Console) -> None:
    since = datetime.fromisoformat(told["live_since"])
    model = f"{told['model']} " if told["model"] else ""
    said = f": {told['approval_reason']}" if told["approval_reason"] else ""
    line = f"{since:%Y-%m-%d %H:%M:%S} UTC  {model}version {told['model_version']}  bundle {told['bundle'][:12]}"
    how = "rolled back by" if told["is_rollback"] else "by"
    console.print(f"{line}  {how} {told['approved_by']}{said}", highlight=False, markup=False, soft_wrap=True)
    for reason in told["reasons"]:
        console.print(f"    {reason}", highlight=False, markup=False, soft_wrap=True)


def _print_until(told: dict[str, Any], console: Console) -> None:
    """Until when it was live, and what took its place."""
    line = "    live still"
    if told["live_until"]:
        until = datetime.fromisoformat(told["live_until"])
        line = f"    live until {until:%Y-%m-%d %H:%M:%S} UTC, when bundle {told['replaced_by'][:12]} took its place"
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _print_waiting(system: str, around: Surroundings, console: Console) -> None:
    for decision in awaiting(around.registry(), system, now=around.clock()):
        console.print(
            f"waits for approval until {decision.expires_at:%Y-%m-%d %H:%M} UTC: {decision.model} version "
            f"{decision.model_version}, bundle {decision.bundle[:12]}; forecastle approve {system} --by NAME",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def _print_refused(system: str, around: Surroundings, console: Console) -> None:
    """The newest of those that did not become champion: refused by gates, or because another act came first."""
    refused = [decision for decision in around.registry().decisions(system) if not decision.promote]
    for decision in refused[:REFUSED_SHOWN]:
        console.print(
            f"refused {decision.decided_at:%Y-%m-%d %H:%M:%S} UTC: {decision.model} version {decision.model_version}, "
            f"bundle {decision.bundle[:12]}: {decision.reasons[0]}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    if len(refused) > REFUSED_SHOWN:
        console.print(f"refused before: {len(refused) - REFUSED_SHOWN} more", highlight=False)


def _print_retraining(system: str, around: Surroundings, console: Console) -> None:
    """The newest retrain decision with its reasons, where the asset has made one."""
    warehouse = around.warehouse()
    version = warehouse.version(f"{system}/retrain_decision/all")
    if version is None:
        return
    table = warehouse.frame(version)
    at = datetime.fromisoformat(version.facts["decided_at"])
    console.print(f"training again: {table['decision'].iloc[0]} (decided {at:%Y-%m-%d %H:%M} UTC)", highlight=False)
    for said, reason in zip(table["says"], table["reason"], strict=True):
        console.print(f"    {said}: {reason}", highlight=False, markup=False, soft_wrap=True)


def _print_newest_act(system: str, around: Surroundings, console: Console) -> None:
    """Of the newest trial what happened last: where it stands or how it ended, and why."""
    act = next(iter(RolloutRecord(around.home.registry, clock=around.clock).history(system)), None)
    if act is None:
        return
    share = f", {_share(act, system, around)}" if act.is_running else ""
    console.print(
        f"{_ACTS[act.action]} {act.at:%Y-%m-%d %H:%M:%S} UTC{share}: bundle {act.bundle[:12]} (version "
        f"{act.model_version}) by {act.approved_by}: {act.reasons[0]}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _print_trial(system: str, around: Surroundings, at: datetime, console: Console) -> None:
    trial = _trial_at(RolloutRecord(around.home.registry, clock=around.clock).history(system), at)
    if trial is None:
        return
    share = _share(trial, system, around)
    console.print(
        f"under trial then, {share}: bundle {trial.bundle[:12]} (version {trial.model_version}) by {trial.approved_by}",
        highlight=False,
        markup=False,
    )


def _share(trial: RolloutAct, system: str, around: Surroundings) -> str:
    shadow = around.system(system).declaration.rollout.shadow
    return "in the shadow of every answer" if shadow else f"for {trial.share:.0%} of the entities"


def _trial_at(acts: list[RolloutAct], at: datetime) -> RolloutAct | None:
    newest = next((act for act in acts if act.at <= at), None)
    return newest if newest is not None and newest.is_running else None
