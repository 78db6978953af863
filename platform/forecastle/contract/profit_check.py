"""Checks of a declared profit: one price a side, and that it is one.

Belongs here: faults that only `decide.profit:` can have.
Does not belong here: the fields (`profit.py`), the rule's own checks (`decision_check.py`), places and lines
(`check.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from forecastle.contract.column import Column, Feature
from forecastle.contract.errors import did_you_mean
from forecastle.contract.profit import PRICES, Profit
from forecastle.contract.source_check import PlacedFault


def profit_faults(
    declared: Profit, features: Mapping[str, Feature], *, label: Mapping[str, Column]
) -> Iterator[PlacedFault]:
    """Sides without one price, prices that are no feature, a closing line that is none, slippage without a price."""
    for action, side in declared.sides.items():
        named = {kind: name for kind in PRICES if (name := getattr(side, kind)) is not None}
        if len(named) != 1:
            got = " and ".join(named) or "no price"
            yield ("sides", action), f"side {action!r} has {got}", f"give it one of {', '.join(PRICES)}"
        for kind, name in named.items():
            if name not in features:
                yield ("sides", action, kind), f"{name!r} is no feature", did_you_mean(name, features)
            elif kind == "price" and features[name].unit != "probability":
                text = f"price {name!r} has unit {features[name].unit}"
                yield ("sides", action, kind), text, "a price lies between 0 and 1: unit probability"
    if declared.slippage and all(side.price is None for side in declared.sides.values()):
        yield ("slippage",), "slippage is added to a share's price, and no side has one", "use fee_ratio for odds"
    if declared.closing is not None and declared.closing not in label:
        yield ("closing",), f"{declared.closing!r} is no column of the label", did_you_mean(declared.closing, label)
    elif declared.closing is not None and label[declared.closing].unit != "probability":
        text = f"closing {declared.closing!r} has unit {label[declared.closing].unit}"
        yield ("closing",), text, "a closing line lies between 0 and 1: unit probability"
