"""The look is ours alone: it neither follows nor changes the settings of the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pandas as pd

import forecastle
from forecastle.draw.importance import importance_bars
from forecastle.draw.style import look, new_figure, shortened


def test_the_look_ends_with_the_picture() -> None:
    """After a picture the process has the settings it had before."""
    before = dict(mpl.rcParams.items())
    with look():
        assert mpl.rcParams["text.parse_math"] is False
    assert dict(mpl.rcParams.items()) == before


def test_a_users_settings_have_no_say() -> None:
    """A setting of the process, here a serif font of 30 points, does not reach a picture."""
    with mpl.rc_context({"font.family": "serif", "font.size": 30.0}), look():
        figure = new_figure("title", "subtitle")
    assert [text.get_fontsize() for text in figure.texts] == [11.5, 9.0]
    assert {text.get_fontfamily()[0] for text in figure.texts} == {"sans-serif"}


def test_long_headings_are_wrapped() -> None:
    """A long title and subtitle break into lines instead of leaving the picture."""
    with look():
        figure = new_figure("word " * 30, "word " * 60)
    assert [text.get_text().count("\n") >= 2 for text in figure.texts] == [True, True]


def test_drawing_never_imports_pyplot() -> None:
    """No picture imports pyplot, which would keep figures alive and look for a display."""
    code = (
        "import sys, pandas as pd; from forecastle.draw import report, drift, graph, images, importance;"
        "images.png_bytes(importance.importance_bars(pd.DataFrame({'feature': ['a'], 'importance': [1]})));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(Path(forecastle.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr


def test_long_names_keep_both_ends() -> None:
    """A name of 100 letters becomes 40 with its beginning and end; a short one stays."""
    name = "a" * 50 + "z" * 50
    assert shortened(name) == "a" * 20 + "…" + "z" * 19
    assert shortened("market_price") == "market_price"


def test_long_names_leave_room_for_the_picture() -> None:
    """Features with very long names still get axes more than two inches wide."""
    figure = importance_bars(pd.DataFrame({"feature": ["x" * 200, "y"], "importance": [2.0, 1.0]}))
    figure.canvas.draw()
    assert figure.axes[0].get_window_extent().width / figure.dpi > 2.0
