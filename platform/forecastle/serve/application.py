"""The service as one ASGI application: routes, limits, the token, one shape for every error.

Belongs here: everything HTTP: methods, media types, sizes, headers, statuses, start and stop.
Does not belong here: BentoML (`service.py`), what a prediction is (`predict.py`), the pages (`pages.py`).
ASGI: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from forecastle.contract.request import shown
from forecastle.serve.body import Body, ClientGoneError, Message, Receive
from forecastle.serve.caller import check_caller
from forecastle.serve.challenger import ChallengerWatch
from forecastle.serve.champion import ChampionWatch
from forecastle.serve.metrics import CONTENT_TYPE, Metrics, shared_folder
from forecastle.serve.online_ages import OnlineAges
from forecastle.serve.online_reader import OnlineReader
from forecastle.serve.openapi import openapi
from forecastle.serve.operations import Operation, Operations
from forecastle.serve.pages import card_document, docs_page, health, model_card
from forecastle.serve.pointer import follow
from forecastle.serve.predict import Predictor
from forecastle.serve.receipt import json_text
from forecastle.serve.refusal import Refusal
from forecastle.serve.settings import Settings
from forecastle.serve.workers_state import workers_told
from forecastle.store.online import OnlineStore
from forecastle.store.online_stores import open_online
from forecastle.store.prediction import WritableLog
from forecastle.store.prediction_logs import open_log

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

JSON: Final = b"application/json"
DEADLINE: Final = "forecastle.deadline_seconds"
logger = logging.getLogger("forecastle.serve")


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass
class _Running:
    """What exists between start and stop."""

    settings: Settings
    watch: ChampionWatch
    predictor: Predictor
    metrics: Metrics
    log: WritableLog
    reader: OnlineReader
    operations: Operations
    followers: list[asyncio.Task[None]] = field(default_factory=list)


class Application:
    """One ASGI application for one system; it answers from `start` to `stop`."""

    def __init__(self) -> None:
        self.not_started: str | None = None
        """Why the service cannot start, where its user can do something about it."""
        self._running: _Running | None = None
        self._routes: dict[str, tuple[str, Callable[[_Running], _Answer]]] = {
            "/livez": ("GET", lambda _: _Answer(200, b'{"status":"alive"}')),
            "/readyz": ("GET", _ready),
            "/healthz": ("GET", lambda running: _Answer(200, json_text(_health(running)).encode())),
            "/metrics": ("GET", _metrics),
            "/model": ("GET", _model),
            "/card": ("GET", _card),
            "/openapi.json": ("GET", lambda running: _Answer(200, json_text(_openapi(running)).encode())),
            "/docs": ("GET", _docs),
        }

    async def start(self, settings: Settings) -> None:
        """Open the log, load the champion, follow its pointer; the collector leaves what was loaded alone."""
        metrics = Metrics(shared_folder=shared_folder())
        watch = ChampionWatch(settings.system, home=settings.home, packed=settings.packed)
        log = await asyncio.to_thread(
            open_log,
            settings.log_url,
            path=settings.home.prediction_log(settings.system),
            system=settings.system,
            disk_limit_bytes=settings.log_limit_bytes,
        )
        reader = OnlineReader(settings.home.online(settings.system), url=settings.online_url, system=settings.system)
        challengers = ChallengerWatch(settings.system, home=settings.home)
        predictor = Predictor(
            watch=watch,
            reader=reader,
            log=log,
            metrics=metrics,
            clock=settings.clock,
            challenger=lambda: challengers.current,
        )
        operations = Operations(settings, predictor)
        running = _Running(settings, watch, predictor, metrics, log, reader, operations)
        watch.listen(lambda outcome: _swapped(running, outcome))
        await asyncio.to_thread(watch.check)
        await asyncio.to_thread(challengers.check)
        running.followers = [
            asyncio.create_task(follow(followed.check, poll_seconds=settings.poll_seconds))
            for followed in (watch, challengers)
        ]
        running.followers.append(asyncio.create_task(follow(metrics.settle, poll_seconds=settings.poll_seconds)))
        running.followers.append(asyncio.create_task(_ages(settings, watch, metrics).follow()))
        operations.start()
        self._running = running
        gc.collect()
        gc.freeze()

    async def stop(self) -> None:
        """Write what waits in the log, then close."""
        running, self._running = self._running, None
        if running is None:
            return
        for follower in running.followers:
            follower.cancel()
        await asyncio.gather(*running.followers, return_exceptions=True)
        await running.predictor.shadows.close()
        await running.operations.close()
        await asyncio.to_thread(running.log.close)
        running.reader.close()
        running.metrics.settle()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        path, body, running = scope["path"], Body(receive), self._running
        try:
            answer = await self._answer(scope, path, body)
        except Refusal as refusal:
            answer = _Answer(refusal.status, refusal.body(), headers=_headers_of(refusal))
        except ClientGoneError:
            return
        except Exception:
            logger.exception("request to %r failed", path)
            answer = _Answer(500, Refusal("internal", "the service failed; its log says why").body())
        if running is not None:
            known = path in self._routes or path in running.operations.by_path
            running.metrics.answered(path if known else "other", answer.status)
        headers = [
            (b"content-type", answer.content_type),
            (b"content-length", b"%d" % len(answer.body)),
            *answer.headers,
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if running is None or answer.status < 400 or body.is_whole:
            await send({"type": "http.response.body", "body": answer.body})
            return
        await send({"type": "http.response.body", "body": answer.body, "more_body": True})
        await body.discard(seconds=running.settings.linger_seconds)
        await send({"type": "http.response.body"})

    async def _answer(self, scope: Scope, path: str, body: Body) -> _Answer:
        running = self._running
        if running is None:
            raise Refusal("no_champion", "the service is starting or stopping")
        headers = _Headers(scope["headers"])
        check_caller(
            running.settings,
            path=path,
            host=headers.host,
            origin=headers.origin,
            authorization=headers.authorization,
            server=scope.get("server"),
        )
        operation = running.operations.by_path.get(path)
        if operation is not None:
            if scope["method"] != "POST":
                raise Refusal("method_not_allowed", f"{path} takes POST")
            return await _post(operation, headers, body, at_most=scope.get(DEADLINE))
        if path == "/model" and _wants_page(scope["headers"]):
            path = "/card"
        route = self._routes.get(path)
        if route is None:
            there = ", ".join([*running.operations.by_path, *self._routes])
            raise Refusal("not_found", f"no such path; there are {there}")
        if scope["method"] not in (route[0], "HEAD"):
            raise Refusal("method_not_allowed", f"{path} takes {route[0]}")
        return route[1](running)


class Front:
    """ASGI middleware that hands every HTTP request to an `Application` and everything else (lifespan) on."""

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        *,
        application: Application,
        deadline_seconds: float | None = None,
    ) -> None:
        """`deadline_seconds` is how long whoever stands in front will wait for any answer, if it is known."""
        self._app, self._application, self._deadline_seconds = app, application, deadline_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on."""
        if scope["type"] == "http":
            if self._deadline_seconds is not None:
                scope[DEADLINE] = self._deadline_seconds
            await self._application(scope, receive, send)
        else:
            await self._app(scope, receive, partial(self._told, send))

    async def _told(self, send: Send, message: Message) -> None:
        """A start that is refused says why, instead of the traceback that the framework would print."""
        if message["type"] == "lifespan.startup.failed" and self._application.not_started:
            message["message"] = self._application.not_started
        await send(message)


