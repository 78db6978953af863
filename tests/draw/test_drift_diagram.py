"""The drift diagram puts alarms first and shows effects against tolerances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from forecastle.draw.drift import drift_diagram
from forecastle.draw.images import png_bytes
from forecastle.draw.style import AMBER, BLUE, VERMILLION
from forecastle.measure.drift import TEST_COLUMNS, DriftTable, Tolerance, drift_table, reference

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def table(*rows: tuple[str, str, float, float, bool]) -> DriftTable:
    """A drift table of (feature, test, effect_size, tolerance, alarm)."""
    tests = pd.DataFrame(
        [(name, test, effect, tolerance, 0.01, 0.02, alarm, "reason") for name, test, effect, tolerance, alarm in rows],
        columns=list(TEST_COLUMNS),
    )
    return DriftTable(features=pd.DataFrame(), tests=tests, tolerance=Tolerance(), alpha=0.01)


def bars(figure: Figure) -> list[tuple[str, float, str]]:
    """(feature, length in tolerances, colour) from the top."""
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    found = []
    for collection in (c for c in axes.collections if isinstance(c, LineCollection)):
        (_, position), (times, _) = collection.get_segments()[0]
        red, green, blue, _ = collection.get_color()[0]
        colour = "#" + "".join(f"{round(part * 255):02X}" for part in (red, green, blue))
        found.append((names[int(position)], float(times), colour))
    return found


def test_alarms_first_then_the_largest_effect() -> None:
    """Effects are drawn in tolerances: 0.3 of 0.1 is 3, and an alarm stands above a larger doubt."""
    figure = drift_diagram(
        table(
            ("quiet", "distribution", 0.02, 0.1, False),
            ("doubtful", "distribution", 0.8, 0.1, False),
            ("loud", "nulls", 0.06, 0.02, True),
            ("loud", "distribution", 0.05, 0.1, False),
        )
    )
    assert bars(figure) == [
        ("loud", pytest.approx(0.06 / 0.02), VERMILLION),
        ("doubtful", pytest.approx(0.8 / 0.1), AMBER),
        ("quiet", pytest.approx(0.02 / 0.1), BLUE),
    ]
    labels = [text.get_text() for text in figure.axes[0].texts]
    assert labels == ["tolerance", "nulls", "distribution"]


def test_extremes_have_a_place() -> None:
    """A huge effect, a tolerance of zero and a negative effect are drawn at 100, 100 and 0."""
    figure = drift_diagram(
        table(
            ("huge", "tails", 1e6, 0.1, True),
            ("strict", "nulls", 0.01, 0.0, True),
            ("fewer", "unseen", -0.2, 0.1, False),
            ("nothing", "nulls", 0.0, 0.0, False),
        )
    )
    assert {name: times for name, times, _ in bars(figure)} == {
        "huge": 100,
        "strict": 100,
        "fewer": 0,
        "nothing": 0,
    }
    assert png_bytes(figure)


def test_no_unit_change_is_no_effect() -> None:
    """The unit test's "1 times off" means nothing happened, and draws nothing."""
    figure = drift_diagram(table(("price", "unit", 1.0, 1.0, False), ("price", "distribution", 0.05, 0.1, False)))
    assert bars(figure) == [("price", pytest.approx(0.5), BLUE)]


def test_many_features_are_cut_and_counted() -> None:
    """Beyond the limit the quietest features are left out, and the subtitle says how many."""
    figure = drift_diagram(table(*((f"f{i}", "nulls", i / 1000, 0.02, False) for i in range(40))), most_features=25)
    assert len(bars(figure)) == 25
    assert bars(figure)[0][0] == "f39"
    assert "15 quietest" in figure.texts[1].get_text()


def test_a_measured_table_draws_the_same_twice() -> None:
    """A table of `drift_table` with a shifted feature gives one alarm and the same bytes twice."""
    generator = np.random.default_rng(1)
    before = {name: generator.normal(size=2000) for name in ("same", "shifted")}
    after = {"same": generator.normal(size=1000), "shifted": generator.normal(size=1000) + 1.0}
    drift = drift_table({name: reference(values) for name, values in before.items()}, after)
    assert drift.alarms == ("shifted",)
    assert bars(drift_diagram(drift))[0][0::2] == ("shifted", VERMILLION)
    assert png_bytes(drift_diagram(drift)) == png_bytes(drift_diagram(drift))
