"""Everything a team looks at, started together: Dagster UI and daemon, MLflow UI, prediction service.

Belongs here: which servers there are, on which ports, in which order they can be waited for.
Does not belong here: how children are kept (`processes.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from forecastle.cli.processes import Server, Servers, free_port
from forecastle.cli.surroundings import ROOT, Surroundings

DAGSTER_PORT, MLFLOW_PORT, SERVICE_PORT = 3001, 5001, 3000


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the servers answer."""

    service: str
    dagster: str
    mlflow: str


@contextmanager
def servers_up(system: str, around: Surroundings, *, console: Console) -> Iterator[tuple[Servers, Addresses]]:
    """Start every server, wait until all answer, stop them at the end.

    Raises:
        ForecastleError: one of them did not come up; the others are stopped.
    """
    ports = {name: free_port(port) for name, port in _PORTS.items()}
    urls = Addresses(*(f"http://127.0.0.1:{ports[name]}" for name in ("service", "dagster", "mlflow")))
    with Servers(around.logs) as servers:
        stages = _stages(system, around, ports, urls)
        for stage in stages:
            for server in stage:
                servers.start(server)
            for server in stage:
                with console.status(f"waiting for {server.name}"):
                    seconds = servers.wait_ready(server.name)
                console.print(f"[green]✓[/green] {server.name} [dim]{seconds:.1f} s[/dim]", highlight=False)
        yield servers, urls


_PORTS = {"service": SERVICE_PORT, "dagster": DAGSTER_PORT, "mlflow": MLFLOW_PORT, "code-server": 4266}


def _stages(
    system: str, around: Surroundings, ports: dict[str, int], urls: Addresses
) -> tuple[tuple[Server, ...], ...]:
    """Servers that stand alone, then the web server, which makes Dagster's storage, then the daemon, which opens it."""
    children = {"FORECASTLE_UI_URL": urls.dagster, **around.of_children()}
    workspace = _workspace(around, str(ports["code-server"]))
    python = sys.executable
    dagster = Server(
        "dagster",
        (python, "-m", "assets.webserver", str(ports["dagster"]), str(workspace)),
        children,
        url=f"{urls.dagster}/server_info",
    )
    daemon = Server("daemon", (python, "-m", "dagster._daemon", "run", "--workspace", str(workspace)), children)
    return _alone(system, around, ports, urls, children=children), (dagster,), (daemon,)


def _alone(
    system: str, around: Surroundings, ports: dict[str, int], urls: Addresses, *, children: dict[str, str]
) -> tuple[Server, ...]:
    """Code server, prediction service and MLflow UI."""
    python, code = sys.executable, str(ports["code-server"])
    definitions = ("--python-file", str(ROOT / "assets" / "definitions.py"), "--working-directory", str(ROOT))
    artifacts = ("--artifacts-destination", (around.home.mlflow / "artifacts").as_uri())
    return (
        Server(
            "code-server",
            (python, "-m", "dagster", "code-server", "start", *definitions, "--host", "127.0.0.1", "--port", code),
            children,
            port=ports["code-server"],
        ),
        Server(
            "service",
            (python, "-m", "forecastle.cli.main", "serve", system, "--port", str(ports["service"])),
            children,
            url=f"{urls.service}/{_answers(system, around)}",
        ),
        Server(
            "mlflow",
            (
                *(python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(ports["mlflow"])),
                *("--workers", "1", "--backend-store-uri", around.tracking().uri, *artifacts),
            ),
            children,
            url=f"{urls.mlflow}/health",
        ),
    )


def _answers(system: str, around: Surroundings) -> str:
    """What the service is asked while it starts: before a first champion it is alive, and not ready for questions."""
    return "readyz" if around.home.champion(system).exists() else "livez"


def _workspace(around: Surroundings, code_server_port: str) -> Path:
    """A workspace file that points web server and daemon at one code server: each of their own would cost 300 MB."""
    path = around.home.dagster / "workspace.yaml"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(
        "load_from:\n  - grpc_server:\n      host: 127.0.0.1\n"
        f"      port: {code_server_port}\n      location_name: forecastle\n"
    )
    return path
