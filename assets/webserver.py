"""Dagster's web server behind the guard: the process that `forecastle up` starts.

Belongs here: starting it on loopback for a code location that is already being served.
Does not belong here: the guard's rules (`guard.py`), other servers.

    python -m assets.webserver PORT WORKSPACE_FILE
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context

from assets.guard import Guard
from assets.instance import in_use, mend, opened, prepare_instance


def main(port: int, workspace: Path) -> None:
    """Serve the UI on 127.0.0.1 until a signal ends the process."""
    hosts = frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost"))
    target = WorkspaceFileTarget([str(workspace)])
    folder = prepare_instance(Path(os.environ["DAGSTER_HOME"]))
    with opened(folder) as instance:
        mend(instance, folder)
        with in_use(folder), WorkspaceProcessContext(instance, workspace_load_target=target) as context:
            app = create_app_from_workspace_process_context(context)
            uvicorn.run(Guard(app, hosts=hosts), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
