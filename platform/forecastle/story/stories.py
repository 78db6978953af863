"""Stories: what can go wrong upstream, each a small change of what a simulated world delivers from one instant on.

Belongs here: one pure function a story, working for any system by its declaration, and the causes each may be named by.
Does not belong here: cutting and writing deliveries (`deliveries.py`), the days of a simulated month (`assets/`),
noticing any of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
import pandas as pd

from forecastle.contract.column import Column
from forecastle.contract.errors import ForecastleError, SourceError
from forecastle.contract.load import LoadedSystem
from forecastle.contract.source import Source
from forecastle.measure.units import related_factors
from forecastle.store.clocks import row_clocks
from forecastle.story.deliveries import Deliveries, Delivery, as_instants

PARTIAL_SHARE: Final = 0.1
DRIFT_FACTOR: Final = 5.0
FLIPPED_SHARE: Final = 0.5
RESTATED_SHARE: Final = 0.2
RESTATED_BACK: Final = timedelta(days=14)
ZONE_SHIFT: Final = timedelta(hours=-5)
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Told:
    """A story as it was told to one world: what is delivered from its beginning on, and what it did.

    `source` and `column` are what was touched ("" for none), `happened` says it in words, `first_at` (UTC) is when the
    first bad row could be read, or the first missing one could not; None where nothing is wrong.
    """

    deliveries: Deliveries
    source: str
    column: str
    happened: str
    first_at: datetime | None


Teller = Callable[[LoadedSystem, Deliveries, datetime, np.random.Generator], Told]


@dataclass(frozen=True, slots=True)
class Story:
    """One story: how it is told, and which causes of an alert name it rightly.

    `symptoms` are causes of other stories that are true in this one as well (values in another unit have drifted): an
    alert of theirs may come first where the right name follows soon; any other cause that comes first misleads.
    `spoils` says that models trained on its rows would be wrong: nothing may be promoted while it lasts. `refuses` is
    what may not be made of them: the source itself, or nothing (""). `shows` is where it can be seen: in single rows,
    at once, or only in how many of them are so, over days.
    """

    name: str
    tell: Teller
    causes: frozenset[str]
    symptoms: frozenset[str]
    spoils: bool
    refuses: Literal["source", ""]
    shows: Literal["rows", "days"]
    description: str


def story_named(name: str) -> Story:
    """The story of that name.

    Raises:
        ForecastleError: there is none.
    """
    if name not in STORIES:
        raise ForecastleError(f"there is no story {name!r}; there are {', '.join(STORIES)}, and all of them as 'all'")
    return STORIES[name]


def _calm(system: LoadedSystem, deliveries: Deliveries, since: datetime, random: np.random.Generator) -> Told:  # noqa: ARG001
    """Nothing goes wrong."""
    return Told(deliveries, "", "", "Nothing happens.", None)


def _stale(system: LoadedSystem, deliveries: Deliveries, since: datetime, random: np.random.Generator) -> Told:  # noqa: ARG001
    """The source that is expected most often falls silent."""
    name = _watched(system, deliveries)
    before = deliveries[name]
    kept = before.delivered_at < since
    changed = replace(before, rows=before.rows[kept], delivered_at=before.delivered_at[kept])
    return _told(
        deliveries, name, changed, happened=f"{name} falls silent.", first_at=_first(before.delivered_at, since)
    )


def _replayed(system: LoadedSystem, deliveries: Deliveries, since: datetime, random: np.random.Generator) -> Told:  # noqa: ARG001
    """The last good day is delivered again every day, stamped as new where the source stamps its rows."""
    declared = system.declaration.sources
    stamped = [name for name in _fresh(system, deliveries) if _stamp(declared[name]) in declared[name].key]
    name = stamped[0] if stamped else _watched(system, deliveries)
    before, stamp = deliveries[name], _stamp(declared[name])
    old = before.delivered_at < since
    last_day = old & (before.delivered_at >= since - DAY)
    parts, times = [before.rows[old]], [before.delivered_at[old]]
    for days in range(1, int((before.delivered_at.max() - since) / DAY) + 2):
        rows = before.rows[last_day]
        parts.append(rows.assign(**{stamp: moved(rows[stamp], days * DAY)}) if stamp else rows)
        times.append(before.delivered_at[last_day] + days * DAY)
    changed = replace(
        before, rows=pd.concat(parts, ignore_index=True), delivered_at=pd.concat(times, ignore_index=True)
    )
    happened = f"{name} delivers its last good day again, every day" + (f", with a new {stamp}." if stamp else ".")
    first_at = _first(times[1], since) if len(times) > 1 else None
    return _told(deliveries, name, changed, happened=happened, first_at=first_at)


def _schema(system: LoadedSystem, deliveries: Deliveries, since: datetime, random: np.random.Generator) -> Told:  # noqa: ARG001
    """A column that a feature is made of comes under another name."""
    name, column, _ = _inputs(system, deliveries)[0]
    renamed = deliveries[name].rows.rename(columns={column: f"{column}_new"})
    happened = f"{name} renames its column {column} to {column}_new."
    return _told(deliveries, name, replace(deliveries[name], rows=renamed), column, happened=happened, first_at=since)


def _retyped(system: LoadedSystem, deliveries: Deliveries, since: datetime, random: np.random.Generator) -> Told:  # noqa: ARG001
    """The same column comes as text with a sign behind the number."""
    name, column, _ = _inputs(system, deliveries)[0]
    before = deliveries[name]
    text = pd.to_numeric(before.rows[column]).map(lambda value: f"{value:g} *")
    schema = before.schema
    if schema is not None:
        schema = schema.remove(schema.get_field_index(column))
    changed = replace(before, rows=before.rows.assign(**{column: text}), schema=schema)
    happened = f"{name} writes its column {column} as text, such as {text.iloc[0]!r}."
    return _told(deliveries, name, changed, column, happened=happened, first_at=since)


def _unit(system: LoadedSystem, deliveries: Deliveries, since: datetime, random: np.random.Generator) -> Told:
    """All new rows come in another unit, every value inside its contract."""
    return _in_another_unit(system, deliveries, since, random, share=1.0)


def _unit_partial(system: LoadedSystem, deliveries: Deliveries, since: datetime, random: np.random.Generator) -> Told:
    """A tenth of the new rows come in another unit."""
    return _in_another_unit(system, deliveries, since, random, share=PARTIAL_SHARE)


def _drift(system: LoadedSystem, deliveries: Deliveries, since: datetime, random: np.random.Generator) -> Told:  # noqa: ARG001
    """Inputs move and outcomes do not: larger amounts, or values that crowd at the upper end of their range."""
    inputs = _inputs(system, deliveries)
    name, column, contract = next((found for found in inputs if found[2].max is None), inputs[0])
    before = deliveries[name]
    new = before.delivered_at >= since
    numbers = pd.to_numeric(before.rows[column])
    if contract.max is None:
        values, said = numbers * DRIFT_FACTOR, f"grow {DRIFT_FACTOR:g} times"
    else:
        values, said = numbers + 0.6 * (contract.max - numbers), f"crowd below {contract.max:g}"
    changed = _with_values(before, column, contract, values.where(new, numbers))
    happened = f"New values of {name}.{column} {said}."
    return _told(deliveries, name, changed, column, happened=happened, first_at=_first(before.delivered_at, since))


def _concept(system: LoadedSystem, deliveries: Deliveries, since: datetime, random: np.random.Generator) -> Told:
    """Truth moves: of new outcomes, a half at random come out the other way."""
    name, column, contract = _outcome(system, deliveries)
    before = deliveries[name]
    flipped = (before.delivered_at >= since) & (random.random(len(before.delivered_at)) < FLIPPED_SHARE)
    numbers = pd.to_numeric(before.rows[column])
    changed = _with_values(before, column, contract, _other_way(contract, numbers).where(flipped, numbers))
    happened = f"{FLIPPED_SHARE:.0%} of new outcomes ({name}.{column}) come out the other way."
    return _told(
        deliveries, name, changed, column, happened=happened, first_at=_first(before.delivered_at[flipped], since)
    )


def _restate(system: LoadedSystem, deliveries: Deliveries, since: datetime, random: np.random.Generator) -> Told:
    """A part of the last two weeks is corrected: values of an input, and outcomes."""
    declared = system.declaration.sources
    inputs = _inputs(system, deliveries)
    stamped = [found for found in inputs if _stamp(declared[found[0]]) in declared[found[0]].key]
    name, column, _ = (stamped or inputs)[0]
    label, outcome, allowed = _outcome(system, deliveries)
    values = pd.to_numeric(deliveries[name].rows[column])
    values = pd.Series(values.to_numpy()[::-1], values.index)
    changed = {name: _corrected(declared[name], deliveries[name], column, values, since=since, random=random)}
    if label != name:
        turned = _other_way(allowed, pd.to_numeric(deliveries[label].rows[outcome]))
        changed[label] = _corrected(declared[label], deliveries[label], outcome, turned, since=since, random=random)
    happened = (
        f"{RESTATED_SHARE:.0%} of the last {RESTATED_BACK.days} days of {name}.{column} and {label}.{outcome} "
        "are corrected at once."
    )
    return Told({**deliveries, **changed}, name, column, happened, since)


def _zone(system: LoadedSystem, deliveries: Deliveries, since: datetime, random: np.random.Generator) -> Told:  # noqa: ARG001
    """The clock of a source with two clocks is set to another zone: its events are written hours off."""
    declared = system.declaration.sources
    clocked = [name for name in _read(system, deliveries) if len(row_clocks(declared[name])) > 1]
    if not clocked:
        raise SourceError(f"{system.name} has no source with two clocks; nothing could tell that one is off")
    name = clocked[0]
    before, column = deliveries[name], declared[name].time_columns()["event_at"]
    new = before.delivered_at >= since
    times = before.rows[column]
    shifted = before.rows.assign(**{column: moved(times, ZONE_SHIFT).where(new, times)})
    hours = abs(ZONE_SHIFT / timedelta(hours=1))
    happened = f"The clock {column} of {name} is {hours:g} h behind."
    first_at = _first(before.delivered_at, since)
    return _told(deliveries, name, replace(before, rows=shifted), column, happened=happened, first_at=first_at)


def moved(times: pd.Series, by: timedelta | pd.Series) -> pd.Series:
    """A column of times or dates, moved; text stays text, dates stay dates."""
    if times.dtype.kind == "M" or isinstance(times.dtype, pd.DatetimeTZDtype):
        return (times + by).astype(times.dtype)
    shifted = as_instants(times, zone="UTC") + by
    if len(times) and isinstance(times.iloc[0], str):
        return shifted.dt.strftime("%Y-%m-%dT%H:%M:%S.%f+00:00").where(times.notna())
    return shifted.dt.date


def _in_another_unit(
    system: LoadedSystem, deliveries: Deliveries, since: datetime, random: np.random.Generator, *, share: float
) -> Told:
    name, column, contract, factor = _convertible(system, deliveries)
    before = deliveries[name]
    wrong = (before.delivered_at >= since) & (random.random(len(before.delivered_at)) < share)
    numbers = pd.to_numeric(before.rows[column])
    changed = _with_values(before, column, contract, (numbers * factor).where(wrong, numbers))
    part = "New" if share == 1 else f"{share:.0%} of new"
    happened = f"{part} values of {name}.{column} come {factor:g} times as large; the contract says {contract.unit}."
    return _told(
        deliveries, name, changed, column, happened=happened, first_at=_first(before.delivered_at[wrong], since)
    )


def _convertible(system: LoadedSystem, deliveries: Deliveries) -> tuple[str, str, Column, float]:
    """The first input whose values, written in another unit, would still keep their contract; and by which factor."""
    for name, column, contract in _inputs(system, deliveries):
        values = pd.to_numeric(deliveries[name].rows[column]).dropna()
        low = -np.inf if contract.min is None else contract.min
        high = np.inf if contract.max is None else contract.max
        for factor in related_factors(contract.unit or ""):
            if len(values) and (values * factor).between(low, high).all():
                return name, column, contract, factor
    raise SourceError(f"no input of {system.name} can change its unit and keep its contract: such rows are refused")


def _corrected(
    source: Source,
    before: Delivery,
    column: str,
    values: pd.Series,
    *,
    since: datetime,
    random: np.random.Generator,
) -> Delivery:
    """A share of the recent rows once more with other values: beside the old ones where the key allows it."""
    recent = (before.delivered_at < since) & (before.delivered_at >= since - RESTATED_BACK)
    chosen = recent & (random.random(len(recent)) < RESTATED_SHARE)
    numbers = pd.to_numeric(before.rows[column])
    rewritten = _with_values(before, column, source.columns[column], values.where(chosen, numbers))
    stamp = source.known_at
    if not isinstance(stamp, str) or stamp not in source.key:
        return rewritten
    again = rewritten.rows[chosen]
    late = pd.Series(pd.Timestamp(since), again.index) - before.delivered_at[chosen]
    again = again.assign(**{stamp: moved(again[stamp], late)})
    rows = pd.concat([before.rows, again], ignore_index=True)
    times = pd.concat([before.delivered_at, before.delivered_at[chosen] + late], ignore_index=True)
    return replace(before, rows=rows, delivered_at=times)


def _with_values(before: Delivery, column: str, contract: Column, values: pd.Series) -> Delivery:
    """The rows with other numbers in one column, written as the file writes them."""
    if before.schema is None:
        written = values.map(lambda value: f"{value:.10g}").where(values.notna())
    elif contract.dtype == "int64" and not values.isna().any():
        written = values.round().astype("int64")
    else:
        written = values
    return replace(before, rows=before.rows.assign(**{column: written}))


def _other_way(contract: Column, numbers: pd.Series) -> pd.Series:
    if contract.allowed is not None and len(contract.allowed) == 2:
        low, high = (float(value) for value in contract.allowed)
    else:
        low, high = contract.min or 0.0, 1.0 if contract.max is None else contract.max
    return low + high - numbers


def _outcome(system: LoadedSystem, deliveries: Deliveries) -> tuple[str, str, Column]:
    """The source column that the outcome is read from."""
    found = [(name, c) for name, c in system.lineage(system.declaration.label.sql)["outcome"] if name in deliveries]
    for name, column in found:
        contract = system.declaration.sources[name].columns[column]
        if contract.dtype in ("float64", "int64"):
            return name, column, contract
    raise SourceError(f"the outcome of {system.name} is read from no number: it cannot be turned the other way")


def _inputs(system: LoadedSystem, deliveries: Deliveries) -> list[tuple[str, str, Column]]:
    """Numbers that features are made of, in the order of the features: source, column, contract."""
    declared = system.declaration
    found: dict[tuple[str, str], Column] = {}
    for view in declared.feature_views.values():
        lineage = system.lineage(view.sql)
        for feature in view.features:
            for name, column in lineage[feature]:
                source = declared.sources[name]
                contract = source.columns.get(column)
                if contract is None or contract.dtype not in ("float64", "int64") or contract.unit == "id":
                    continue
                if name in deliveries and column not in source.key:
                    found[name, column] = contract
    if not found:
        raise SourceError(f"no feature of {system.name} is made of a number in a file")
    return [(name, column, contract) for (name, column), contract in found.items()]


def _read(system: LoadedSystem, deliveries: Deliveries) -> list[str]:
    """Sources that feature views read, in the order of the views."""
    views = system.declaration.feature_views.values()
    return [n for n in dict.fromkeys(n for view in views for n in system.reads(view.sql)) if n in deliveries]


def _fresh(system: LoadedSystem, deliveries: Deliveries) -> list[str]:
    """Sources that features read and that are expected to stay fresh, the most impatient first."""
    windows = {name: system.declaration.sources[name].freshness for name in _read(system, deliveries)}
    return sorted((n for n, w in windows.items() if w), key=lambda n: windows[n].warn)  # type: ignore[union-attr]


def _watched(system: LoadedSystem, deliveries: Deliveries) -> str:
    found = _fresh(system, deliveries)
    if not found:
        raise SourceError(f"no source that features of {system.name} read declares its freshness: silence is no fault")
    return found[0]


def _stamp(source: Source) -> str | None:
    """The column with the knowledge time, where it is one of its own."""
    return source.known_at if isinstance(source.known_at, str) and source.known_at != source.event_at else None


def _first(at: pd.Series | None, since: datetime) -> datetime | None:
    later = at[at >= since] if at is not None else None
    return None if later is None or later.empty else later.min().to_pydatetime()


def _told(
    deliveries: Deliveries, name: str, changed: Delivery, column: str = "", *, happened: str, first_at: datetime | None
) -> Told:
    return Told({**deliveries, name: changed}, name, column, happened, first_at)


def _story(
    name: str,
    tell: Teller,
    *causes: str,
    symptoms: tuple[str, ...] = (),
    spoils: bool = False,
    refuses: Literal["source", ""] = "",
    shows: Literal["rows", "days"] = "rows",
) -> Story:
    description = (tell.__doc__ or "").split("\n")[0]
    return Story(name, tell, frozenset(causes), frozenset(symptoms), spoils, refuses, shows, description)


# Symptoms: the same old rows, or none, let what is served age and drift; values of another size have drifted, whatever
# made them so; models that learn turned outcomes answer otherwise; a clock that is behind makes new rows look old.
_ALL = (
    _story("stale", _stale, "event_time_freshness", symptoms=("drift",), spoils=True, shows="days"),
    _story("replayed", _replayed, "replay", "event_time_freshness", symptoms=("drift",), spoils=True),
    _story("schema", _schema, "run_failure", spoils=True, refuses="source"),
    _story("retyped", _retyped, "run_failure", spoils=True, refuses="source"),
    _story("unit", _unit, "units", "unit_jump_rate", symptoms=("drift", "run_failure"), spoils=True, refuses="source"),
    _story("unit-partial", _unit_partial, "unit_jump_rate", "outlier_rate", symptoms=("drift",), spoils=True),
    _story("drift", _drift, "drift", shows="days"),
    _story("concept", _concept, "miscalibration", "live_performance", symptoms=("drift",), shows="days"),
    _story("restate", _restate, "restatement", symptoms=("drift", "miscalibration", "live_performance")),
    _story("zone", _zone, "clocks", symptoms=("event_time_freshness",), spoils=True),
    _story("calm", _calm),
)

STORIES: Final[Mapping[str, Story]] = MappingProxyType({story.name: story for story in _ALL})
"""Every story by name, in the order in which they are told."""
