"""Was a story noticed, by its right name and soon, and was nothing wrong done meanwhile: one verdict a simulated month.

Belongs here: from alerts, runs and promotions of a month to a verdict with its reasons.
Does not belong here: telling stories (`stories.py`), running the month (`assets/`), printing (`cli/`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from forecastle.alert.alerts import Alert
from forecastle.contract.load import LoadedSystem
from forecastle.story.stories import STORIES, Story, Told

FALSE_ALERTS_MAX: Final = 1
SILENCE_BAR: Final = timedelta(minutes=15)
ONE_LOOK: Final = timedelta(minutes=1)
REFUSED_WITHIN: Final = timedelta(days=1)
NAMED_WITHIN: Final = timedelta(days=1)
"""After a true symptom of a story that shows in single rows; what shows only over days may be named later."""
NAMELESS: Final = frozenset({"outlier_rate"})
"""Causes that say that something moved and not why: true in several stories, misleading in none."""
OPENING: Final = frozenset({"raised", "worse"})


@dataclass(frozen=True, slots=True)
class Month:
    """What a month left behind, all instants UTC.

    `alerts` are those raised in it, oldest first; `promotions` each (instant, newest `predict_at` of the rows that the
    model was trained and judged on), a row holding only what was known by then; `refused` the (instant, asset,
    sentence) of each asset that was not made; `made` the (instant, asset) of each that was; `unexpected` what went
    wrong beside, such as a question that the service did not answer; `overdue_at` when the silent source's declared
    window had passed.
    """

    since: datetime
    alerts: Sequence[Alert]
    promotions: Sequence[tuple[datetime, datetime]]
    refused: Sequence[tuple[datetime, str, str]]
    made: Sequence[tuple[datetime, str]]
    unexpected: Sequence[str] = ()
    overdue_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a story ended.

    `to_detect_seconds` counts from the first bad row that could be read (the first missing one), `past_window_seconds`
    from when the declared freshness window had passed. `alerts` is how many were raised since the story began
    (in a calm month: in all of it).
    """

    story: str
    since: datetime
    detected_at: datetime | None
    to_detect_seconds: float | None
    past_window_seconds: float | None
    cause: str
    asset: str
    message: str
    right: bool
    reasons: tuple[str, ...] = field(default=())
    alerts: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        times = {"since": self.since.isoformat(), "detected_at": self.detected_at and self.detected_at.isoformat()}
        return {**asdict(self), **times, "reasons": list(self.reasons)}


def judge(system: LoadedSystem, story: Story, told: Told, month: Month) -> Verdict:
    """Apply the rules that the story's declaration asks for; every rule that is broken is a reason."""
    raised = [a for a in month.alerts if a.kind in OPENING and a.raised_at is not None]
    if not story.causes:
        return _calm(story, month, [a for a in raised if a.kind == "raised"])
    after = [a for a in raised if a.raised_at and a.raised_at >= month.since]
    right = next((a for a in after if a.cause in story.causes and _touches(system, told, a)), None)
    wrong = [*month.unexpected]
    if right is None:
        wrong.append(f"alerts named other causes: {_named(after)}" if after else f"nobody was told: {told.happened}")
    else:
        wrong += _misnamed(story, after, right)
        wrong += _late(story, month, right)
    wrong += _promoted(story, told, month)
    wrong += _let_through(story, told, month)
    at = right.raised_at if right else None
    late = at - month.overdue_at if at and month.overdue_at else None
    return Verdict(
        story.name,
        month.since,
        at,
        (at - told.first_at).total_seconds() if at and told.first_at else None,
        late.total_seconds() if late is not None else None,
        right.cause if right else "",
        right.asset if right else "",
        right.message if right else "",
        not wrong,
        tuple(wrong),
        len(after),
    )


def affected(system: LoadedSystem, source: str) -> frozenset[str]:
    """Feature views that a source's rows reach."""
    views = system.declaration.feature_views
    return frozenset(name for name, view in views.items() if source in system.reads(view.sql))


def _calm(story: Story, month: Month, false: Sequence[Alert]) -> Verdict:
    """Nothing happens in the whole month, so every alert of it is a false one."""
    wrong = list(month.unexpected)
    if len(false) > FALSE_ALERTS_MAX:
        wrong.append(f"{len(false)} false alerts, at most {FALSE_ALERTS_MAX} is allowed: {_named(false)}")
    first = false[0] if false else None
    at = first.raised_at if first else None
    cause, asset, message = (first.cause, first.asset, first.message) if first else ("", "", "")
    return Verdict(story.name, month.since, at, None, None, cause, asset, message, not wrong, tuple(wrong), len(false))


def _touches(system: LoadedSystem, told: Told, alert: Alert) -> bool:
    """Is the alert about the source, about what is made of it, or about the whole population?"""
    _, _, asset = alert.asset.partition("/")
    kind, _, name = asset.partition("/")
    if kind == "source":
        return name == told.source
    return kind not in ("features", "online") or name in affected(system, told.source)


def _misnamed(story: Story, after: Iterable[Alert], right: Alert) -> list[str]:
    """Another story's name that came before the right one: a wrong cause, or a symptom long before it."""
    others = frozenset(cause for other in STORIES.values() for cause in other.causes) - story.causes - NAMELESS
    assert right.raised_at is not None
    # What one look of the automation finds is found together, whichever check is written down first.
    before = [a for a in after if a.cause in others and a.raised_at and a.raised_at < right.raised_at - ONE_LOOK]
    misleading = [alert for alert in before if not _is_early_symptom(story, alert, right)]
    return [f"{_named(misleading)} came first"] if misleading else []


def _is_early_symptom(story: Story, alert: Alert, right: Alert) -> bool:
    """Is it true in this story too, and did the right name follow soon enough for nobody to be misled?"""
    assert alert.raised_at is not None
    assert right.raised_at is not None
    soon = story.shows == "days" or right.raised_at - alert.raised_at <= NAMED_WITHIN
    return alert.cause in story.symptoms and soon


def _late(story: Story, month: Month, right: Alert) -> list[str]:
    if story.name != "stale" or month.overdue_at is None or right.raised_at is None:
        return []
    late = right.raised_at - month.overdue_at
    if late <= SILENCE_BAR:
        return []
    return [f"the alert came {late} after the declared window had passed, at most {SILENCE_BAR} is allowed"]


def _promoted(story: Story, told: Told, month: Month) -> list[str]:
    """Promotions of models that saw spoilt rows: what was trained on rows from before the first one is right."""
    if not story.spoils or told.first_at is None:
        return []
    wrong = [at for at, rows_until in month.promotions if rows_until >= told.first_at]
    return [f"{len(wrong)} promotion(s) on spoilt rows, the first at {wrong[0]:%Y-%m-%d %H:%M}"] if wrong else []


def _let_through(story: Story, told: Told, month: Month) -> list[str]:
    """A source that should have been refused: within a day, for it takes some rows to tell, and for good."""
    if story.refuses != "source" or told.first_at is None:
        return []
    source, first_at = f"source/{told.source}", told.first_at
    refused_at = min((at for at, asset, _ in month.refused if asset == source and at >= first_at), default=None)
    if refused_at is None or refused_at - first_at > REFUSED_WITHIN:
        return [f"{source} was not refused within a day"]
    made = any(asset == source for at, asset in month.made if at > refused_at)
    return [f"{source} was refused and made again all the same"] if made else []


def _named(alerts: Sequence[Alert]) -> str:
    return ", ".join(dict.fromkeys(f"{a.cause} of {a.asset.partition('/')[2]}" for a in alerts))
