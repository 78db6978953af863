"""Has a source changed: a cheap look from outside, many times an hour, that reads no rows.

Belongs here: a mark of each kind of source that differs when there may be something new.
Does not belong here: reading sources (`sources.py`), what follows from a change (`assets/automation.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from forecastle.contract.load import LoadedSystem
from forecastle.contract.source import Source
from forecastle.store.source_database import database_watermark
from forecastle.store.source_files import source_paths
from forecastle.store.stream_log import StreamLog


def source_mark(system: LoadedSystem, name: str, *, data: Path, variables: Mapping[str, str], streams: Path) -> str:
    """A short text that changes when the source may have new rows.

    Files: their names, sizes and times of modification. A database: its number of rows and newest knowledge time (a
    SQLite file: as files). A stream: the last event that was taken in. "absent" where there is nothing yet.

    Raises:
        SourceError: the path leads out of the data folder, or the database cannot be asked.
    """
    source = system.declaration.sources[name]
    if source.kind == "stream":
        return _stream(name, streams)
    if source.kind == "sql" and source.url is not None:
        return database_watermark(name, source, data=data, variables=variables)
    return _files(name, source, data=data)


def _files(name: str, source: Source, *, data: Path) -> str:
    paths = source_paths(name, source.path, data=data)
    if not paths:
        return "absent"
    # A database that is being written to shows it in its write-ahead log first.
    beside = [path.with_name(path.name + "-wal") for path in paths] if source.kind == "sql" else []
    digest = hashlib.sha256()
    for path in [*paths, *(path for path in beside if path.exists())]:
        found = path.stat()
        digest.update(f"{path.name}|{found.st_size}|{found.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _stream(name: str, streams: Path) -> str:
    if not streams.is_file():
        return "absent"
    with closing(StreamLog(streams)) as log:
        counts = log.counts(name)
    return f"event {counts.last_sequence}, dead letter {counts.dead_letters}"
