"""Alerts leave the house: each target is told what it has yet to be told, whatever the others do.

Belongs here: one round of deliveries, the text of a message with its links, what a target's refusal was.
Does not belong here: the log and what is in it (`alerts.py`), what waits (`outbox.py`).
Apprise is imported when something is sent: half a second that a quiet house does not pay.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from forecastle.alert.alerts import Alert
from forecastle.alert.outbox import AlertOutbox, Delivery
from forecastle.alert.targets import AlertTarget

SOCKET_SECONDS: Final = 5
ROUND_SECONDS: Final = 20.0
_STATUS: Final = re.compile(r"error=(\d{3})")
_TYPES: Final = {"recovered": "success", "warn": "warning", "error": "failure"}

Send = Callable[[AlertTarget, str, str, str], str | None]
"""(target, title, body, Apprise's type) → None, or why it was not taken; no word of the address in it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one delivery; `error` is empty when the target took it."""

    target: str
    alert: Alert
    error: str
    attempts: int


def deliver(
    outbox: AlertOutbox, targets: Sequence[AlertTarget], *, ui_url: str = "", send: Send | None = None
) -> list[Sent]:
    """Tell every target what is due, targets beside each other, and return within `ROUND_SECONDS`.

    A target that fails is left alone until its back-off is over; one that hangs is left to its thread, and what it
    had to be told is due again when the lease of the outbox is over: told twice at worst, never lost.
    """
    if not targets:
        return []
    sent: list[Sent] = []
    pool = ThreadPoolExecutor(len(targets), thread_name_prefix="alerts")
    rounds = [pool.submit(_tell, outbox, target, ui_url, send or send_by_apprise, sent) for target in targets]
    done, _ = wait(rounds, timeout=ROUND_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    for finished in done:
        finished.result()
    return list(sent)


def try_targets(targets: Sequence[AlertTarget], *, send: Send | None = None) -> dict[str, str | None]:
    """Send one test message to each target: its name → None, or why it was not taken."""
    sender = send or send_by_apprise
    body = "This is a test of Forecastle's alerts. Nothing is wrong."
    with ThreadPoolExecutor(max(len(targets), 1)) as pool:
        results = pool.map(lambda target: sender(target, "Forecastle: test alert", body, "info"), targets)
        return {target.name: error for target, error in zip(targets, results, strict=True)}


def message(alert: Alert, *, ui_url: str = "") -> tuple[str, str]:
    """Title and body of one alert: what, since when, what to do, and where to look.

    `ui_url` is the address of the Dagster UI; without it there are no links.
    """
    word = {"recovered": "recovered", "again": f"still {alert.severity}"}.get(alert.kind, alert.severity)
    body = [alert.message, f"What to do: {alert.runbook}"]
    if alert.raised_at is not None:
        body.append(f"Noticed {alert.seen} time(s), last at {alert.raised_at:%Y-%m-%d %H:%M} UTC.")
    return f"[{word}] {alert.asset}: {alert.cause}", "\n".join([*body, *links(alert, ui_url=ui_url).values()])


def links(alert: Alert, *, ui_url: str) -> dict[str, str]:
    """Addresses of the alert's asset and run in the Dagster UI; none without the UI's address."""
    base = ui_url.rstrip("/")
    if not base:
        return {}
    found = {"asset": f"{base}/assets/{quote(alert.asset.partition('[')[0])}"}
    return found | ({"run": f"{base}/runs/{quote(alert.run_id)}"} if alert.run_id else {})


def send_by_apprise(target: AlertTarget, title: str, body: str, kind: str) -> str | None:
    """Send by Apprise; its own words may hold the address, so only what is known to be harmless is passed on."""
    import apprise

    service = apprise.Apprise()
    logger = logging.getLogger("apprise")
    logger.propagate = False
    with apprise.LogCapture(level=logging.WARNING) as said:  # type: ignore[no-untyped-call]
        if not service.add(_with_timeouts(target.url)):
            return "the address is not understood by Apprise; look at its wiki for the service's form"
        taken = service.notify(title=title, body=body, notify_type=apprise.NotifyType(kind), body_format="text")
        return None if taken else _refusal(said.getvalue())


def _tell(outbox: AlertOutbox, target: AlertTarget, ui_url: str, send: Send, sent: list[Sent]) -> None:
    outbox.queue(target.name, severities=target.severities)
    while (delivery := outbox.claim(target.name)) is not None:
        error = _send(target, delivery, ui_url, send)
        sent.append(Sent(target.name, delivery.alert, error or "", delivery.attempts + 1))
        if error is None:
            outbox.delivered(delivery)
        else:
            outbox.failed(delivery, error)
            return


def _send(target: AlertTarget, delivery: Delivery, ui_url: str, send: Send) -> str | None:
    alert = delivery.alert
    if target.systems and alert.system not in target.systems:
        return None
    title, body = message(alert, ui_url=ui_url)
    kind = _TYPES["recovered" if alert.kind == "recovered" else alert.severity]
    try:
        return send(target, title, body, kind)
    except Exception as error:  # noqa: BLE001  a plugin may raise anything; its text may hold the address
        return f"sending raised {type(error).__name__}"


def _with_timeouts(url: str) -> str:
    """Apprise waits 4 s for a connection and 4 s for an answer by default; said here so that no version waits more."""
    if re.search(r"[?&](cto|rto)=", url):
        return url
    return f"{url}{'&' if '?' in url else '?'}cto={SOCKET_SECONDS}&rto={SOCKET_SECONDS}"


def _refusal(said: str) -> str:
    if status := _STATUS.search(said):
        return f"it answered with status {status[1]}"
    if "onnection error" in said:
        return f"no connection, or no answer within {SOCKET_SECONDS} s"
    return "it was not taken; try the address with Apprise's own command"
