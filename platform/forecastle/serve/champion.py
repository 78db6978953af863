"""The bundle that answers: loaded only after every check, swapped whole, kept when its successor fails.

Belongs here: following the champion pointer, the checks before a swap, what health and metrics say about it.
Does not belong here: promotion (`promote/registry.py`), bundle files (`learn/bundle.py`), requests.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import forecastle
from forecastle.contract.decision import PREDICT_AT
from forecastle.contract.errors import BundleError, ForecastleError
from forecastle.learn.bundle import Bundle, load_bundle
from forecastle.learn.ensemble import Ensemble, EnsembleMember
from forecastle.learn.scorer import Scorer, check_golden, load_scorer
from forecastle.serve.columns import ColumnPlan
from forecastle.serve.plan import Plan
from forecastle.serve.pointer import Signature, pointed, signature
from forecastle.serve.refusal import Refusal
from forecastle.serve.resolve import Resolver
from forecastle.store.home import Home

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
TRIAL_SECONDS: Final = 60.0
POLLS_UNTIL_RETRY: Final = 60


@dataclass(frozen=True, slots=True)
class Champion:
    """A verified bundle ready to answer, and the promotion that chose it (None: packed in a Bento)."""

    bundle: Bundle
    scorer: Scorer
    resolver: Resolver
    plan: Plan
    columns: ColumnPlan
    promotion: dict[str, Any] | None
    variant: str = CHAMPION

    model: str = field(init=False)
    """Name of the model."""
    model_version: str = field(init=False)
    """Version of the model, as the promotion or the bundle tells it."""

    def __post_init__(self) -> None:
        """Work out once what every answer repeats."""
        facts = self.bundle.facts
        told = (self.promotion or {}).get("model_version") or facts.get("model_version")
        object.__setattr__(self, "model", str(facts.get("model", self.bundle.system)))
        object.__setattr__(self, "model_version", str(told) if told is not None else "unversioned")

    def answering(self, vector: Sequence[float]) -> str:
        """Name of the model as a receipt tells it: of an ensemble, the members that answer this row too."""
        if isinstance(self.scorer, Ensemble):
            return f"{self.model}: {self.scorer.answered_by(vector)}"
        return self.model

    def unanswered(self, vector: Sequence[float]) -> Refusal:
        """What a caller is told whose row is of a segment without a model."""
        names = dict.fromkeys(name for member in self.members for name in member.segment or {})
        feature_set = self.bundle.feature_set
        values = {name: feature_set.shown(name, vector[feature_set.model_features.index(name)]) for name in names}
        told = ", ".join(f"{n} = {v}" if isinstance(v, str) else f"{n} = {v:g}" for n, v in values.items())
        return Refusal("no_model", f"{self.model} has no model for rows with {told or 'these values'}")

    @property
    def members(self) -> tuple[EnsembleMember, ...]:
        """The members of an ensemble; none where one model answers."""
        return self.scorer.members if isinstance(self.scorer, Ensemble) else ()


def load_champion(
    folder: Path, *, system: str, expected_hash: str | None, promotion: dict[str, Any] | None = None
) -> Champion:
    """Load a bundle and prove it: hashes, system, width, golden rows bit for bit.

    Raises:
        BundleError: naming the first check that fails.
    """
    bundle = load_bundle(folder, expected_hash=expected_hash)
    if bundle.system != system:
        raise BundleError(f"bundle {bundle.hash[:12]} is of system {bundle.system!r}; this service is {system!r}")
    if bundle.decision is not None:
        _ = bundle.decision.compiled  # code that does not load is found before the bundle answers
        lacking = set(bundle.decision.inputs) - {PREDICT_AT, *bundle.feature_set.by_name}
        if lacking:
            raise BundleError(f"{bundle.decision.function} needs {sorted(lacking)}, which the feature set has not")
    scorer = load_scorer(bundle)
    rows = [[math.nan if value is None else value for value in row] for row in bundle.golden.rows]
    check_golden(scorer, rows, bundle.golden.raw)
    for index, (raw, recorded) in enumerate(zip(bundle.golden.raw, bundle.golden.probability, strict=True)):
        if (answered := bundle.calibrator.apply_scalar(raw)) != recorded:
            raise BundleError(f"golden row {index} calibrates to {answered!r}, recorded {recorded!r}")
    resolver = Resolver(bundle.feature_set)
    plan = Plan(resolver)
    return Champion(bundle, scorer, resolver, plan, ColumnPlan(resolver, plan), promotion)


def try_in_child(folder: Path, *, system: str, expected_hash: str | None) -> None:
    """Load the bundle in a process of its own first, since a damaged model can kill the one that reads it.

    Raises:
        BundleError: the child refused the bundle, died or did not finish in `TRIAL_SECONDS`.
    """
    root = str(Path(forecastle.__file__).parent.parent)
    command = [sys.executable, "-m", "forecastle.serve.trial", str(folder), system, expected_hash or ""]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    try:
        done = subprocess.run(  # noqa: S603  our own module, no shell
            command, env=environment, capture_output=True, timeout=TRIAL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"a trial process was not done with the bundle in {TRIAL_SECONDS:g} s") from error
    if done.returncode < 0:
        raise BundleError(f"the bundle killed a trial process with signal {-done.returncode}")
    if done.returncode:
        # LightGBM prints bytes of a damaged model as they are.
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise BundleError(f"a trial process refused the bundle: {lines[-1]}")


class ChampionWatch:
    """Follows one system's champion pointer; `current` changes whole or not at all."""

    def __init__(
        self,
        system: str,
        *,
        home: Home,
        packed: Path | None,
        trial: Callable[..., None] = try_in_child,
    ) -> None:
        """Nothing is loaded before `check`."""
        self._system, self._home, self._packed, self._trial = system, home, packed, trial
        self._on_swap: Callable[[str], None] = lambda _: None
        self._seen: Signature | None = None
        self._polls_left = 0
        self.current: Champion | None = None
        self.error: str | None = None

    def listen(self, on_swap: Callable[[str], None]) -> None:
        """From now on `on_swap` hears `swapped` or `refused`."""
        self._on_swap = on_swap

    def check(self) -> bool:
        """Load what the pointer names if it has changed; True when there is a new champion.

        A bundle that fails leaves `current` as it is and its reason in `error`; it is tried again after
        `POLLS_UNTIL_RETRY` checks, or when the pointer changes.
        """
        seen = signature(self._home.champion(self._system))
        self._polls_left -= 1
        if seen == self._seen and (self.error is None or self._polls_left > 0):
            return False
        self._seen, self._polls_left = seen, POLLS_UNTIL_RETRY
        try:
            champion = self._load()
        except (ForecastleError, OSError, ValueError, KeyError, TypeError) as error:
            self.error = str(error)
            self._on_swap("refused")
            return False
        self.error = None
        if self.current is not None and self.current.bundle.hash == champion.bundle.hash:
            self.current = champion
            return False
        self.current = champion
        self._on_swap("swapped")
        return True

    def _load(self) -> Champion:
        pointer = self._home.champion(self._system)
        promotion: dict[str, Any] | None = None
        expected: str | None = None
        if pointer.exists():
            promotion = pointed(pointer)
            expected = promotion["bundle"]
            folder = self._home.bundles(self._system) / expected
        elif self._packed is not None:
            folder = self._packed
        else:
            raise BundleError(f"system {self._system!r} has no champion: promote a bundle; {pointer} is not there")
        self._trial(folder, system=self._system, expected_hash=expected)
        return load_champion(folder, system=self._system, expected_hash=expected, promotion=promotion)
