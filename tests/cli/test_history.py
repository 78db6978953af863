"""`forecastle history` and `approve`: which model answered then, why that one, who approved it, what waits."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forecastle.contract.clock import replay_clock
from forecastle.contract.system import Rollout
from forecastle.promote.registry import Registry
from forecastle.promote.rollback import rollback_reason
from forecastle.promote.rollout import RolloutRecord, RolloutStep
from forecastle.store.home import Home
from tests.cli.conftest import Forecastle

SYSTEM = "prediction_markets"
FIRST, SECOND = "a1" * 32, "b2" * 32
AT = datetime(2026, 6, 1, tzinfo=UTC)
FAR = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A champion that Ann approved, one that waits, and a trial that began a day later."""
    layout = Home(tmp_path / "home").create()
    registry = Registry(layout.registry, clock=replay_clock(AT))
    kept = {"model": "lightgbm", "model_version": "1", "promote": True, "evidence": {"gates": []}}
    first = registry.record_decision(SYSTEM, bundle=FIRST, reasons=("2000 test rows are enough",), **kept)
    champion = registry.promote(
        SYSTEM, bundle=FIRST, model_version="1", approved_by="ann@example.org", expected=None, decision_id=first,
        reason="read the [card]",
    )  # fmt: skip
    registry.record_decision(SYSTEM, bundle=SECOND, reasons=("better",), expected=champion, expires_at=FAR, **kept)
    RolloutRecord(layout.registry, clock=replay_clock(AT + timedelta(days=1))).start(
        SYSTEM, bundle=SECOND, model_version="2", share=0.05, approved_by="bob", reason="try"
    )
    return layout


def test_one_command_tells_what_answered_why_and_who_approved_it(forecastle: Forecastle, home: Home) -> None:
    """Model, version, bundle, time, person, their words, the gates' sentences; and who was under trial beside it."""
    assert home.registry.exists()
    told = forecastle("history", SYSTEM, "--at", "2026-06-02T14:05:00+00:00").stdout.splitlines()
    assert told == [
        "2026-06-01 00:00:00 UTC  lightgbm version 1  bundle a1a1a1a1a1a1  by ann@example.org: read the [card]",
        "    2000 test rows are enough",
        "    live still",
        "under trial then, for 5% of the entities: bundle b2b2b2b2b2b2 (version 2) by bob",
    ]
    before = forecastle("history", SYSTEM, "--at", "2026-06-01T14:05:00+00:00").stdout
    assert "under trial" not in before


def test_a_rollback_and_the_end_of_each_reign_are_told(forecastle: Forecastle, home: Home) -> None:
    """Ann's bundle until the second took its place; then the first again, by whom and why, live to this day."""
    registry = Registry(home.registry, clock=lambda: AT + timedelta(days=4))
    (first,) = registry.history(SYSTEM)
    kept = {"model": "lightgbm", "model_version": "1", "promote": True, "evidence": {}}
    second = registry.promote(SYSTEM, bundle=SECOND, model_version="2", approved_by="gates", expected=first)
    later = Registry(home.registry, clock=lambda: AT + timedelta(days=6))
    why = rollback_reason(SECOND, by="kim", reason="refunds doubled")
    decision = later.record_decision(SYSTEM, bundle=FIRST, reasons=(why,), **kept)
    later.promote(SYSTEM, bundle=FIRST, model_version="1", approved_by="kim", expected=second, decision_id=decision)
    assert forecastle("history", SYSTEM, "--at", "2026-06-01T12:00:00+00:00").stdout.splitlines()[-1] == (
        "    live until 2026-06-05 00:00:00 UTC, when bundle b2b2b2b2b2b2 took its place"
    )
    assert forecastle("history", SYSTEM, "--at", "2026-06-08T00:00:00+00:00").stdout.splitlines()[:3] == [
        "2026-06-07 00:00:00 UTC  lightgbm version 1  bundle a1a1a1a1a1a1  rolled back by kim",
        "    rolled back from b2b2b2b2b2b2 by kim: refunds doubled",
        "    live still",
    ]
    told = json.loads(forecastle("history", SYSTEM, "--json").stdout)
    assert [(p["is_rollback"], p["live_until"]) for p in told] == [
        (True, None), (False, "2026-06-07T00:00:00+00:00"), (False, "2026-06-05T00:00:00+00:00"),
    ]  # fmt: skip


