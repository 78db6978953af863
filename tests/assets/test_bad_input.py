"""What goes wrong upstream is told plainly, and whatever was good before stays byte for byte."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from forecastle.contract.load import load_system
from forecastle.store.home import Home
from tests.assets.world import FOLDER, NAME, World, assets_made, checks, failures, metadata

pytestmark = pytest.mark.xdist_group("graph")

SERVING = ("bundles/", "champions/", "online/", "registry.sqlite")


def truncated(path: Path) -> None:
    """A download that broke off."""
    path.write_bytes(path.read_bytes()[:-4_000])


def renamed(path: Path) -> None:
    """A publisher who found a better name."""
    table = pq.read_table(path)
    pq.write_table(table.rename_columns([{"value": "values"}.get(name, name) for name in table.column_names]), path)


def retyped(path: Path) -> None:
    """A publisher who quotes numbers now."""
    table = pq.read_table(path)
    place = table.column_names.index("value")
    pq.write_table(table.set_column(place, "value", pc.cast(table["value"], pa.string())), path)


def emptied(path: Path) -> None:
    """A file of no bytes, as a full disk leaves it."""
    path.write_bytes(b"")


def missing(path: Path) -> None:
    """No file at all."""
    path.unlink()


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (truncated, ("quotes.parquet", "cannot be read as parquet", "the last good table stays")),
        (emptied, ("quotes.parquet", "cannot be read as parquet", "the last good table stays")),
        (renamed, ("quotes.parquet", "column value", "expected float64", "found no such column", "'values'")),
        (retyped, ("quotes.parquet", "column value", "expected float64", "found VARCHAR")),
        (missing, ("no file matches ${DATA}/prediction_markets/quotes.parquet",)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_source_that_changed_fails_its_asset_alone(
    copied: World, break_it: Callable[[Path], None], says: tuple[str, ...]
) -> None:
    """The message names file, column, expected and found; tables, champion, online rows and registry stay."""
    before = copied.files()
    break_it(copied.data / NAME / "quotes.parquet")
    result = copied.run()
    assert not result.success
    failed = failures(result)
    assert list(failed) == ["source/quotes"]
    assert [part for part in says if part not in failed["source/quotes"]] == []
    assert "Traceback" not in failed["source/quotes"]
    sources = {f"source/{name}" for name in copied.system.declaration.sources}
    assert assets_made(result) == sources - {"source/quotes"} | {"alerts"}
    assert copied.files() == before


def test_a_view_that_knows_too_early_blocks_the_models(copied: World, tmp_path: Path) -> None:
    """Prices said to be known a day before they were: the leakage check finds it, and nothing is trained on it."""
    folder = tmp_path / "systems" / NAME
    shutil.copytree(FOLDER, folder)
    sql = folder / "market_quotes.sql"
    honest = "  weeks.known_at AS known_at,"
    assert sql.read_text().count(honest) == 1
    sql.write_text(sql.read_text().replace(honest, "  weeks.known_at - INTERVAL 1 DAY AS known_at,"))
    before = copied.files()
    result = copied.declared_by(load_system(folder)).run("features/market_quotes", "training_set", "models/lightgbm")
    assert not result.success
    assert "models/lightgbm" not in assets_made(result)
    leakage = checks(result)["training_set", "leakage"]
    assert (leakage.passed, leakage.blocking) == (False, True)
    assert leakage.metadata["differences"].value > 0
    assert "market_price" in leakage.metadata["first_differences"].value
    after = copied.files()
    assert {n: h for n, h in after.items() if n.startswith(SERVING)} == {
        n: h for n, h in before.items() if n.startswith(SERVING)
    }


def test_a_model_far_better_than_the_market_is_not_promoted(copied: World) -> None:
    """Polls that were rewritten after the election look like skill; the gate calls it a leak and the champion stays."""
    rewrite_polls(copied.data / NAME)
    registry, pointer = copied.platform.registry(), Home(copied.home).champion(NAME)
    before, pointed = registry.history(NAME), pointer.read_bytes()
    online = Home(copied.home).online(NAME).read_bytes()
    result = copied.run(
        "source/polls", "features/market_polls", "training_set", "models/lightgbm", "evaluation/lightgbm", "promotion"
    )
    assert failures(result) == {}
    assert checks(result)["training_set", "leakage"].passed, "the sources agree with themselves: they lie in common"
    said = metadata(result, "promotion")
    assert said["promoted"] is False
    assert "more likely a leak than skill" in said["reasons"].splitlines()[0]
    assert said["candidate"] != said["champion"] == before[0].bundle
    assert not checks(result)["promotion", "gates"].passed
    refused = registry.decisions(NAME)[0]
    assert (refused.promote, refused.bundle) == (False, said["candidate"])
    assert any("look for a feature that knows the outcome" in reason for reason in refused.reasons)
    assert registry.history(NAME) == before
    assert pointer.read_bytes() == pointed
    assert Home(copied.home).online(NAME).read_bytes() == online


def rewrite_polls(folder: Path) -> None:
    """Every poll of a resolved market says the outcome, with the date it always had."""
    resolved = pq.read_table(folder / "resolutions.parquet").to_pandas().sort_values("known_at", kind="stable")
    outcome = resolved.groupby("mid")["resolved_to"].last()
    races = pq.read_table(folder / "market_races.parquet").to_pandas()
    truth = dict(zip(races["candidate_name"], races["mid"].map(outcome), strict=True))
    path = folder / "polls_races.parquet"
    polls = pq.read_table(path)
    said = polls["candidate_name"].to_pandas().map(truth)
    pct = np.where(said.notna(), 100 * said, polls["pct"].to_numpy())
    place = polls.column_names.index("pct")
    pq.write_table(polls.set_column(place, "pct", pa.array(pct, polls.schema.field("pct").type)), path)
