"""A simulated month: a world that grows day by day through the real assets, online store, service and log.

Belongs here: the days, the clock, the questions asked of the service, what is said of each day.
Does not belong here: automation (`simulated.py` does what the definitions ask for), stories and verdicts
(`forecastle.story.stories`, `forecastle.story.verdict`), printing (`forecastle.cli`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg
import numpy as np
import pandas as pd

from assets.simulated import Automation, Ran
from forecastle.alert.alerts import Alert
from forecastle.contract.errors import ForecastleError
from forecastle.contract.load import LoadedSystem
from forecastle.promote.registry import Promotion
from forecastle.serve.in_process import InProcessService
from forecastle.serve.settings import Settings
from forecastle.store.home import Home
from forecastle.store.training_set import rebuild_training_set
from forecastle.store.watermark import watermark
from forecastle.story.deliveries import Deliveries, Upstream, read_deliveries
from forecastle.story.stories import Story, Told
from forecastle.story.verdict import Month, Verdict, judge

BEGIN: Final = datetime(2026, 6, 1, 6, tzinfo=UTC)
LOADING_LOOKS: Final = 1_200
DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
ALERTS_READ: Final = 100_000
SWAP_SECONDS: Final = 30.0

Say = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a month is simulated.

    `every` is the time from one tick of the automation to the next, `look` how soon after a freshness window has passed
    there is one more, `story_after` when the story begins, `first_look` how soon after its first bad row there is a
    tick (the next ones after three and nine times as long, then hourly, for a day or until it is named and refused),
    `questions` how many entities are asked about at each tick, `world` further arguments of the system's simulator,
    such as a smaller world.
    """

    days: int = 30
    seed: int = 1
    every: timedelta = DAY
    look: timedelta = timedelta(minutes=5)
    first_look: timedelta = timedelta(minutes=5)
    story_after: timedelta = timedelta(days=7, hours=7)
    questions: int = 60
    world: dict[str, int] = field(default_factory=dict)

    @property
    def since(self) -> datetime:
        """When the story begins (UTC)."""
        return BEGIN + self.story_after

    @property
    def end(self) -> datetime:
        """The end of the month (UTC)."""
        return BEGIN + self.days * DAY


class SimulatedMonth:
    """One world below a folder, ready to be lived through once for each story."""

    def __init__(self, system: LoadedSystem, folder: Path, plan: Plan, *, say: Say) -> None:
        """`say` is told what happens, in keyword arguments that JSON can hold."""
        self.system, self.plan, self.say = system, plan, say
        self.folder = folder
        self.calm = self._make_world()
        self._has_begun = False

    def live(self, story: Story) -> Verdict:
        """The month with one story, in a folder of its own, from the first training on.

        A first model that the gates refuse begins a month like any other: nobody answers until one passes.

        Raises:
            ForecastleError: the first training came to no decision.
        """
        begun, folder = self.folder / "begun", self.folder / story.name
        if not self._has_begun:
            self._begin(begun)
        shutil.copytree(begun, folder)
        told = story.tell(self.system, self.calm, self.plan.since, np.random.default_rng(self.plan.seed))
        with dg.DagsterInstance.ephemeral() as instance:
            return _Life(self, self._automation(folder, instance), story, told).live()

    def _begin(self, folder: Path) -> None:
        """The first training, which is the same whatever happens later."""
        with dg.DagsterInstance.ephemeral() as instance:
            automation = self._automation(folder, instance)
            Upstream(automation.data).deliver(self.calm, now=BEGIN)
            ran = automation.run(BEGIN, why="the first training")
        if not automation.platform(BEGIN).registry().decisions(self.system.name):
            raise ForecastleError(f"{self.system.name} has no model to begin with: {'; '.join(ran.failed.values())}")
        self._has_begun = True

    def _automation(self, folder: Path, instance: dg.DagsterInstance) -> Automation:
        return Automation(self.system, folder / "home", folder / "data", instance)

    def _make_world(self) -> Deliveries:
        declared = self.system.declaration.simulate
        if declared is None:
            raise ForecastleError(f"{self.system.name} declares no simulator; a month needs a world to live in")
        world = self.folder / "world"
        simulate = self.system.function(declared)
        simulate(world / self.system.name, seed=self.plan.seed, now=self.plan.end, **self.plan.world)
        return read_deliveries(self.system, world)


