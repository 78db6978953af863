"""What a failed step says of itself, in one sentence, and whether another asset has said it already.

Belongs here: from Dagster's failure event to the refusal's own words.
Does not belong here: where it is told (`alerts.py`, `run.py`).
"""

from __future__ import annotations

from typing import Any

import dagster as dg

FOLLOWS = "follows from"
BLOCKED = "dagster._core.errors.DagsterAssetCheckFailedError: "


def reason(event: dg.DagsterEvent) -> str:
    """What a failed step says of itself: the refusal's sentence, else the error's own."""
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    error: Any = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    # A blocking check that failed is told plainly by the rest of its sentence.
    return error.message.strip().removeprefix(BLOCKED) if error else "no reason was given"


def follows(event: dg.DagsterEvent) -> bool:
    """Is a step's failure the consequence of what another asset decided, and told?"""
    raised = event.step_failure_data.user_failure_data
    return raised is not None and FOLLOWS in raised.metadata
