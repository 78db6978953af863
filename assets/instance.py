"""The Dagster instance of one home: made with our settings the first time.

Belongs here: where it is, what it is told, and mending what a power cut left behind.
Does not belong here: runs, the web server.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from assets.describe import POOL

SETTINGS = Path(__file__).with_name("dagster.yaml")
LOCK = "in_use.lock"
MAKING = "making.lock"


def prepare_instance(folder: Path) -> Path:
    """Make the instance's folder with our settings; settings that are there stay as they are."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / SETTINGS.name).exists():
        shutil.copyfile(SETTINGS, folder / SETTINGS.name)
    return folder


@contextmanager
def opened(folder: Path) -> Iterator[dg.DagsterInstance]:
    """The instance of a prepared folder, its storage made by one process only.

    Dagster stamps a new SQLite storage without a lock: two first openings at once leave two stamps, and nothing can
    open it again.
    """
    with (folder / MAKING).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        instance = dg.DagsterInstance.from_config(str(folder))
        if instance.global_op_concurrency_default_limit:
            # Dagster's daemon learns of a pool only after it has launched what is queued: three trainings at once.
            instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)
    with instance:
        yield instance


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Say, for as long as the block lasts, that this process runs something or serves those who may."""
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def mend(instance: dg.DagsterInstance, folder: Path) -> list[str]:
    """Fail dead runs, unless somebody is using the instance; returns the ids of the runs that were failed."""
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return []
        return fail_dead_runs(instance)


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Runs that say STARTED though no server can be running them: a power cut leaves them so for ever.

    Call when nothing of this instance runs (`mend` makes sure). Returns the ids of the runs that were failed.
    """
    alive = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING]
    dead = instance.get_runs(dg.RunsFilter(statuses=alive))
    for run in dead:
        instance.report_run_failed(run, "The machine or its servers stopped while this run was going; run it again.")
    return [run.run_id for run in dead]
