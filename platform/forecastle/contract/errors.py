"""Every error a user of Forecastle can meet, in one tree.

Belongs here: exception classes, and nothing that decides when to raise them.
Does not belong here: messages of one room, HTTP status codes (`serve/`), exit codes (`cli/`).

    ForecastleError                 anything we refuse: what was got, what is allowed, what to do next
    ├── ContractError               a declaration is wrong (system.yaml, SQL, code); lists every problem
    ├── SourceError                 a source's rows or files are not what its contract says
    │   ├── ArrivalError            its newest rows are of another size (`store/arrivals.py`); they reach nobody
    │   └── QuarantineError         too many of its rows break the contract (`store/quarantine.py`)
    ├── StoreError                  a table, version or key that is not there or cannot be trusted
    │   ├── CorruptionError         bytes differ from the checksum recorded when they were written
    │   ├── ConflictError           somebody else wrote first; nothing of this write is visible
    │   └── CapacityError           no room: the disk is full, or too much waits to be written
    ├── FeatureError                a feature value breaks its contract (named with value and rule)
    ├── DecisionError               a decision rule fails or gives what is no decision
    ├── LearnError                  a training set, estimator or split that cannot give a model
    ├── BundleError                 a bundle whose hash, contract or code does not fit
    └── MeasureError                statistics asked of input that has no answer
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class ForecastleError(Exception):
    """Base of every refusal; the text is written for the person who can mend it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in a declaration: where it stands, what is wrong, what to do next."""

    file: str
    line: int
    text: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.text}" + (f" ({self.hint})" if self.hint else "")


class ContractError(ForecastleError):
    """A declaration is wrong; `problems` holds every fault found, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"{count} problem{'s' if count != 1 else ''} in the declaration:"
        super().__init__("\n".join([head, *(f"  {p}" for p in self.problems)]))


class SourceError(ForecastleError):
    """A source's file or rows are not what its contract says; the last good table stays."""


class StoreError(ForecastleError):
    """A table, version or key is missing or cannot be trusted."""


class CorruptionError(StoreError):
    """Bytes on disk differ from the checksum recorded when they were written."""


class ConflictError(StoreError):
    """Another writer was first; nothing of the refused write is visible."""


class CapacityError(StoreError):
    """There is no room for what should be written; the text names no path and may be told to callers."""


class FeatureError(ForecastleError):
    """A feature value breaks its contract."""


class DecisionError(ForecastleError):
    """A system's decision rule fails, or gives what is no decision."""


class LearnError(ForecastleError):
    """A training set, split or estimator that cannot give a model."""


class BundleError(ForecastleError):
    """A bundle whose hash, contract or code does not fit; it never serves."""


class MeasureError(ForecastleError, ValueError):
    """Statistics were asked of input that has no answer."""


def did_you_mean(got: str, allowed: Iterable[str]) -> str:
    """A hint naming the closest allowed word, else the allowed words themselves (at most twelve)."""
    words = sorted(allowed)
    close = difflib.get_close_matches(got, words, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    shown = ", ".join(words[:12]) + (", …" if len(words) > 12 else "")
    return f"allowed: {shown}" if words else ""