class _Life:
    """One month with one story."""

    def __init__(self, month: SimulatedMonth, automation: Automation, story: Story, told: Told) -> None:
        self.month, self.automation, self.story, self.told = month, automation, story, told
        self.system, self.plan = month.system, month.plan
        self.now = BEGIN
        self.upstream = Upstream(automation.data)
        self.before = month.calm
        self.random = np.random.default_rng(self.plan.seed)
        self.ran: list[Ran] = []
        self.alerts_seen = 0
        self.alerts: list[Alert] = []
        self.promotions: list[Promotion] = []
        self.trained_until: list[tuple[datetime, datetime]] = []
        self.unexpected: list[str] = []
        self.overdue_at: datetime | None = None

    def live(self) -> Verdict:
        say = self.month.say
        say(event="month", system=self.system.name, story=self.story.name, days=self.plan.days, seed=self.plan.seed)
        self.deliver()
        self.note(self.automation.tick(self.now))
        self.look()
        home = Home(self.automation.home)
        settings = Settings(self.system.name, home, None, lambda: self.now, poll_seconds=0.01)
        with InProcessService(settings) as self.service:
            for instant in self.instants():
                self.tick(instant)
        verdict = judge(self.system, self.story, self.told, self.left())
        say(event="verdict", seed=self.plan.seed, **verdict.to_dict())
        return verdict

    @property
    def platform(self) -> Any:
        return self.automation.platform(self.now)

    def instants(self) -> Iterator[datetime]:
        """Ticks: every so often, dense where the story begins, and soon after a freshness window has passed."""
        regular = BEGIN + self.plan.every
        while regular <= self.plan.end:
            extra = [instant for instant in (self.next_overdue(), self.next_dense()) if instant and instant < regular]
            if extra:
                yield min(extra)
            else:
                yield regular
                regular += self.plan.every

    def next_dense(self) -> datetime | None:
        """Looks soon after the first bad row, for a day or until the story is settled: real sensors look every 30 s.

        What shows only over days is looked at daily.
        """
        first_at = self.told.first_at
        if first_at is None or self.story.shows == "days" or self.is_settled():
            return None
        soon = [first_at + self.plan.first_look * 3**power for power in range(3)]
        hourly = [soon[-1] + hours * HOUR for hours in range(1, 24)]
        return next((step for step in [*soon, *hourly] if step > self.now), None)

    def is_settled(self) -> bool:
        """Was the story named, and its source refused where it is to be?"""
        causes, source = self.story.causes, f"source/{self.told.source}"
        since = self.plan.since
        named = any(a.cause in causes and a.raised_at and a.raised_at >= since for a in self.alerts)
        refused = any(run.at >= since and source in run.failed for run in self.ran)
        return named and (refused or not self.story.refuses)

    def tick(self, instant: datetime) -> None:
        """One look of the automation: new files, what is due, questions to the service, what was said."""
        before, self.now = self.now, instant
        if self.story.causes and before < self.plan.since <= instant:
            self.month.say(event="story", at=self.plan.since.isoformat(), message=self.told.happened)
        self.deliver()
        waited = self.automation.waits
        self.note(self.automation.tick(instant))
        if self.automation.waits and self.automation.waits.split("(")[0] != waited.split("(")[0]:
            self.month.say(event="skipped", at=instant.isoformat(), message=self.automation.waits)
        self.ask()
        self.look()

    def deliver(self) -> tuple[str, ...]:
        deliveries = self.told.deliveries if self.now >= self.plan.since else self.before
        return self.upstream.deliver(deliveries, now=self.now)

    def note(self, ran: list[Ran]) -> None:
        """Keep what ran and say it."""
        self.ran += ran
        for run in ran:
            made = sorted(asset for asset in run.made if asset != "alerts")
            trained = [asset for asset in made if asset.startswith("models/")]
            self.month.say(
                event="ran", at=run.at.isoformat(), by=run.asked_by, why=run.why, made=made, trained=trained,
                failed=run.failed,
            )  # fmt: skip

    def ask(self) -> None:
        """Questions to the service about entities that can be asked about; its answers stand in the prediction log."""
        rows, nobody = self.entities()
        if nobody:
            self.month.say(event="skipped", at=self.now.isoformat(), message=f"nobody to ask, {nobody}")
            return
        self.service.wait(0.05)
        for _ in range(LOADING_LOOKS):  # the first champion of all is tried in a process of its own before it answers
            if self.service.get("/readyz").status == 200:
                break
            self.service.wait(0.05)
        chosen = rows.sample(min(len(rows), self.plan.questions), random_state=self.random)
        body = {"requests": [{"entity": entity} for entity in chosen.to_dict(orient="records")]}
        answered = self.service.post("/predict_batch", body)
        results = [row.get("receipt", row.get("error")) for row in answered.body.get("answers", [])]
        self.month.say(event="asked", at=self.now.isoformat(), **_tally(answered.status, results))
        if answered.status != 200:
            self.unexpected.append(f"the service answered {answered.status} at {self.now:%Y-%m-%d %H:%M}")

    def entities(self) -> tuple[pd.DataFrame, str]:
        """Whom the champion's newest batch answers for, and why for nobody."""
        registry, keys = self.platform.registry(), list(self.system.declaration.entity_of_label().keys)
        if registry.champion(self.system.name) is None:
            refused = registry.decisions(self.system.name)[0].reasons[0]
            return pd.DataFrame(columns=keys), f"no champion yet: {refused}"
        rows = self.platform.warehouse().frame(f"{self.system.name}/batch_predictions/all", keys)
        return rows, "what is known is too old for every entity" if rows.empty else ""

    def look(self) -> None:
        """Read what is new in the alert log and the registry, and say it."""
        log = self.platform_alerts()
        entries = log.newest(ALERTS_READ, system=self.system.name)[::-1]
        for alert in entries[self.alerts_seen :]:
            self.alerts.append(alert)
            self.month.say(
                event="alert", at=str(alert.raised_at), kind=alert.kind, severity=alert.severity, cause=alert.cause,
                asset=alert.asset, message=alert.message,
            )  # fmt: skip
        self.alerts_seen = len(entries)
        history = self.platform.registry().history(self.system.name)[::-1]
        reasons = {d.decision_id: d.reasons for d in self.platform.registry().decisions(self.system.name)}
        for promotion in history[len(self.promotions) :]:
            self.promotions.append(promotion)
            self.trained_until.append((promotion.promoted_at, self.newest_training_row()))
            self.month.say(
                event="promoted", at=promotion.promoted_at.isoformat(), version=promotion.model_version,
                reasons=list(reasons.get(promotion.decision_id or 0, ())),
            )  # fmt: skip

    def newest_training_row(self) -> datetime:
        """Until when the newest training set knows anything: a row holds what was known at its `predict_at`."""
        rows = self.platform.warehouse().frame(f"{self.system.name}/training_set/all", ["predict_at"])
        newest: datetime = rows["predict_at"].max().to_pydatetime()
        return newest

    def platform_alerts(self) -> Any:
        from resources.platform import Alerts

        return Alerts(platform=self.platform).log()

    def next_overdue(self) -> datetime | None:
        """The first look after the next declared freshness window passes, as the tables stand now."""
        declared, warehouse = self.system.declaration, self.platform.warehouse()
        limits = {f"source/{name}": source.freshness for name, source in declared.sources.items()}
        limits |= {f"features/{name}": view.freshness for name, view in declared.feature_views.items()}
        passed = []
        for table, freshness in limits.items():
            if freshness is None or warehouse.version(f"{self.system.name}/{table}") is None:
                continue
            newest = watermark(warehouse, f"{self.system.name}/{table}")
            if newest.known_at is None or newest.event_at is None:
                continue
            since = min(newest.known_at, newest.event_at)
            if self.story.name == "stale" and table == f"source/{self.told.source}" and self.now >= self.plan.since:
                self.overdue_at = since + freshness.warn
            passed += [since + freshness.warn, since + freshness.fail]
        steps = [BEGIN + -((BEGIN - at) // self.plan.look) * self.plan.look for at in passed]
        # At the very instant the window has not passed yet.
        later = [step + self.plan.look if step in passed else step for step in steps]
        return min((step for step in later if step > self.now), default=None)

    def left(self) -> Month:
        """What the month left behind, for the verdict."""
        if self.story.name == "restate":
            self.unexpected += self.leaked()
        return Month(
            self.plan.since,
            [alert for alert in self.alerts if alert.raised_at and alert.raised_at > BEGIN],
            [(at, until) for at, until in self.trained_until if at > BEGIN],
            [(run.at, asset, said) for run in self.ran for asset, said in run.failed.items()],
            [(run.at, asset) for run in self.ran for asset in run.made],
            self.unexpected,
            self.overdue_at,
        )

    def leaked(self) -> list[str]:
        """Is the first training set, made again from what is in the tables now, still the same rows?"""
        warehouse = self.platform.warehouse()
        first = warehouse.versions(f"{self.system.name}/training_set/all")[0]
        as_of = datetime.fromisoformat(first.facts["knowledge_until"])
        rebuilt = rebuild_training_set(warehouse, self.system, as_of=as_of)
        return [] if rebuilt.same else ["the first training set cannot be made again: a correction leaked into it"]


def _tally(status: int, results: list[dict[str, Any]]) -> dict[str, Any]:
    """How many were answered, how many of them degraded and by what, and how many refused."""
    answered = [result for result in results if "probability" in result]
    degraded = [result for result in answered if result.get("degraded")]
    reasons = sorted({f"{d['feature']} {d['reason'].split(':')[0]}" for r in degraded for d in r["degraded"]})
    return {
        "status": status,
        "asked": len(results),
        "answered": len(answered),
        "degraded": len(degraded),
        "reasons": reasons,
    }
