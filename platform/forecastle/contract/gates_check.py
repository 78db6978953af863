"""Checks of declared gates: groups that must exist, each judged once by a measure.

Belongs here: faults that only gates can have.
Does not belong here: the fields (`gates.py`), places and lines (`check.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from forecastle.contract.errors import did_you_mean
from forecastle.contract.gates import Gates
from forecastle.contract.source_check import PlacedFault


def gate_faults(gates: Gates, *, columns: Collection[str]) -> Iterator[PlacedFault]:
    """Groups that no label row has, or that stand in two gates of one measure; `columns` are what label rows have."""
    seen: set[tuple[str, str]] = set()
    for number, gate in enumerate(gates.fairness):
        for place, name in enumerate(gate.groups):
            spot = ("gates", "fairness", number, "groups", place)
            if name not in columns:
                yield spot, f"names the label column {name!r}, which there is not", did_you_mean(name, columns)
            elif (name, gate.measure) in seen:
                yield spot, f"{name!r} is judged by {gate.measure} already", "leave one of them out"
            seen.add((name, gate.measure))
