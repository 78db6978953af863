"""Rollout: what a challenger under trial may do next, from recorded gates and an anytime-valid comparison.

Belongs here: the decision as a pure function, and the record of every act with the pointer file that serving watches.
Does not belong here: routing requests (`serve/challenger.py`), computing the evidence, promotion (`promote.py`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from forecastle.contract.clock import Clock
from forecastle.contract.errors import LearnError
from forecastle.contract.system import Rollout
from forecastle.promote.gates import GateResult
from forecastle.promote.pointer_file import replace_pointer

Action = Literal["advance", "hold", "stop", "promote"]

_SCHEMA: Final = """
create table if not exists rollout_acts (
  act_id integer primary key autoincrement,
  system text not null, action text not null, bundle text not null, model_version text not null,
  phase integer not null, share real not null, at text not null, approved_by text not null, reasons text not null
);
create trigger if not exists acts_stay before update on rollout_acts begin select raise(abort, 'immutable'); end;
create trigger if not exists acts_kept before delete on rollout_acts begin select raise(abort, 'immutable'); end;
"""
_COLUMNS: Final = "act_id, system, action, bundle, model_version, phase, share, at, approved_by, reasons"


@dataclass(frozen=True, slots=True)
class RolloutAct:
    """One recorded act: a challenger was started, advanced or cleared (`stop`, `promote`); share of entities it has."""

    act_id: int
    system: str
    action: str
    bundle: str
    model_version: str
    phase: int
    share: float
    at: datetime
    approved_by: str
    reasons: tuple[str, ...]

    @property
    def is_running(self) -> bool:
        """Whether the challenger answers after this act."""
        return self.action in ("start", "advance")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a challenger: answers with outcomes, gates by kind, and the Brier difference's bounds.

    `low` and `high` hold at all times together (a confidence sequence), of challenger minus champion: looking every
    minute does not make a false alarm likelier. `waiting` answers are not judged: their outcomes are not final.
    Where both have a number for the same requests they are compared on those (`is_paired`), else each on its own.
    """

    rows: int
    predictive: tuple[GateResult, ...]
    fairness: tuple[GateResult, ...]
    low: float
    high: float
    waiting: int = 0
    is_paired: bool = True


@dataclass(frozen=True, slots=True)
class RolloutStep:
    """What happens next, and why."""

    action: Action
    reasons: tuple[str, ...]


def advance(state: RolloutAct, evidence: Evidence, declaration: Rollout) -> RolloutStep:
    """The next step of a running challenger.

    It stops as soon as a gate of its phase or of an earlier one fails or it is certainly worse; it moves on when
    its phase has rows enough, every gate passes and it is certainly not worse by more than the margin.

    Raises:
        LearnError: no challenger is running, or its phase is not declared.
    """
    phases = declaration.canary.phases
    if not state.is_running or not 0 <= state.phase < len(phases):
        raise LearnError(f"{state.system}: no challenger runs in one of {len(phases)} declared phases; start one")
    phase, margin = phases[state.phase], declaration.canary.margin
    kinds = {kind for earlier in phases[: state.phase + 1] for kind in earlier.gates}
    gates = [g for kind in sorted(kinds) for g in (evidence.predictive if kind == "predictive" else evidence.fairness)]
    numbers = f"Brier minus the champion's lies in [{evidence.low:+.5f}, {evidence.high:+.5f}] at all times"
    numbers += "" if evidence.is_paired else " (each on its own entities: neither logs what the other reads)"
    if evidence.rows < phase.rows_min:
        certainly_worse = evidence.low > margin
        reason = f"{evidence.rows} answers have outcomes; phase {state.phase + 1} needs {phase.rows_min}"
        reason += f" ({evidence.waiting} wait)" if evidence.waiting else ""
        return RolloutStep("stop" if certainly_worse else "hold", (numbers, reason) if certainly_worse else (reason,))
    failed = tuple(gate.reason for gate in gates if not gate.passed)
    if failed:
        return RolloutStep("stop", failed)
    if evidence.low > margin:
        return RolloutStep("stop", (f"{numbers}: worse by more than {margin:g}",))
    if not gates or evidence.high > margin:
        lacking = (
            numbers + f": not yet known to be worse by at most {margin:g}" if gates else "no gate has a result yet"
        )
        return RolloutStep("hold", (lacking,))
    is_last = state.phase == len(phases) - 1
    return RolloutStep("promote" if is_last else "advance", (numbers, *(gate.reason for gate in gates)))


