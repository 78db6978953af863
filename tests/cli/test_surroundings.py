"""What the command line finds out by itself: which system gave an answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from forecastle.cli.new import write_system
from forecastle.cli.surroundings import Surroundings, surroundings
from forecastle.contract.errors import ForecastleError

GIVEN = {"first": set(), "second": {"a1"}}


@dataclass
class FakeLog:
    """A log that holds some ids, or was never written."""

    ids: set[str] | None

    def exists(self) -> bool:
        return self.ids is not None

    def get(self, prediction_id: str) -> str | None:
        assert self.ids is not None
        return prediction_id if prediction_id in self.ids else None

    def close(self) -> None:
        """Nothing is open."""


class Around(Surroundings):
    """Surroundings whose logs are fakes."""

    def prediction_log(self, system: str) -> Any:
        return FakeLog(GIVEN.get(system))


def test_an_answer_is_looked_up_in_every_systems_log(tmp_path: Path) -> None:
    """A log that was never written is passed over; an id that nobody gave is told with where it was looked for."""
    for name in ("first", "second", "silent"):
        write_system(name, tmp_path / "systems")
    found = surroundings({"FORECASTLE_HOME": str(tmp_path / "home")})
    around = Around(**{**vars(replace(found)), "systems": (tmp_path / "systems",)})
    assert around.answered_by("a1") == "second"
    with pytest.raises(
        ForecastleError, match="no system has given the answer 'b2'; looked in the logs of first, second"
    ):
        around.answered_by("b2")
