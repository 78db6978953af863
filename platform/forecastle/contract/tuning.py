"""How a model's parameters are found: early stopping and a search, as a declaration says them.

Belongs here: the fields of both, and what contradicts itself within one of them.
Does not belong here: the model they belong to (`system.py`), which parameters there are (`estimators.py`), running them
(`learn/`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from forecastle.contract.column import Declared
from forecastle.contract.faults import Fault
from forecastle.contract.types import PositiveDuration

Plain = bool | int | float | str | None
Param = Plain | list[Plain]
"""What a parameter may be: a plain value, or a list of them."""


class EarlyStopping(Declared):
    """Rounds are added until the newest training rows stop gaining; the model then learns all rows with that many."""

    rounds: int = Field(ge=1, description="Stop after this many rounds without a lower log loss.")
    fraction: float = Field(
        0.2, gt=0, lt=1, description="Share of the newest training rows that are watched, after the embargo."
    )


class Range(Declared):
    """Numbers from `low` to `high`; whole ones where both ends are whole."""

    low: int | float
    high: int | float
    log: bool = Field(False, description="Search orders of magnitude evenly.")
    step: int | float | None = Field(None, gt=0, description="Only low, low + step, …")

    @property
    def whole(self) -> bool:
        """Are the numbers whole?"""
        return isinstance(self.low, int) and isinstance(self.high, int) and not isinstance(self.step, float)

    def faults(self) -> Iterator[Fault]:
        """What contradicts itself."""
        if not self.low < self.high:
            yield f"low {self.low:g} is not below high {self.high:g}", "write low: smaller, high: larger"
        elif self.log and self.low <= 0:
            yield f"log is true and low is {self.low:g}", "a logarithmic range begins above 0"
        elif self.log and self.step is not None:
            yield "log and step stand together", "leave one of them out"
        elif self.step is not None and self.step > self.high - self.low:
            yield f"step {self.step:g} is longer than the range", "write a shorter step"


class Search(Declared):
    """Parameters chosen by log loss on walk-forward folds that lie before the test part (Optuna's TPE, seeded)."""

    trials: int = Field(ge=1, le=10_000)
    timeout: PositiveDuration | None = Field(
        None, description="No trial begins after this long; with it, what is found depends on the machine's speed."
    )
    folds: int = Field(3, ge=1, le=20, description="Walk-forward folds of the training rows that a trial is judged on.")
    space: dict[str, Range | Annotated[list[Plain], Field(min_length=1)]] = Field(
        min_length=1, description="Parameter to {low, high, log, step} or a list of choices."
    )