class RolloutRecord:
    """Acts of all systems, in the registry's SQLite file; rows are never changed or deleted."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path, self._clock = path, clock

    def start(
        self, system: str, *, bundle: str, model_version: str, share: float, approved_by: str, reason: str
    ) -> RolloutAct:
        """Put a challenger under trial.

        Raises:
            LearnError: another one is running.
        """
        running = self.running(system)
        if running is not None:
            raise LearnError(f"{system}: bundle {running.bundle[:12]} is under trial already; stop it first")
        first = RolloutAct(0, system, "start", bundle, model_version, 0, share, self._clock(), approved_by, (reason,))
        return self._add(first)

    def apply(self, state: RolloutAct, step: RolloutStep, *, declaration: Rollout, approved_by: str) -> RolloutAct:
        """Record a step; `hold` records nothing and gives the state back."""
        if step.action == "hold":
            return state
        phase = state.phase + (step.action == "advance")
        share = declaration.canary.phases[phase].share if step.action == "advance" else 0.0
        made = replace(
            state, action=step.action, phase=phase, share=share, at=self._clock(), approved_by=approved_by,
            reasons=step.reasons,
        )  # fmt: skip
        return self._add(made)

    def running(self, system: str) -> RolloutAct | None:
        """The newest act, if its challenger answers."""
        newest = next(iter(self.history(system)), None)
        return newest if newest is not None and newest.is_running else None

    def started_at(self, system: str) -> datetime:
        """When the newest trial began.

        Raises:
            LearnError: there never was one.
        """
        first = next((act for act in self.history(system) if act.action == "start"), None)
        if first is None:
            raise LearnError(f"{system}: no trial was ever started; begin one with `forecastle challenge`")
        return first.at

    def history(self, system: str) -> list[RolloutAct]:
        """Acts of a system, newest first."""
        with self._connect() as connection:
            rows = connection.execute(
                f"select {_COLUMNS} from rollout_acts where system = ? order by act_id desc", (system,)
            ).fetchall()
        return [_act(row) for row in rows]

    def _add(self, act: RolloutAct) -> RolloutAct:
        row = (
            act.system, act.action, act.bundle, act.model_version, act.phase, act.share, act.at.isoformat(),
            act.approved_by, json.dumps(act.reasons),
        )  # fmt: skip
        names = _COLUMNS.removeprefix("act_id, ")
        with self._connect() as connection:
            made = connection.execute(
                f"insert into rollout_acts ({names}) values (?,?,?,?,?,?,?,?,?) returning {_COLUMNS}", row
            ).fetchone()
        return _act(made)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._path, timeout=10)) as connection:
            connection.execute("pragma synchronous=full")
            connection.executescript(_SCHEMA)
            with connection:
                yield connection


def publish_challenger(path: Path, record: RolloutRecord, *, system: str, declaration: Rollout) -> RolloutAct | None:
    """Let the challenger's pointer file say what the record says now: one small JSON file, replaced whole, or none."""
    running = record.running(system)
    if running is None:
        path.unlink(missing_ok=True)
        return None
    content = {
        "system": system, "bundle": running.bundle, "model_version": running.model_version,
        "share": running.share, "salt": declaration.salt, "shadow": declaration.shadow,
        "phase": running.phase, "act_id": running.act_id,
    }  # fmt: skip
    replace_pointer(path, content)
    return running


def _act(row: Sequence[Any]) -> RolloutAct:
    number, system, action, bundle, version, phase, share, at, approved_by, reasons = row
    return RolloutAct(
        number, system, action, bundle, version, phase, share, datetime.fromisoformat(at), approved_by,
        tuple(json.loads(reasons)),
    )  # fmt: skip
