"""Checks on features: a unit that changed is told by name, and what serving reads must be what the warehouse holds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from forecastle.store.home import Home
from tests.assets.conftest import Made
from tests.assets.world import NAME, World, assets_made, checks

pytestmark = pytest.mark.xdist_group("graph")


def test_parity_of_a_sound_world_looked_at_values(made: Made) -> None:
    """It passes because online rows were compared, not because there were none."""
    parity = checks(made.result)["parity", "parity"]
    found = {name: value.value for name, value in parity.metadata.items()}
    assert parity.passed
    assert (found["differences"], found["behind"], found["ahead"]) == (0, 0, 0)
    assert found["compared"] > 500


def test_an_altered_online_value_blocks_promotion(copied: World) -> None:
    """One value of one market that no row of the warehouse explains: parity fails and no champion is made."""
    with closing(sqlite3.connect(Home(copied.home).online(NAME))) as connection:
        connection.execute(
            "UPDATE market_quotes SET market_price = market_price / 2 + 0.001"
            " WHERE market_id = (SELECT min(market_id) FROM market_quotes)"
        )
        connection.commit()
    result = copied.run("parity", "promotion")
    parity = checks(result)["parity", "parity"]
    assert not parity.passed
    assert parity.metadata["differences"].value == 1
    assert "promotion" not in assets_made(result)


def test_another_unit_is_told_by_name(copied: World) -> None:
    """Days that arrive as hours, all inside the contract's range: the check says so, and the table is still made."""
    system = copied.system
    view = system.declaration.feature_views["market_quotes"]
    wide = {n: f.model_copy(update={"max": None}) for n, f in view.features.items()}
    changed = view.model_copy(update={"features": wide})
    declared = system.declaration.model_copy(
        update={"feature_views": {**system.declaration.feature_views, "market_quotes": changed}}
    )
    text = system.sql[view.sql]
    outer = f"SELECT * REPLACE (days_to_resolution * 24.0 AS days_to_resolution) FROM ({text.rstrip().rstrip(';')})"
    world = copied.declared_by(replace(system, declaration=declared, sql={**system.sql, view.sql: outer}))
    result = world.run("features/market_quotes")
    units = checks(result)["features/market_quotes", "units"]
    assert not units.passed
    assert "days_to_resolution: values look like hours, contract says days" in units.description
    assert assets_made(result) == {"features/market_quotes"}


def test_the_quarantine_is_shown_where_there_is_one(made: Made) -> None:
    """A contract check that warns counts the rows and shows the first ones with the rule that each broke."""
    found = {key: check for key, check in checks(made.result).items() if key[1] == "contract"}
    assert found
    for check in found.values():
        said = {name: value.value for name, value in check.metadata.items()}
        assert check.description.endswith(("keep the contract.", "the source is refused."))
        assert ("first_rows" in said) == (said["quarantined"] > 0)
