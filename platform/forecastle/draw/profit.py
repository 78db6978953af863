"""The picture of money over time: the bankroll bet by bet, above the loss since its highest point.

Belongs here: how the bets of `learn/settled_bets.py` look.
Does not belong here: settling them, other numbers over time (`history`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from forecastle.draw.style import BLUE, MUTED, VERMILLION, look, new_figure, note

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@look()
def profit_diagram(bets: pd.DataFrame, *, bankroll_usd: float, title: str, subtitle: str = "") -> Figure:
    """Bankroll after each settled bet, and the drawdown as a share of the highest bankroll so far.

    `bets` has `settled_at` (UTC, in order), `bankroll_usd` and `drawdown_ratio`; `bankroll_usd` is the money at the
    start.
    """
    figure = new_figure(title, subtitle, height_inches=4.8)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    at = pd.DatetimeIndex(bets["settled_at"]).tz_convert("UTC").tz_localize(None).to_numpy()
    upper.axhline(bankroll_usd, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
    note(upper, "start", (1.0, bankroll_usd), offset=(7, 0), within=("axes fraction", "data"))
    upper.step(at, bets["bankroll_usd"].to_numpy(float), where="post", color=BLUE)
    upper.set_ylabel("bankroll, USD")
    loss = -100.0 * bets["drawdown_ratio"].to_numpy(float)
    lower.fill_between(at, loss, np.zeros_like(loss), step="post", color=VERMILLION, alpha=0.5)
    lower.set_ylabel("drawdown, %")
    locator = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    lower.xaxis.set_major_locator(locator)
    lower.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    return figure
