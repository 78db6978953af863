"""The declaration of one source: where raw rows come from, what they may hold, when they were true and known.

Belongs here: fields of a source, its clocks and its topic (each description reaches the published JSON Schema).
Does not belong here: checks that need two fields or other sources (`source_check.py`), reading rows (`store/`).
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, Tag

from forecastle.contract.column import Column, Declared
from forecastle.contract.types import (
    Duration,
    EnvironmentName,
    KafkaSetting,
    Name,
    PositiveDuration,
    SqlTable,
    Topic,
)

ARRIVED_AT: Final = "arrived_at"
"""Column of a stream that, where it is declared, the platform fills: when it took the event in."""


class Freshness(Declared):
    """How old the newest event may be before we warn and before we fail."""

    warn: PositiveDuration
    fail: PositiveDuration = Field(description="Longer than warn.")


class KnownAt(Declared):
    """Knowledge time where no column tells it: event time plus a delay that is never shorter in truth."""

    delay: Duration


class KnownAhead(Declared):
    """Knowledge time of what is announced ahead, such as a schedule: a lead before the instant that it announces.

    The row is the announcement, so its event time is its knowledge time.
    """

    lead: PositiveDuration = Field(description="So long before was every row known; never longer than in truth.")
    before: Name = Field(description="Column with the instant that is announced.")


class KnownFrom(Declared):
    """Knowledge time where only another source tells it: the latest or earliest one among its rows equal in `on`.

    `latest` is for rows that are stored in the last version seen: they may have been revised until that source last
    named them. `earliest` is for rows that never change once they are there. A row that the other source never named
    has no knowledge time and is quarantined.
    """

    latest: Name | None = Field(None, description="The source whose rows tell when a row was last seen.")
    earliest: Name | None = Field(
        None, description="The source whose rows tell when a row was first seen; only for rows that never change."
    )
    on: list[Name] = Field(min_length=1, description="Columns of both sources that must be equal.")

    @property
    def source(self) -> str:
        """The source that tells the time; "" where none is named."""
        return self.latest or self.earliest or ""


def _way_to_know(given: Any) -> str:
    """Which of the mappings is meant, so that only its own keys are missed or unknown."""
    keys = given.model_fields_set if isinstance(given, Declared) else given
    said = set(keys) if isinstance(keys, dict | set) else set()
    return (
        "KnownFrom" if {"latest", "earliest", "on"} & said else "KnownAhead" if {"lead", "before"} & said else "KnownAt"
    )


class Variable(Declared):
    """A value that stands in the environment and not in the declaration, such as an address with a password."""

    env: EnvironmentName = Field(description="Name of the environment variable.")


class Kafka(Declared):
    """A topic whose messages are JSON objects, one event each."""

    bootstrap: Variable = Field(description="Brokers as host:port with commas, by {env: NAME}.")
    topic: Topic
    settings: dict[KafkaSetting, str | Variable] = Field(
        default_factory=dict,
        description="Further settings of librdkafka, such as security.protocol; secrets by {env: NAME}.",
    )


class Closes(Declared):
    """Where another source tells when the rows of one entity end: their last event is compared with it.

    A clock in the wrong zone shows there as a gap of whole or half hours.
    """

    source: Name = Field(description="The source that tells the end.")
    at: Name = Field(description="Its column that holds the end.")
    on: list[Name] = Field(min_length=1, description="Columns of both sources that must be equal.")


class Source(Declared):
    """Raw rows from outside, with a contract, an event time and a knowledge time."""

    kind: Literal["csv", "parquet", "sql", "stream"]
    path: str = Field("", description="File or glob; ${DATA} is the data folder. For kind sql: a SQLite file.")
    url: Variable | None = Field(None, description="Kind sql: SQLAlchemy URL of the database, by {env: NAME}.")
    table: SqlTable | None = Field(None, description="Kind sql: the table that is read whole.")
    query: str | None = Field(None, min_length=1, description="Kind sql: the one SELECT that is read.")
    kafka: Kafka | None = Field(None, description="Kind stream: the topic; without one, events are posted to /stream.")
    history: PositiveDuration | None = Field(
        None, description="Kind stream: how far back feature SQL looks for newest rows; all events when absent."
    )
    event_at: Name = Field(
        description="Column that tells when the row was true in the world, or known_at where another source tells that."
    )
    known_at: (
        Name
        | Annotated[
            Annotated[KnownAt, Tag("KnownAt")]
            | Annotated[KnownAhead, Tag("KnownAhead")]
            | Annotated[KnownFrom, Tag("KnownFrom")],
            Discriminator(_way_to_know),
        ]
    ) = Field(description="Column that tells when we could first know the row, a delay, a lead, or another source.")
    key: list[Name] = Field(min_length=1, description="Rows equal in these columns are one row: the first known stays.")
    time_zone: str = Field("UTC", description="Zone of times and dates that carry none.")
    time_zones: dict[Name, str] = Field(
        default_factory=dict, description="Zones of single columns, where one file holds clocks of several."
    )
    ingested_at: Name | None = Field(None, description="Column with the clock of whoever stored the row.")
    closes: Closes | None = Field(None, description="Another source that tells when an entity's rows end.")
    optional: bool = Field(False, description="A missing file gives an empty table, said in the metadata.")
    quarantine_limit: float = Field(0.01, ge=0, le=1, description="Share of rows that may break the contract.")
    freshness: Freshness | None = None
    description: str = ""
    columns: dict[Name, Column] = Field(min_length=1)

    def zone_of(self, column: str) -> str:
        """The zone of a column's times and dates that carry none."""
        return self.time_zones.get(column, self.time_zone)

    def time_columns(self) -> dict[str, str]:
        """`event_at` and `known_at` → the column that tells it, where a column does."""
        told: dict[str, str] = {}
        if not (isinstance(self.known_at, KnownFrom | KnownAhead) and self.event_at == "known_at"):
            told["event_at"] = self.event_at
        if isinstance(self.known_at, str):
            told["known_at"] = self.known_at
        return told
