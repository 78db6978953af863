"""Starts the service under our own uvicorn: loopback by default, a token elsewhere, enough file handles.

Belongs here: the process around the service: where it listens, its workers, its limits.
Does not belong here: requests, the command line (`cli/`). `bentoml serve` is left to one-user containers.
https://uvicorn.dev/settings/
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from multiprocessing import parent_process
from pathlib import Path
from socket import AF_INET, AF_INET6, SO_REUSEADDR, SOL_SOCKET, socket
from typing import Any, Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from forecastle.contract.errors import ForecastleError
from forecastle.serve.caller import LOOPBACK_HOSTS, is_loopback
from forecastle.serve.connection import PatientProtocol
from forecastle.serve.settings import WAIVER, checked_token
from forecastle.serve.workers import Workers

OPEN_FILES: Final = 65_536
SHUTDOWN_SECONDS: Final = 10
# Uvicorn's 5 s end a restart, or a worker that has not yet imported everything, on a machine with other work to do.
ANSWER_PARENT_SECONDS: Final = 30


def serve(
    system: str,
    *,
    home: Path,
    host: str = "127.0.0.1",
    port: int = 3000,
    workers: int = 1,
    waive_token: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve one system until a signal ends the process.

    With two workers or more, SIGHUP restarts the code without losing a request, and one that dies is replaced.

    Args:
        system: the system served.
        home: folder of all state.
        host: address to listen on; other than loopback needs FORECASTLE_TOKEN.
        port: port to listen on.
        workers: processes; more than one share the port, the log and the metrics.
        waive_token: serve beyond loopback without a token, because something in front checks callers.
        say: told the address once the socket is bound; with port 0 nothing else knows it.

    Raises:
        ForecastleError: the address is open to others and no token is set, or nothing can listen there.
    """
    environment = service_environment(system, home=home, host=host, environment=os.environ, waive_token=waive_token)
    raise_file_limit()
    os.environ.update(environment)
    config = _config(host, port, workers)
    tell = partial(_tell, say, system)
    bound = _bound(host, port)  # before anything is written: another service may have this port, and its files
    if workers > 1:
        _serve_together(config, bound, tell, system=system, folder=home.resolve() / "metrics")
    else:
        _serve_alone(config, bound, tell)


def _bound(host: str, port: int) -> socket:
    bound = socket(AF_INET6 if ":" in host else AF_INET)
    bound.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        reason = getattr(error, "strerror", None) or error
        raise ForecastleError(
            f"nothing can listen on {host}, port {port}: {reason}; name another with --host or --port (0: any free one)"
        ) from error
    bound.set_inheritable(True)
    return bound


def _serve_together(
    config: uvicorn.Config, bound: socket, tell: Callable[[Any], None], *, system: str, folder: Path
) -> None:
    name = f"{system}-{bound.getsockname()[1]}"
    metrics, state = _fresh_folder(folder / name), folder / f"{name}.workers.json"
    os.environ.update({"PROMETHEUS_MULTIPROC_DIR": str(metrics), "FORECASTLE_WORKERS_STATE": str(state)})
    tell(bound.getsockname())
    Workers(config, [bound], state=state, metrics=metrics).run()


def _serve_alone(config: uvicorn.Config, bound: socket, tell: Callable[[Any], None]) -> None:
    server = _Server(config, bound=tell)
    with suppress(KeyboardInterrupt):
        server.run([bound])
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def _tell(say: Callable[[str], None], system: str, address: tuple[Any, ...]) -> None:
    host, port = address[:2]
    say(f"{system}: http://{f'[{host}]' if ':' in host else host}:{port}")


class _Server(uvicorn.Server):
    """Uvicorn's server, which tells what it listens on once it does."""

    def __init__(self, config: uvicorn.Config, *, bound: Callable[[Any], None]) -> None:
        super().__init__(config)
        self._bound = bound

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:  # not where the application refused to start
            self._bound(self.servers[0].sockets[0].getsockname())


def service() -> Callable[..., Awaitable[Any]]:
    """The ASGI application of the BentoML service; uvicorn calls this in every worker.

    Requests are answered in front of BentoML, which keeps starting and stopping the service: its own middlewares
    would give a batch one second, and cost every request more than the model does.
    """
    from forecastle.serve import service as module
    from forecastle.serve.application import Front

    threading.Thread(target=_end_with_parent, daemon=True).start()
    return Front(module.service.to_asgi(), application=module.application)


def _end_with_parent() -> None:
    """A worker whose parent was killed answers what it has and ends: it would keep the port from the next service."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _config(host: str, port: int, workers: int) -> uvicorn.Config:
    return uvicorn.Config(
        "forecastle.serve.runner:service",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody here asks what a proxy says of the caller
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        timeout_worker_healthcheck=ANSWER_PARENT_SECONDS,
    )


def service_environment(
    system: str, *, home: Path, host: str, environment: Mapping[str, str], waive_token: bool
) -> dict[str, str]:
    """The variables a worker needs beside its parent's.

    Raises:
        ForecastleError: the address is open to others and no token is set, or the token is too short.
    """
    token = checked_token(environment.get("FORECASTLE_TOKEN"))
    added = {
        "FORECASTLE_SYSTEM": system,
        "FORECASTLE_HOME": str(home.resolve()),
        "BENTOML_HOME": environment.get("BENTOML_HOME", str(home.resolve() / "bentoml")),
        "BENTOML_DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": environment.get("OMP_NUM_THREADS", "1"),
    }
    if waive_token:
        added[WAIVER] = "1"
    if is_loopback(host):
        added["FORECASTLE_HOSTS"] = environment.get("FORECASTLE_HOSTS", ",".join(LOOPBACK_HOSTS))
    elif token is None and not waive_token:
        raise ForecastleError(
            f"{host} can be reached by others: set FORECASTLE_TOKEN to a secret of 32 characters or more, "
            "listen on 127.0.0.1, or waive the token (--waive-token) because something in front checks callers"
        )
    return added


def raise_file_limit() -> int:
    """Raise the limit of open files towards `OPEN_FILES`; the limit reached.

    One file is one connection: at 1,024, a thousand slow clients would lock out all others.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def _fresh_folder(folder: Path) -> Path:
    """An empty folder: counts of processes that ended are not counts of these."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    return folder