class _Headers:
    """The few headers that matter; a header said twice counts as its values joined."""

    __slots__ = ("authorization", "content_encoding", "content_length", "content_type", "host", "origin")

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self.authorization = self.content_length = self.content_type = self.host = self.origin = b""
        self.content_encoding = b""
        for name, value in pairs:
            if name == b"content-type":
                self.content_type += value
            elif name == b"content-length":
                self.content_length += value
            elif name == b"authorization":
                self.authorization += value
            elif name == b"host":
                self.host += value
            elif name == b"origin":
                self.origin += value
            elif name == b"content-encoding":
                self.content_encoding += value


async def _post(operation: Operation, headers: _Headers, body: Body, *, at_most: float | None) -> _Answer:
    if headers.content_type != JSON:
        raise Refusal("unsupported_media_type", "the body must be application/json, without parameters")
    if headers.content_encoding.lower() not in (b"", b"identity"):
        coding = shown(headers.content_encoding.decode("latin-1"))
        raise Refusal("unsupported_media_type", f"Content-Encoding {coding!r} is not read; send the body as it is")
    weight = operation.weight(headers.content_length)
    if operation.in_flight + weight > operation.in_flight_limit:
        raise Refusal("too_busy", "as many requests as there may be are being answered; ask again later")
    seconds = operation.deadline_seconds if at_most is None else min(at_most, operation.deadline_seconds)
    operation.in_flight += weight
    limit = _Limit(seconds)
    try:
        content = await body.read(operation.body_limit_bytes, content_length=headers.content_length)
        return _Answer(200, await operation.answer(content))
    except asyncio.CancelledError as error:
        if limit.is_reached():
            raise Refusal("deadline", f"no answer within {seconds:g} s") from error
        raise
    finally:
        limit.lift()
        operation.in_flight -= weight


