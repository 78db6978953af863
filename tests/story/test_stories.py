"""Stories and deliveries: files as they stood at an instant, and each story's small change of what is delivered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from forecastle.contract.errors import ForecastleError
from forecastle.contract.load import LoadedSystem, load_system
from forecastle.story.deliveries import Deliveries, Upstream, as_instants, read_deliveries
from forecastle.story.stories import STORIES, moved, story_named

FOLDER = Path(__file__).parents[2] / "platform" / "systems" / "prediction_markets"
END = datetime(2026, 7, 1, 6, tzinfo=UTC)
SINCE = END - timedelta(days=12)


@pytest.fixture(scope="module")
def system() -> LoadedSystem:
    return load_system(FOLDER)


@pytest.fixture(scope="module")
def world(system: LoadedSystem, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small whole world, known at its end."""
    folder = tmp_path_factory.mktemp("world")
    system.function("simulate:world")(folder / system.name, seed=3, now=END, markets=150, days=60)
    return folder


@pytest.fixture(scope="module")
def calm(system: LoadedSystem, world: Path) -> Deliveries:
    return read_deliveries(system, world)


def tell(name: str, system: LoadedSystem, calm: Deliveries):
    return STORIES[name].tell(system, calm, SINCE, np.random.default_rng(1))


def test_at_the_end_the_files_are_those_of_the_world(system, world, calm, tmp_path):
    """Every row that has a knowledge time was delivered, and every column has the type it had."""
    Upstream(tmp_path).deliver(calm, now=END)
    for source in system.declaration.sources.values():
        file = source.path.removeprefix("${DATA}/")
        whole, delivered = pq.read_table(world / file), pq.read_table(tmp_path / file)
        assert whole.schema.types == delivered.schema.types
        if "markets.parquet" not in file:  # unlisted markets have no knowledge time
            assert whole.num_rows == delivered.num_rows > 0


def test_no_row_is_delivered_before_it_is_known(calm, tmp_path):
    """A file at an instant holds just the rows known by then."""
    Upstream(tmp_path).deliver(calm, now=SINCE)
    quotes = pd.read_parquet(tmp_path / "prediction_markets" / "quotes.parquet")
    known = calm["quotes"].rows["known_at"]
    assert quotes["known_at"].max() <= SINCE
    assert len(quotes) == (known <= SINCE).sum() < len(known)


def test_only_files_that_changed_are_written(calm, tmp_path):
    """The same instant again changes nothing; a day later something did."""
    upstream = Upstream(tmp_path)
    assert set(upstream.deliver(calm, now=SINCE)) == set(calm)
    assert upstream.deliver(calm, now=SINCE) == ()
    assert "quotes" in upstream.deliver(calm, now=SINCE + timedelta(days=1))


@pytest.mark.parametrize("name", list(STORIES))
def test_before_it_begins_a_story_has_changed_no_value(name, system, calm):
    """Whatever was delivered earlier keeps its values, but for what a source rewrites whole."""
    told = tell(name, system, calm)
    for source, delivery in told.deliveries.items():
        old = calm[source].delivered_at < SINCE
        same = [
            c for c in calm[source].rows.columns if c in delivery.rows.columns and (name, c) != ("retyped", "value")
        ]
        before = calm[source].rows.loc[old, same]
        assert before.equals(delivery.rows.iloc[: len(before)][same].set_index(before.index))


@pytest.mark.parametrize("name", [name for name in STORIES if name != "calm"])
def test_a_story_says_where_and_when_it_began(name, system, calm):
    """It names a source of the system, and its first bad row is not older than it."""
    told = tell(name, system, calm)
    assert told.source in system.declaration.sources
    assert told.first_at >= SINCE
    assert told.source in told.happened


def test_a_silent_source_delivers_nothing_more(system, calm):
    """The source with the shortest declared freshness stops."""
    told = tell("stale", system, calm)
    assert told.deliveries[told.source].delivered_at.max() < SINCE


def test_replayed_rows_are_old_ones_with_a_new_stamp(system, calm):
    """Every row after the beginning repeats the event and the value of one before it."""
    told = tell("replayed", system, calm)
    rows, at = told.deliveries["quotes"].rows, told.deliveries["quotes"].delivered_at
    columns = ["mid", "value_date", "value"]
    old, new = rows.loc[at < SINCE, columns], rows.loc[at >= SINCE, columns]
    assert len(new) > 0
    assert len(new.merge(old.drop_duplicates(), on=columns)) == len(new)
    assert (rows.loc[at >= SINCE, "known_at"] >= SINCE).all()


@pytest.mark.parametrize(("name", "share"), [("unit", 1.0), ("unit-partial", 0.1)])
def test_another_unit_stays_inside_the_contract(name, share, system, calm):
    """So many of the new values are 100 times smaller, and no range tells them."""
    told = tell(name, system, calm)
    contract = system.declaration.sources[told.source].columns[told.column]
    before, after = calm[told.source], told.deliveries[told.source]
    new = before.delivered_at >= SINCE
    ratio = (after.rows[told.column] / before.rows[told.column])[new]
    assert (np.isclose(ratio, 0.01)).mean() == pytest.approx(share, abs=0.05)
    assert after.rows[told.column].between(contract.min, contract.max).all()


def test_a_concept_moves_outcomes_and_no_input(system, calm):
    """About a half of the new outcomes are the other ones; every other file is as it was."""
    told = tell("concept", system, calm)
    new = calm[told.source].delivered_at >= SINCE
    flipped = told.deliveries[told.source].rows[told.column] != calm[told.source].rows[told.column]
    assert flipped[new].mean() == pytest.approx(0.5, abs=0.2)
    assert all(told.deliveries[name] is calm[name] for name in calm if name != told.source)


def test_a_restatement_adds_versions_and_takes_none_away(system, calm):
    """The old rows stay; corrected ones came at the story's beginning, stamped then."""
    told = tell("restate", system, calm)
    before, after = calm["quotes"], told.deliveries["quotes"]
    added = after.rows.iloc[len(before.rows) :]
    assert len(added) > 0
    assert (added["known_at"] == pd.Timestamp(SINCE)).all()
    assert after.rows.iloc[: len(before.rows)].equals(before.rows)


def test_a_clock_in_another_zone_is_five_hours_behind(system, calm):
    """Events of new trades only; when they became known is right."""
    told = tell("zone", system, calm)
    new = calm["trades"].delivered_at >= SINCE
    gap = calm["trades"].rows["traded_at"] - told.deliveries["trades"].rows["traded_at"]
    assert set(gap[new]) == {timedelta(hours=5)}
    assert set(gap[~new]) == {timedelta(0)}


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(pd.to_datetime(["2026-06-01T12:00:00+02:00", None], utc=True)),
        pd.Series(["2026-06-01T10:00:00Z", None], dtype="str"),
        pd.Series(pd.to_datetime(["2026-06-01T10:00:00", None])),
    ],
)
def test_times_of_every_form_are_instants(values):
    """With a zone, as text, without one: the same moment; nothing stays nothing; moved, it keeps its form."""
    found = as_instants(values, zone="UTC")
    assert found[0] == pd.Timestamp("2026-06-01T10:00:00Z")
    assert found.isna().tolist() == [False, True]
    again = moved(values, timedelta(hours=1))
    assert as_instants(again, zone="UTC")[0] == pd.Timestamp("2026-06-01T11:00:00Z")
    assert again.dtype == values.dtype


def test_an_unknown_story_is_refused():
    """The message names the stories that there are."""
    with pytest.raises(ForecastleError, match="unit-partial"):
        story_named("units")
