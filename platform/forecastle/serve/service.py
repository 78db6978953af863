"""The BentoML service: the same class for `forecastle serve`, `bentoml serve` and the container.

Belongs here: BentoML's options and hooks. Importing this module reads nothing and starts nothing.
Does not belong here: routes (`application.py`). They stand in a middleware because BentoML answers /livez,
/readyz, /healthz and /schema.json itself before any mounted application.
https://docs.bentoml.com/en/latest/build-with-bentoml/asgi.html
"""

from __future__ import annotations

import os
from typing import Any

import bentoml

from forecastle.contract.errors import ForecastleError
from forecastle.serve.application import Application, Front
from forecastle.serve.settings import settings_from

application = Application()


@bentoml.service(
    name="forecastle",
    # BentoML keeps a timer and its request alive this long: one second, and our own deadline ends before it.
    traffic={"timeout": 1},
    # Each of these costs more than the model; the application counts for itself.
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
    metrics={"enabled": False},
)
class Forecastle:
    """Calibrated, logged predictions of one system."""

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        """Load the champion and open the log."""
        try:
            await application.start(settings_from(os.environ))
        except ForecastleError as error:
            application.not_started = str(error)
            raise

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        """Write what waits in the log."""
        await application.stop()


service: Any = Forecastle  # what the decorator made of the class
service.add_asgi_middleware(Front, application=application, deadline_seconds=0.9)