class _Limit:
    """Cancels the task that makes it once `seconds` are over: `asyncio.timeout` without two coroutines a request.

    The timer runs only while the task waits, so the task hears of it where it waits, before `lift`.
    """

    __slots__ = ("_is_over", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._is_over = False
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._end)

    def is_reached(self) -> bool:
        """Whether this limit, and nobody else, cancelled the task, which then may go on."""
        return self._is_over and self._task is not None and self._task.uncancel() == 0

    def lift(self) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self._is_over = True
        if self._task is not None:
            self._task.cancel()


def _headers_of(refusal: Refusal) -> tuple[tuple[bytes, bytes], ...]:
    if refusal.status == 401:
        return ((b"www-authenticate", b"Bearer"),)
    return ((b"retry-after", b"1"),) if refusal.status in (429, 503) else ()


def _swapped(running: _Running, outcome: str) -> None:
    running.metrics.swapped(outcome)
    champion = running.watch.current
    if outcome == "refused":
        logger.error("%s: %s", "champion kept" if champion else "no champion serves", running.watch.error)
    elif champion is not None:
        running.metrics.champion(bundle=champion.bundle.hash, model_version=champion.model_version)
        logger.info("champion is %s", champion.bundle.hash)


def _ages(settings: Settings, watch: ChampionWatch, metrics: Metrics) -> OnlineAges:
    def opened() -> OnlineStore:
        path = settings.home.online(settings.system)
        return open_online(settings.online_url, path=path, system=settings.system, read_only=True)

    def views() -> list[str]:
        return [view.name for view in watch.current.bundle.feature_set.views] if watch.current else []

    return OnlineAges(metrics, views=views, open_store=opened, clock=settings.clock)


def _ready(running: _Running) -> _Answer:
    if running.watch.current is None:
        raise Refusal("no_champion", f"no bundle can answer: {running.watch.error}")
    return _Answer(200, b'{"status":"ready"}')


def _metrics(running: _Running) -> _Answer:
    return _Answer(200, running.metrics.page(pending=running.log.pending), CONTENT_TYPE.encode())


def _model(running: _Running) -> _Answer:
    if running.watch.current is None:
        raise Refusal("no_champion", f"no bundle can answer: {running.watch.error}")
    return _Answer(200, json_text(model_card(running.watch.current)).encode())


def _card(running: _Running) -> _Answer:
    if running.watch.current is None:
        raise Refusal("no_champion", f"no bundle can answer: {running.watch.error}")
    return _Answer(200, card_document(running.watch.current), b"text/html; charset=utf-8")


def _wants_page(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a browser asks: it names HTML before anything else that it takes."""
    return any(name == b"accept" and value.startswith(b"text/html") for name, value in headers)


def _health(running: _Running) -> dict[str, Any]:
    return health(
        running.settings.system,
        running.watch,
        challenger=running.predictor.challenger(),
        online=running.reader.available,
        is_log_failing=running.log.is_failing,
        pending=running.log.pending,
        events_pending=running.operations.events_pending,
        workers=workers_told(running.settings.workers_state),
    )


def _openapi(running: _Running) -> dict[str, Any]:
    return openapi(running.settings, running.watch.current)


def _docs(running: _Running) -> _Answer:
    return _Answer(200, docs_page(_openapi(running)), b"text/html; charset=utf-8")
