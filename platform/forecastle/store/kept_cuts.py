"""Answers of a backtest's cuts, kept so that a run that was stopped, or the next one, goes on from there.

Belongs here: one table a model and cut window, with the digest of what made it.
Does not belong here: what a cut is and what makes it the same (`learn/backtest.py`).
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final, Protocol

import pandas as pd

from forecastle.store.delta_log import TableName
from forecastle.store.warehouse import Warehouse

KIND: Final = "backtest_cut"


class Window(Protocol):
    """The time that a cut answers for."""

    @property
    def at(self) -> datetime:
        """The decision time."""

    @property
    def until(self) -> datetime:
        """The end of what it answers, not within it."""


class WarehouseCuts:
    """Keeps cuts of one system in the warehouse."""

    def __init__(self, warehouse: Warehouse, system: str) -> None:
        self._warehouse = warehouse
        self._system = system

    def read(self, cut: Window, *, model: str, inputs: str) -> pd.DataFrame | None:
        """The rows kept for this cut when they were made of the same inputs, else None."""
        version = self._warehouse.version(self._table(cut, model))
        if version is None or version.facts.get("inputs") != inputs or not version.path.exists():
            return None
        return self._warehouse.frame(version)

    def keep(self, cut: Window, rows: pd.DataFrame, *, model: str, inputs: str) -> None:
        """Publish the rows of a cut with the digest of what they were made of."""
        self._warehouse.publish(self._table(cut, model), rows, facts={"inputs": inputs, "model": model})

    def _table(self, cut: Window, model: str) -> TableName:
        # A model's name alone may be as long as a table's name may be.
        short = hashlib.sha256(model.encode()).hexdigest()[:8]
        times = "_".join(f"{at.astimezone(UTC):%Y%m%d%H%M%S}" for at in (cut.at, cut.until))
        return TableName(self._system, KIND, f"cut_{times}_{short}")
