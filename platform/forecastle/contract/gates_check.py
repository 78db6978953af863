"""Checks of declared gates: groups that must exist, each judged once by a measure; phases that each ask for more.

Belongs here: faults that only gates and the phases of a canary can have.
Does not belong here: the fields (`gates.py`), places and lines (`check.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise

from forecastle.contract.errors import did_you_mean
from forecastle.contract.gates import Gates
from forecastle.contract.source_check import PlacedFault
from forecastle.contract.system import Canary


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


def phase_faults(canary: Canary) -> Iterator[PlacedFault]:
    """Later phases that could end on the answers of the ones before them: rows count from the start of the trial."""
    for number, (before, phase) in enumerate(pairwise(canary.phases), start=1):
        if phase.rows_min <= before.rows_min:
            spot = ("rollout", "canary", "phases", number, "rows_min")
            text = f"phase {number + 1} needs {phase.rows_min} rows and the one before it {before.rows_min}"
            yield spot, text, "rows count from the start of the trial: ask for more in each phase"
