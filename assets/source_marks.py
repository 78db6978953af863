"""Marks of sources: has something changed since the source was read.

Belongs here: the mark of each source now, beside the one that its last materialisation was made of.
Does not belong here: what a mark is (`forecastle.store.source_changes`), what follows from a change (`automation.py`).
"""

from dagster import DagsterInstance

from assets.describe import key
from forecastle.contract.errors import ForecastleError
from forecastle.contract.load import LoadedSystem
from forecastle.store.source_changes import source_mark
from resources.platform import Platform
from resources.variables import variables

MARK = "mark"
ABSENT = "absent"


def mark_of(platform: Platform, system: LoadedSystem, name: str) -> str:
    """The mark of one source as it is now.

    Raises:
        SourceError: the path leads out of the data folder, or the database cannot be asked.
    """
    data, streams = platform.data_folder(system), platform.layout.streams(system.name)
    return source_mark(system, name, data=data, variables=variables(), streams=streams)


def source_marks(platform: Platform, system: LoadedSystem) -> tuple[dict[str, str], list[str]]:
    """The mark of each source that can be looked at, and why others cannot."""
    marks, troubles = {}, []
    for name in system.declaration.sources:
        try:
            marks[name] = mark_of(platform, system, name)
        except ForecastleError as error:
            troubles.append(str(error))
    return marks, troubles


def is_new(
    instance: DagsterInstance, platform: Platform, system: LoadedSystem, name: str, mark: str, *, before: str | None
) -> bool:
    """Is a mark another than at the look `before`, and of rows that no run has read yet?

    A first look starts nothing where the table is there already: whoever made it read the source.
    """
    if mark in (before, ABSENT):
        return False
    if before is None and platform.warehouse().version(f"{system.name}/source/{name}") is not None:
        return False
    return mark != _mark_read(instance, system, name)


def _mark_read(instance: DagsterInstance, system: LoadedSystem, name: str) -> str | None:
    """The mark that the newest materialisation was made of."""
    event = instance.get_latest_materialization_event(key(system, "source", name))
    if event is None or event.asset_materialization is None:
        return None
    found = event.asset_materialization.metadata.get(MARK)
    return None if found is None else str(found.value)
