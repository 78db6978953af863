"""Alerts leave the house: real HTTP targets on loopback that are up, down, slow and refusing."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from forecastle.alert.alerts import Alert, AlertLog
from forecastle.alert.delivery import deliver, links, message, send_by_apprise, try_targets
from forecastle.alert.outbox import BACK_OFF_MOST, GIVEN_UP_AFTER, AlertOutbox, back_off
from forecastle.alert.targets import AlertTarget

# Apprise imports it, which we can neither cause nor mend.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

START = datetime(2026, 6, 1, tzinfo=UTC)
ALERT = Alert("toy", "toy/source/prices", "event_time_freshness", "error", "prices are old", "Ask upstream.")


@dataclass
class Receiver:
    """A web hook: what it took, how it answers, and whether it answers at all before `released`."""

    url: str = ""
    status: int = 200
    taken: list[dict[str, Any]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    hook = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if self.path == "/slow":
                hook.released.wait(10)
            if hook.status == 200:
                hook.taken.append(body)
            self.send_response(hook.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    hook.url = f"json://operator:secret-word@127.0.0.1:{server.server_port}"
    yield hook
    hook.released.set()
    server.shutdown()
    server.server_close()


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def log(tmp_path: Path, clock: Hand) -> AlertLog:
    return AlertLog(tmp_path / "alerts.sqlite", clock=clock)


@pytest.fixture
def outbox(tmp_path: Path, clock: Hand) -> AlertOutbox:
    return AlertOutbox(tmp_path / "alerts.sqlite", clock=clock)


def down() -> str:
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"json://127.0.0.1:{free.getsockname()[1]}"


def test_a_target_is_told_once_with_links(receiver: Receiver, log: AlertLog, outbox: AlertOutbox) -> None:
    """What, what to do, asset and run arrive by HTTP; a second round has nothing to say."""
    log.raise_alert(replace(ALERT, run_id="abc"))
    target = AlertTarget("hook", receiver.url)
    sent = deliver(outbox, [target], ui_url="http://ui:3001/")
    assert [(s.target, s.error, s.attempts) for s in sent] == [("hook", "", 1)]
    (taken,) = receiver.taken
    assert taken["title"] == "[error] toy/source/prices: event_time_freshness"
    assert taken["type"] == "failure"
    for part in (
        "prices are old", "What to do: Ask upstream.", "http://ui:3001/assets/toy/source/prices",
        "http://ui:3001/runs/abc",
    ):  # fmt: skip
        assert part in taken["message"]
    assert deliver(outbox, [target]) == []
    assert outbox.waiting() == []


def test_a_recovery_is_told_to_those_who_knew(receiver: Receiver, log: AlertLog, outbox: AlertOutbox) -> None:
    """The pager that is only told of errors hears that an error is over, and nothing of a warning."""
    pager = AlertTarget("pager", receiver.url, least="error")
    log.raise_alert(ALERT)
    log.raise_alert(replace(ALERT, cause="drift", severity="warn"))
    deliver(outbox, [pager])
    log.recover("toy", ALERT.asset, ALERT.cause, message="new rows came")
    log.recover("toy", ALERT.asset, "drift", message="nothing moved")
    deliver(outbox, [pager])
    assert [(t["title"], t["type"]) for t in receiver.taken] == [
        ("[error] toy/source/prices: event_time_freshness", "failure"),
        ("[recovered] toy/source/prices: event_time_freshness", "success"),
    ]


def test_a_target_that_is_down_is_tried_later_and_holds_up_nobody(
    receiver: Receiver, log: AlertLog, outbox: AlertOutbox, clock: Hand
) -> None:
    """One attempt a round, doubled waits; the other target is told at once; back again, everything arrives."""
    log.raise_alert(ALERT)
    log.raise_alert(replace(ALERT, cause="contract"))
    broken, fine = AlertTarget("broken", down()), AlertTarget("fine", receiver.url)
    sent = deliver(outbox, [broken, fine])
    assert sorted((s.target, bool(s.error)) for s in sent) == [("broken", True), ("fine", False), ("fine", False)]
    assert deliver(outbox, [broken, fine]) == [], "within its back-off it is left alone"
    (waiting,) = outbox.waiting()
    assert (waiting.target, waiting.waiting, waiting.given_up) == ("broken", 2, 0)
    assert "no connection" in waiting.error
    clock.now += back_off(1)
    assert len(deliver(outbox, [broken])) == 1
    clock.now += back_off(2)
    receiver.taken.clear()
    mended = replace(broken, url=receiver.url)
    assert [s.error for s in deliver(outbox, [mended])] == ["", ""]
    assert {t["title"] for t in receiver.taken} == {
        "[error] toy/source/prices: event_time_freshness", "[error] toy/source/prices: contract",
    }  # fmt: skip
    assert outbox.waiting() == []


def test_a_refused_message_says_its_status_and_never_the_address(
    receiver: Receiver, log: AlertLog, outbox: AlertOutbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Status 500 is a failure; user, password and address are in no error, no log line and no file."""
    receiver.status = 500
    log.raise_alert(ALERT)
    (sent,) = deliver(outbox, [AlertTarget("hook", receiver.url)])
    assert sent.error == "it answered with status 500"
    told = repr(sent) + repr(AlertTarget("hook", receiver.url)) + caplog.text
    assert "secret-word" not in told
    for file in tmp_path.iterdir():
        assert b"secret-word" not in file.read_bytes()


