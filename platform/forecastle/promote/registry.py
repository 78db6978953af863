"""The registry of promotions: which bundle answers, since when, why, and who or what said so.

Belongs here: decisions and promotions kept for ever in SQLite, and the pointer file that serving watches.
Does not belong here: the conditions (`gates.py`), MLflow's catalogue (`tracking.py`). Standard library only.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from forecastle.contract.clock import Clock
from forecastle.contract.errors import ConflictError
from forecastle.promote.pointer_file import replace_pointer

# One transaction, and a number that says it was done: no process ever sees tables without their triggers.
_SCHEMA_NUMBER = 2
_SCHEMA = f"""
begin immediate;
create table if not exists decisions (
  decision_id integer primary key autoincrement,
  system text not null, model text not null, bundle text not null, model_version text not null,
  decided_at text not null, promote integer not null, reasons text not null, evidence text not null
);
create table if not exists promotions (
  promotion_id integer primary key autoincrement,
  system text not null, bundle text not null, model_version text not null, promoted_at text not null,
  approved_by text not null, previous_id integer references promotions(promotion_id),
  decision_id integer references decisions(decision_id)
);
create table if not exists approvals_awaited (
  decision_id integer primary key references decisions(decision_id),
  expected_id integer references promotions(promotion_id), expires_at text not null
);
create table if not exists promotion_reasons (
  promotion_id integer primary key references promotions(promotion_id), reason text not null
);
create unique index if not exists one_successor on promotions (system, ifnull(previous_id, 0));
create trigger if not exists decisions_stay before update on decisions begin select raise(abort, 'immutable'); end;
create trigger if not exists promotions_stay before update on promotions begin select raise(abort, 'immutable'); end;
create trigger if not exists decisions_kept before delete on decisions begin select raise(abort, 'immutable'); end;
create trigger if not exists promotions_kept before delete on promotions begin select raise(abort, 'immutable'); end;
-- `insert or replace` deletes without asking delete triggers.
create trigger if not exists decisions_new before insert on decisions
  when new.decision_id in (select decision_id from decisions) begin select raise(abort, 'immutable'); end;
create trigger if not exists promotions_new before insert on promotions
  when new.promotion_id in (select promotion_id from promotions) begin select raise(abort, 'immutable'); end;
create trigger if not exists awaited_stay before update on approvals_awaited
  begin select raise(abort, 'immutable'); end;
create trigger if not exists reasons_stay before update on promotion_reasons
  begin select raise(abort, 'immutable'); end;
create trigger if not exists awaited_kept before delete on approvals_awaited
  begin select raise(abort, 'immutable'); end;
create trigger if not exists reasons_kept before delete on promotion_reasons
  begin select raise(abort, 'immutable'); end;
create trigger if not exists awaited_new before insert on approvals_awaited
  when new.decision_id in (select decision_id from approvals_awaited) begin select raise(abort, 'immutable'); end;
create trigger if not exists reasons_new before insert on promotion_reasons
  when new.promotion_id in (select promotion_id from promotion_reasons) begin select raise(abort, 'immutable'); end;
