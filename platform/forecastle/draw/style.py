"""One look for every picture: colours, fonts, sizes, and the frame of a figure with its title.

Belongs here: what two pictures share. Colours are Okabe and Ito's, which people with any common colour
blindness tell apart (https://jfly.uni-koeln.de/color/); the ground is opaque, so that a picture reads the
same on a light and on a dark page.
Does not belong here: single pictures, encoding (`images`). Without pyplot no figure outlives its caller.
"""

from __future__ import annotations

import textwrap
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
AMBER, SKY, PURPLE = "#E69F00", "#56B4E9", "#CC79A7"
INK, MUTED, FAINT, GRID, PAPER = "#1F2933", "#5F6B78", "#A9B3BE", "#E6EAEE", "#FFFFFF"

WIDTH_INCHES = 6.0
HEIGHT_INCHES = 4.5
_LEFT_INCHES = 0.12

Coordinates: TypeAlias = Literal["data", "axes fraction"]

_LOOK: dict[str, Any] = {
    "font.family": "sans-serif",
    # DejaVu ships with matplotlib, so layout is the same everywhere; Verdana has its metrics in browsers.
    "font.sans-serif": ["DejaVu Sans", "Verdana"],
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.formatter.useoffset": False,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "patch.linewidth": 0.0,
    "xtick.color": FAINT,
    "xtick.labelcolor": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.color": FAINT,
    "ytick.labelcolor": MUTED,
    "ytick.labelsize": 8.5,
    "text.parse_math": False,  # a feature may have two dollar signs in its name
    "svg.fonttype": "none",
    "svg.hashsalt": "forecastle",
}
# matplotlib's settings belong to the process; two assets that draw in two threads must not mix theirs.
_LOCK = threading.RLock()


@contextmanager
def look() -> Iterator[None]:
    """The look, for as long as a picture is drawn or encoded; also a decorator: `@look()`.

    A user's own matplotlibrc has no say, so the same table gives the same bytes everywhere.
    """
    own: dict[Any, Any] = {name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith("backend")}
    with _LOCK, mpl.rc_context(own | _LOOK):
        yield


def new_figure(
    title: str,
    subtitle: str = "",
    *,
    width_inches: float = WIDTH_INCHES,
    height_inches: float = HEIGHT_INCHES,
) -> Figure:
    """An empty figure with a bold title and a muted subtitle at its upper left, wrapped to its width."""
    heading, below = _wrapped(title, subtitle, width_inches)
    head_inches = heading_inches(title, subtitle, width_inches=width_inches)
    figure = Figure(figsize=(width_inches, height_inches))
    room = (0.0, 0.0, 1.0, 1.0 - head_inches / height_inches)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08, rect=room)
    left, top = _LEFT_INCHES / width_inches, 1.0 - 0.1 / height_inches
    below_top = 1.0 - (0.12 + 0.2 * len(heading)) / height_inches
    figure.text(left, top, "\n".join(heading), va="top", fontsize=11.5, fontweight="bold")
    figure.text(left, below_top, "\n".join(below), va="top", color=MUTED, linespacing=1.3)
    return figure


def heading_inches(title: str, subtitle: str, *, width_inches: float) -> float:
    """Height that the title and subtitle of `new_figure` take."""
    heading, below = _wrapped(title, subtitle, width_inches)
    return 0.16 + 0.2 * len(heading) + 0.17 * len(below)


def one_axes(
    title: str,
    subtitle: str = "",
    *,
    width_inches: float = WIDTH_INCHES,
    height_inches: float = HEIGHT_INCHES,
) -> tuple[Figure, Axes]:
    """A figure with one pair of axes."""
    figure = new_figure(title, subtitle, width_inches=width_inches, height_inches=height_inches)
    return figure, figure.add_subplot()


def note(
    axes: Axes,
    text: str,
    xy: tuple[Any, Any],
    *,
    offset: tuple[float, float] = (0.0, 0.0),
    within: Coordinates | tuple[Coordinates, Coordinates] = "data",
    **how: Any,
) -> None:
    """Small muted text at `xy`, moved by `offset` points; `how` is anything a matplotlib text takes."""
    looks: dict[str, Any] = {"color": MUTED, "fontsize": 8.5, "va": "center_baseline"} | how
    axes.annotate(text, xy, xycoords=within, xytext=offset, textcoords="offset points", annotation_clip=False, **looks)


def shortened(name: str, *, letters: int = 40) -> str:
    """`name`, or its beginning and end around an ellipsis when it is longer than `letters`."""
    if len(name) <= letters:
        return name
    end = (letters - 1) // 2
    return f"{name[: letters - 1 - end]}…{name[-end:]}"


def _wrapped(title: str, subtitle: str, width_inches: float) -> tuple[list[str], list[str]]:
    letters = max(int(width_inches * 13.5), 10)
    return textwrap.wrap(title, int(letters * 0.8)), textwrap.wrap(subtitle, letters)
