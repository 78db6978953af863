"""Rollback: which earlier champion comes back.

Belongs here: choosing among recorded promotions, the sentence that a rollback is recorded with, and finding it again.
Does not belong here: the act itself, which is a promotion like any other (`promote.settle`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from forecastle.contract.errors import LearnError
from forecastle.promote.registry import Promotion

PREFIX_LENGTH_MIN = 8
_ROLLED_BACK: Final = "rolled back from "


def rollback_target(history: Sequence[Promotion], *, to: str | None = None) -> Promotion:
    """The promotion whose bundle should answer again.

    Args:
        history: promotions of one system, newest first.
        to: a bundle hash or at least its first eight digits; without it the last champion that was another bundle.

    Raises:
        LearnError: there is no champion, nothing earlier, or no or several bundles fit.
    """
    if not history:
        raise LearnError("there is no champion to roll back from; promote a bundle first")
    live = history[0].bundle
    earlier = [promotion for promotion in history if promotion.bundle != live]
    if to is None:
        if not earlier:
            raise LearnError(f"bundle {live[:12]} is the only champion there ever was; nothing to go back to")
        return earlier[0]
    if live.startswith(to):
        raise LearnError(f"bundle {live[:12]} is the champion already; nothing changes")
    fitting = {promotion.bundle: promotion for promotion in reversed(earlier) if promotion.bundle.startswith(to)}
    if len(to) < PREFIX_LENGTH_MIN or len(fitting) != 1:
        known = ", ".join(dict.fromkeys(promotion.bundle[:12] for promotion in earlier)) or "none"
        raise LearnError(
            f"{to!r} names {len(fitting)} former champions; give {PREFIX_LENGTH_MIN} digits or more of one of: {known}"
        )
    return next(iter(fitting.values()))


def rollback_reason(live: str, *, by: str, reason: str) -> str:
    """The sentence that the registry keeps of a rollback away from the bundle `live`: who, and why in their words."""
    return f"{_ROLLED_BACK}{live[:12]} by {by}: {reason}"


def is_rollback(reasons: Sequence[str]) -> bool:
    """Do these reasons of a recorded decision say that a person rolled back?"""
    return any(reason.startswith(_ROLLED_BACK) for reason in reasons)


def withdrawal(bundle: str, history: Sequence[Promotion], reasons: Mapping[int, Sequence[str]]) -> str | None:
    """What was said when a person rolled back from this very bundle; None where nobody did, or it came back since.

    Args:
        bundle: its hash.
        history: promotions of one system, newest first.
        reasons: of each recorded decision, by its id.
    """
    last = next((place for place, promotion in enumerate(history) if promotion.bundle == bundle), 0)
    if last == 0:
        return None
    said = reasons.get(history[last - 1].decision_id or 0, ())
    return said[0] if is_rollback(said) else None