def test_a_slow_target_is_given_up_after_its_time(receiver: Receiver) -> None:
    """A hook that takes the message and never answers is an error, within the time its address allows."""
    assert send_by_apprise(AlertTarget("slow", f"{receiver.url}/slow?rto=0.2"), "t", "b", "info") == (
        "no connection, or no answer within 5 s"
    )


def test_raising_waits_for_nobody(receiver: Receiver, log: AlertLog, outbox: AlertOutbox) -> None:
    """While one target hangs in another thread, alerts are raised and other targets are told."""
    hanging = threading.Event()

    def send(target: AlertTarget, title: str, body: str, kind: str) -> str | None:
        if target.name == "slow":
            hanging.set()
            receiver.released.wait(10)
        return send_by_apprise(target, title, body, kind)

    log.raise_alert(ALERT)
    slow = threading.Thread(target=deliver, args=(outbox, [AlertTarget("slow", receiver.url)]), kwargs={"send": send})
    slow.start()
    assert hanging.wait(10)
    assert log.raise_alert(replace(ALERT, cause="drift")) == "raised"
    assert len(deliver(outbox, [AlertTarget("fine", receiver.url)], send=send)) == 2
    receiver.released.set()
    slow.join()


def test_two_rounds_at_once_tell_once(receiver: Receiver, log: AlertLog, outbox: AlertOutbox) -> None:
    """A delivery that one round holds is left alone by others until its lease is over."""
    log.raise_alert(ALERT)
    outbox.queue("hook", severities=("warn", "error"))
    first = outbox.claim("hook")
    assert first is not None
    assert deliver(outbox, [AlertTarget("hook", receiver.url)]) == []
    outbox.delivered(first)
    assert receiver.taken == []


def test_a_killed_round_is_made_again(receiver: Receiver, log: AlertLog, outbox: AlertOutbox, clock: Hand) -> None:
    """What was claimed and never settled is due when the lease is over."""
    log.raise_alert(ALERT)
    outbox.queue("hook", severities=("warn", "error"))
    outbox.claim("hook")
    clock.now += timedelta(minutes=3)
    assert [s.error for s in deliver(outbox, [AlertTarget("hook", receiver.url)])] == [""]


def test_one_message_that_is_refused_keeps_no_others_back(log: AlertLog, outbox: AlertOutbox, clock: Hand) -> None:
    """The least tried goes first, so a message that a service never takes is passed by the next ones."""
    taken = []

    def send(_target: AlertTarget, title: str, _body: str, _kind: str) -> str | None:
        if "contract" in title:
            return "it answered with status 413"
        taken.append(title)
        return None

    log.raise_alert(replace(ALERT, cause="contract"))
    log.raise_alert(ALERT)
    for _ in range(3):
        deliver(outbox, [AlertTarget("hook", "json://x")], send=send)
        clock.now += BACK_OFF_MOST
    assert taken == ["[error] toy/source/prices: event_time_freshness"]
    clock.now += GIVEN_UP_AFTER
    deliver(outbox, [AlertTarget("hook", "json://x")], send=send)
    assert [(w.waiting, w.given_up) for w in outbox.waiting()] == [(0, 1)]