pragma user_version = {_SCHEMA_NUMBER};
commit;
"""

_PROMOTION = "promotion_id, system, bundle, model_version, promoted_at, approved_by, previous_id, decision_id"
_DECISION = (
    "decision_id, system, model, bundle, model_version, decided_at, promote, reasons, evidence, expected_id, expires_at"
)


@dataclass(frozen=True, slots=True)
class Promotion:
    """One recorded act that made a bundle champion; `reason` is what a person who approved it said."""

    promotion_id: int
    system: str
    bundle: str
    model_version: str
    promoted_at: datetime
    approved_by: str
    previous_id: int | None
    decision_id: int | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """One recorded decision with its evidence, promoted or refused.

    A decision that waits for a person's approval says until when (`expires_at`) and against which champion it was
    made (`expected_id`, None where there was none).
    """

    decision_id: int
    system: str
    model: str
    bundle: str
    model_version: str
    decided_at: datetime
    promote: bool
    reasons: tuple[str, ...]
    evidence: Mapping[str, Any]
    expected_id: int | None = None
    expires_at: datetime | None = None


class Registry:
    """Promotions of all systems in one SQLite file; rows are never changed or deleted.

    Args:
        path: the SQLite file, made on first use.
        clock: tells when a decision or promotion happened.
    """

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def record_decision(
        self,
        system: str,
        *,
        model: str,
        bundle: str,
        model_version: str,
        promote: bool,
        reasons: Sequence[str],
        evidence: Mapping[str, Any],
        expected: Promotion | None = None,
        expires_at: datetime | None = None,
    ) -> int:
        """Keep a decision for ever and return its id; with `expires_at` it waits for approval against `expected`."""
        row = (
            system, model, bundle, model_version, self._clock().isoformat(), int(promote),
            json.dumps(list(reasons)), json.dumps(evidence, allow_nan=False),
        )  # fmt: skip
        with self._connect() as connection:
            cursor = connection.execute(
                "insert into decisions (system, model, bundle, model_version, decided_at, promote, reasons, evidence)"
                " values (?,?,?,?,?,?,?,?)",
                row,
            )
            decision_id = int(cursor.lastrowid or 0)
            if expires_at is not None:
                connection.execute(
                    "insert into approvals_awaited (decision_id, expected_id, expires_at) values (?,?,?)",
                    (decision_id, expected.promotion_id if expected else None, expires_at.isoformat()),
                )
        return decision_id

    def promote(
        self,
        system: str,
        *,
        bundle: str,
        model_version: str,
        approved_by: str,
        expected: Promotion | None,
        decision_id: int | None = None,
        reason: str = "",
    ) -> Promotion:
        """Make a bundle champion, if the champion is still the one that was looked at.

        `reason` is what the person who approved it said.

        Raises:
            ConflictError: another promotion came first; nothing changed.
        """
        previous = expected.promotion_id if expected else None
        row = (system, bundle, model_version, self._clock().isoformat(), approved_by, previous, decision_id)
        with self._connect() as connection:
            # One statement looks and writes: SQLite lets no other writer in between.
            cursor = connection.execute(
                "insert into promotions (system, bundle, model_version, promoted_at, approved_by, previous_id,"
                " decision_id) select ?,?,?,?,?,?,?"
                " where (select max(promotion_id) from promotions where system = ?) is ?"
                f" returning {_PROMOTION}",
                (*row, system, previous),
            )
            made = cursor.fetchone()
            if made is not None and reason:
                connection.execute(
                    "insert into promotion_reasons (promotion_id, reason) values (?,?)", (made[0], reason)
                )
        if made is None:
            raise ConflictError(f"{system}: another promotion came first; look at the new champion and decide again")
        return _promotion((*made, reason))

    def champion(self, system: str) -> Promotion | None:
        """The newest promotion of a system."""
        return next(iter(self.history(system)), None)

    def history(self, system: str, *, at: datetime | None = None) -> list[Promotion]:
        """Promotions of a system, newest first; with `at`, only those made by then."""
        with self._connect() as connection:
            rows = connection.execute(
                f"select {_PROMOTION}, ifnull(reason, '') from promotions"
                " left join promotion_reasons using (promotion_id) where system = ? order by promotion_id desc",
                (system,),
            ).fetchall()
        found = [_promotion(row) for row in rows]
        return [p for p in found if at is None or p.promoted_at <= at]

    def decisions(self, system: str) -> list[RecordedDecision]:
        """Decisions of a system, newest first."""
        with self._connect() as connection:
            rows = connection.execute(
                f"select {_DECISION} from decisions left join approvals_awaited using (decision_id)"
                " where system = ? order by decision_id desc",
                (system,),
            ).fetchall()
        return [_decision(row) for row in rows]

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=10)
        try:
            # The rollback journal, not WAL: changing a new file to WAL does not wait for others who are opening it.
            connection.execute("pragma synchronous=full")
            connection.execute("pragma foreign_keys=on")
            if connection.execute("pragma user_version").fetchone() != (_SCHEMA_NUMBER,):
                connection.executescript(_SCHEMA)
            with connection:
                yield connection
        finally:
            connection.close()


def publish_pointer(path: Path, registry: Registry, *, system: str) -> Promotion | None:
    """Let the pointer file name the champion that the registry names now; returns it.

    Of several processes the last one reads the newest promotion, so the pointer never goes back to an older one.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        champion = registry.champion(system)
        if champion is not None and _pointed(path) != champion.promotion_id:
            write_pointer(path, champion)
        return champion


def write_pointer(path: Path, promotion: Promotion) -> None:
    """Tell serving who the champion is: one small JSON file, replaced whole."""
    content = {
        "system": promotion.system,
        "bundle": promotion.bundle,
        "model_version": promotion.model_version,
        "promoted_at": promotion.promoted_at.isoformat(),
        "promotion_id": promotion.promotion_id,
    }
    replace_pointer(path, content)


def _pointed(path: Path) -> int | None:
    """Id of the promotion that a pointer file names; None where there is no such file or it cannot be read."""
    try:
        found: int = json.loads(path.read_text())["promotion_id"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def _promotion(row: Sequence[Any]) -> Promotion:
    number, system, bundle, version, at, approved_by, previous, decision, reason = row
    made_at = datetime.fromisoformat(at)
    return Promotion(number, system, bundle, version, made_at, approved_by, previous, decision, reason)


def _decision(row: Sequence[Any]) -> RecordedDecision:
    number, system, model, bundle, version, at, promote, reasons, evidence, expected, expires = row
    return RecordedDecision(
        decision_id=number,
        system=system,
        model=model,
        bundle=bundle,
        model_version=version,
        decided_at=datetime.fromisoformat(at),
        promote=bool(promote),
        reasons=tuple(json.loads(reasons)),
        evidence=json.loads(evidence),
        expected_id=expected,
        expires_at=None if expires is None else datetime.fromisoformat(expires),
    )
