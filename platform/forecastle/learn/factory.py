"""Many models from one training set: trained side by side in processes of their own, recorded one after the other.

Belongs here: the pool, who trains what, a failure that stays one model's.
Does not belong here: training and recording one model (`build.py`), choosing among them (`choose.py`).
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Final

import pandas as pd

from forecastle.contract.errors import ForecastleError
from forecastle.contract.load import LoadedSystem
from forecastle.learn.alive import working_folder
from forecastle.learn.build import BuiltModel, LearnedModel, Recording, learn_model, record_model

WORK: Final = ".work"
"""Folder beside the bundles for rows that the pool's processes read."""

# A linear-algebra library that starts threads of its own would take the cores from the other models.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class FailedModel:
    """A model that could not be made, and the sentence that says why."""

    name: str
    reason: str


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def build_models(
    system: LoadedSystem,
    names: Sequence[str],
    frame: pd.DataFrame,
    recording: Recording,
    *,
    processes: int,
) -> Iterator[BuiltModel | FailedModel]:
    """Build declared models, `processes` at a time; each comes as soon as it is recorded, in no fixed order.

    A model is the same whether it is built alone or among others. One that fails, or whose process dies, comes as a
    `FailedModel`; the others go on. When the caller stops, no further model begins and none is left half recorded.
    """
    work = recording.bundles / WORK
    for name, learned in _learned(system, names, frame, work=work, processes=min(processes, len(names))):
        if isinstance(learned, FailedModel):
            yield learned
            continue
        try:
            yield record_model(system, learned, frame, recording)
        except Exception as error:  # noqa: BLE001  whatever it is, it is this model's alone
            yield FailedModel(name, _reason(error))


def _learned(
    system: LoadedSystem, names: Sequence[str], frame: pd.DataFrame, *, work: Path, processes: int
) -> Iterator[tuple[str, LearnedModel | FailedModel]]:
    """Each model trained, as it comes; the rows lie in a folder of `work` that outlives no kill for long."""
    with working_folder(work) as folder, _one_thread():
        rows = folder / "rows.pickle"
        with rows.open("wb") as file:
            pickle.dump((_plain(system), frame), file, protocol=pickle.HIGHEST_PROTOCOL)
        broken: list[str] = []
        for name, found in _in_pool(rows, names, processes=processes):
            if found is None:
                broken.append(name)
            else:
                yield name, found
        # A process that died took the whole pool with it; alone, each shows whether it was the one.
        for name in broken:
            ((_, found),) = _in_pool(rows, [name], processes=1)
            yield name, found or FailedModel(name, "its process died while training it: too little memory, or a crash")


def _in_pool(
    rows: Path, names: Sequence[str], *, processes: int
) -> Iterator[tuple[str, LearnedModel | FailedModel | None]]:
    """Each model trained in a new pool; None for those whose pool broke."""
    # Spawned, not forked: a fork of a process with threads (Dagster's, OpenMP's) may hold their locks for ever.
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_open, initargs=(str(rows),))
    try:
        waiting: dict[Future[LearnedModel | FailedModel], str] = {pool.submit(_learn, name): name for name in names}
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                name = waiting.pop(future)
                try:
                    yield name, future.result()
                except BrokenProcessPool:
                    yield name, None
    finally:
        for process in list((pool._processes or {}).values()):  # noqa: SLF001  nothing public ends a running task
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


_WORK: list[tuple[LoadedSystem, pd.DataFrame]] = []


def _open(rows: str) -> None:
    """What a process reads once: the system and the rows."""
    with Path(rows).open("rb") as file:
        (declaration, folder, sql, code), frame = pickle.load(file)  # noqa: S301  our own file, written by our parent
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _WORK[:] = [(LoadedSystem(declaration, folder, sql, code), frame)]


def _end_with_parent() -> None:
    """A parent that was killed cannot end its pool, whose processes would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _learn(name: str) -> LearnedModel | FailedModel:
    system, frame = _WORK[0]
    try:
        return learn_model(system, name, frame)
    except Exception as error:  # noqa: BLE001  whatever it is, it is this model's alone
        return FailedModel(name, _reason(error))


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ForecastleError) else f"{type(error).__name__}: {error}"


def _plain(system: LoadedSystem) -> tuple[object, ...]:
    """A loaded system as a pickle can hold it."""
    return system.declaration, system.folder, dict(system.sql), dict(system.code)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Children that are started within have one thread each."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