def test_a_recovery_never_arrives_before_its_alert(log: AlertLog, outbox: AlertOutbox, clock: Hand) -> None:
    """The target was away for the first attempt at the alert and is back when it recovers: alert first, then that."""
    is_up, told = False, []

    def send(_target: AlertTarget, title: str, _body: str, _kind: str) -> str | None:
        told.append(title)
        return None if is_up else "away"

    target = AlertTarget("desk", "json://127.0.0.1")
    log.raise_alert(ALERT)
    deliver(outbox, [target], send=send)
    log.recover("toy", ALERT.asset, ALERT.cause, message="well again")
    is_up, clock.now = True, START + timedelta(minutes=5)
    told.clear()
    deliver(outbox, [target], send=send)
    assert [title.split("]")[0] for title in told] == ["[error", "[recovered"]


def test_a_new_target_is_told_what_is_open_only(log: AlertLog, outbox: AlertOutbox) -> None:
    """Of three incidents one recovered; the past is not sent to somebody who was not there."""
    for cause in ("contract", "drift", "units"):
        log.raise_alert(replace(ALERT, cause=cause))
    log.recover("toy", ALERT.asset, "drift", message="well")
    titles: list[str] = []

    def send(_target: AlertTarget, title: str, _body: str, _kind: str) -> str | None:
        titles.append(title.rpartition(" ")[2])
        return None

    deliver(outbox, [AlertTarget("new", "json://x")], send=send)
    assert titles == ["contract", "units"]


def test_a_system_that_is_not_ones_own_is_not_told(log: AlertLog, outbox: AlertOutbox) -> None:
    """A target with systems hears of those only."""
    titles: list[str] = []

    def send(_target: AlertTarget, title: str, _body: str, _kind: str) -> str | None:
        titles.append(title)
        return None

    log.raise_alert(ALERT)
    log.raise_alert(replace(ALERT, system="other", asset="other/source/x"))
    deliver(outbox, [AlertTarget("one", "json://x", systems=frozenset({"other"}))], send=send)
    assert titles == ["[error] other/source/x: event_time_freshness"]


def test_every_target_is_tried(receiver: Receiver) -> None:
    """A test message each: taken, refused for an address that is none, no connection."""
    found = try_targets([
        AlertTarget("up", receiver.url), AlertTarget("odd", "nosuch://x"), AlertTarget("down", down()),
    ])  # fmt: skip
    assert found["up"] is None
    assert "not understood" in (found["odd"] or "")
    assert "no connection" in (found["down"] or "")
    assert receiver.taken[0]["title"] == "Forecastle: test alert"


def test_a_plugin_that_raises_is_a_failure(log: AlertLog, outbox: AlertOutbox) -> None:
    """Its type is told and not its text, which may hold an address."""

    def send(*_: object) -> str | None:
        raise RuntimeError("secret-word")

    log.raise_alert(ALERT)
    (sent,) = deliver(outbox, [AlertTarget("hook", "json://x")], send=send)
    assert sent.error == "sending raised RuntimeError"


def test_back_off_doubles_up_to_an_hour() -> None:
    """30 s, 60 s, 120 s, …, 3,600 s."""
    assert [back_off(n).total_seconds() for n in (1, 2, 3, 7, 8, 500)] == [30, 60, 120, 1920, 3600, 3600]


def test_links_need_the_address_of_the_ui() -> None:
    """Without it there are none; a partition is no part of the asset's page."""
    assert links(ALERT, ui_url="") == {}
    parted = replace(ALERT, asset="toy/models/trees[2026-01-01]")
    assert links(parted, ui_url="http://ui") == {"asset": "http://ui/assets/toy/models/trees"}
    assert "http" not in message(ALERT)[1]