def test_refusals_are_told_the_newest_three(forecastle: Forecastle, home: Home) -> None:
    """By gates or by a race, each with its first reason; of older ones their number."""
    registry = Registry(home.registry, clock=replay_clock(AT + timedelta(days=1)))
    for number in range(5):
        registry.record_decision(
            SYSTEM, model="lightgbm", bundle=SECOND, model_version="2", promote=False, evidence={},
            reasons=(f"refusal {number}", "more"),
        )  # fmt: skip
    told = forecastle("history", SYSTEM).stdout.splitlines()
    refused = [line for line in told if line.startswith("refused")]
    start = "refused 2026-06-02 00:00:00 UTC: lightgbm version 2, bundle b2b2b2b2b2b2: refusal"
    assert refused == [f"{start} 4", f"{start} 3", f"{start} 2", "refused before: 2 more"]


def test_what_waits_is_told_with_the_next_step(forecastle: Forecastle, home: Home) -> None:
    """Until when, which bundle, and the command."""
    assert home.registry.exists()
    told = forecastle("history", SYSTEM).stdout
    assert "waits for approval until 2100-01-01 00:00 UTC: lightgbm version 1, bundle b2b2b2b2b2b2" in told
    assert f"forecastle approve {SYSTEM} --by NAME" in told


def test_where_a_trial_stands_or_how_it_ended_is_told(forecastle: Forecastle, home: Home) -> None:
    """Since when and for whom while it runs; afterwards by whom it was stopped and why."""
    record = RolloutRecord(home.registry, clock=lambda: AT + timedelta(days=9))
    bundle = "bundle b2b2b2b2b2b2 (version 2)"
    running = f"under trial since 2026-06-02 00:00:00 UTC, for 5% of the entities: {bundle} by bob: try"
    assert running in forecastle("history", SYSTEM).stdout.splitlines()
    trial = record.running(SYSTEM)
    assert trial is not None
    record.apply(trial, RolloutStep("stop", ("worse [by] 0.07", "more")), declaration=Rollout(), approved_by="gates")
    ended = f"trial stopped 2026-06-10 00:00:00 UTC: {bundle} by gates: worse [by] 0.07"
    assert ended in forecastle("history", SYSTEM).stdout.splitlines()


def test_plain_data_has_the_evidence(forecastle: Forecastle, home: Home) -> None:
    """The same as JSON, for programs."""
    assert home.registry.exists()
    (found,) = json.loads(forecastle("history", SYSTEM, "--json").stdout)
    assert (found["bundle"], found["approved_by"], found["approval_reason"]) == (
        FIRST, "ann@example.org", "read the [card]",
    )  # fmt: skip
    assert found["evidence"] == {"gates": []}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--by", "nobody"), "an approval needs a person's name, got 'nobody'"),
        (("--by", "ann", "--bundle", "c3" * 8), "names 0 bundles that were judged"),
        (("--by", "ann", "--bundle", FIRST[:12]), "is the champion already"),
        (("--by", "ann"), "manifest.json cannot be read"),
    ],
)
def test_a_wrong_approval_is_one_plain_message(
    forecastle: Forecastle, home: Home, arguments: tuple[str, ...], says: str
) -> None:
    """Nobody, an unknown bundle, the champion, a bundle whose files are gone: exit status 1, nothing changed."""
    done = forecastle("approve", SYSTEM, *arguments)
    assert (done.returncode, says in done.stderr) == (1, True)
    assert "Traceback" not in done.stderr + done.stdout
    assert len(Registry(home.registry, clock=replay_clock(AT)).history(SYSTEM)) == 1
