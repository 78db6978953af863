"""A toy system small enough to check by hand: one entity, two views, one on-demand function, one model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import lightgbm
import numpy as np

from forecastle.contract.column import Feature
from forecastle.contract.decision import DecisionRule
from forecastle.contract.feature_set import FeatureSet, FeatureSpec, OnDemandSpec, ViewSpec
from forecastle.contract.push_view import PushView
from forecastle.learn.bundle import BundleParts, Golden, write_bundle
from forecastle.measure.calibrators import Platt
from forecastle.store.home import Home
from forecastle.store.online import OnlineView
from forecastle.store.online_sqlite import SQLiteOnlineStore

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOW_US = 1_780_315_200_000_000
DAY_SECONDS = 86_400
DAY_US = DAY_SECONDS * 1_000_000
SIGNALS = """
import numpy as np

def signals(market_price, poll_avg_7d, volume_24h):
    return {"poll_spread": poll_avg_7d - market_price, "log_volume": np.log1p(volume_24h)}
"""
CONTRACTS = {
    "market_price": Feature(dtype="float64", unit="probability", min=0, max=1),
    "volume_24h": Feature(dtype="float64", unit="usd", min=0, missing="default", default=0.0),
    "days_left": Feature(dtype="int64", unit="days", min=0, max=3650, missing="last"),
    "poll_avg_7d": Feature(dtype="float64", unit="probability", min=0, max=1, nullable=True, missing="default"),
    "rank": Feature(dtype="int64", unit="rank", allowed=[1, 2, 3], missing="default", default=3, request=False),
    "poll_spread": Feature(dtype="float64", unit="probability", nullable=True),
    "log_volume": Feature(dtype="float64", unit="log_usd", min=0),
}
VIEWS = {"prices": ("market_price", "volume_24h", "days_left"), "polls": ("poll_avg_7d", "rank")}
RULES = """
import math

def bet(*, probability, market_price, days_left, predict_at, edge_min, fraction, cap):
    if days_left is not None and days_left < 1:
        return {"action": "closed", "reasons": ["the market ends today"]}
    if market_price is None or not 0.0 < market_price < 1.0 or probability - market_price < edge_min:
        return {"action": "pass", "reasons": ["no value"], "stake_share": 0.0}
    odds = 1.0 / market_price
    stake = min(max(fraction * ((probability * odds - 1.0) / (odds - 1.0)), 0.0), cap)
    return {"action": "bet", "reasons": [], "stake_share": stake, "hour": predict_at.hour}

def credit(*, probability, poll_spread, accept_below, decline_above):
    reasons = []
    if probability > accept_below:
        reasons.append("R01 probability of default")
    if poll_spread is None:
        reasons.append("R02 no second opinion")
    action = "decline" if probability > decline_above else "refer" if reasons else "accept"
    return {"action": action, "reasons": reasons}
"""
BET = DecisionRule(
    "toy",
    "decide:bet",
    ("market_price", "days_left", "predict_at"),
    {"edge_min": 0.02, "fraction": 0.25, "cap": 0.05},
    RULES,
)
CREDIT = DecisionRule("toy", "decide:credit", ("poll_spread",), {"accept_below": 0.3, "decline_above": 0.6}, RULES)
MODEL_FEATURES = ("log_volume", "market_price", "poll_spread", "days_left", "rank")
GIVEN = {"market_price": 0.4, "volume_24h": 100.0, "days_left": 10, "poll_avg_7d": 0.5}
ROW = {"prices": (0.4, 100.0, 10), "polls": (0.5, 2)}


@dataclass(frozen=True)
class StoredRow:
    values: tuple[object, ...]
    event_at_us: int
    known_at_us: int


def feature_set(**code: str) -> FeatureSet:
    view_of = {feature: view for view, features in VIEWS.items() for feature in features}
    ttl = {"prices": 1.0 * DAY_SECONDS, "polls": 7.0 * DAY_SECONDS}
    return FeatureSet(
        system="toy",
        entity="market",
        keys={"market_id": "int64"},
        model_features=MODEL_FEATURES,
        features=tuple(
            FeatureSpec(name, contract, view := view_of.get(name), ttl[view] if view else None)
            for name, contract in CONTRACTS.items()
        ),
        views=tuple(ViewSpec(name, ("market_id",), ttl[name], names, "0" * 64) for name, names in VIEWS.items()),
        on_demand=(
            OnDemandSpec(
                "signals",
                "features:signals",
                ("market_price", "poll_avg_7d", "volume_24h"),
                ("poll_spread", "log_volume"),
            ),
        ),
        code=code or {"features": SIGNALS},
    )


def booster(*, seed: int = 1) -> lightgbm.Booster:
    generator = np.random.default_rng(seed)
    rows = matrix(generator, 600)
    outcome = generator.random(600) < rows[:, 1]
    parameters = {"objective": "binary", "verbose": -1, "num_threads": 1, "seed": seed, "deterministic": True}
    return lightgbm.train(parameters, lightgbm.Dataset(rows, outcome), num_boost_round=20)


def matrix(generator: np.random.Generator, rows: int) -> np.ndarray:
    """Rows in the order of MODEL_FEATURES, some spreads missing."""
    spread = generator.normal(0, 0.1, rows)
    spread[generator.random(rows) < 0.2] = np.nan
    columns = [
        np.log1p(generator.exponential(1e3, rows)), generator.random(rows), spread,
        generator.integers(0, 365, rows), generator.integers(1, 4, rows),
    ]  # fmt: skip
    return np.column_stack(columns).astype(np.float64)


def push_views() -> tuple[PushView, ...]:
    return tuple(
        PushView(name, {"market_id": "int64"}, {f: CONTRACTS[f] for f in names}) for name, names in VIEWS.items()
    )


def make_bundle(
    home: Home,
    *,
    seed: int = 1,
    version: str = "1",
    golden_shift: float = 0.0,
    decision: DecisionRule | None = None,
    features: FeatureSet | None = None,
) -> str:
    """Write a bundle with a model of that seed; a shift of the golden scores makes it fail its checks."""
    model = booster(seed=seed)
    rows = matrix(np.random.default_rng(9), 16)
    raw = model.predict(rows)
    calibrator = Platt(1.1, -0.05)
    parts = BundleParts(
        feature_set=features or feature_set(),
        model_bytes=model.model_to_string().encode(),
        calibrator=calibrator,
        reference={},
        golden=Golden(
            tuple(tuple(None if np.isnan(x) else float(x) for x in row) for row in rows),
            tuple(float(x) + golden_shift for x in raw),
            tuple(float(p) for p in calibrator.apply(raw)),
        ),
        card="# toy\n",
        facts={"model": "lightgbm", "model_version": version},
        decision=decision,
        views=push_views(),
    )
    return write_bundle(home.bundles("toy"), parts)


def promote(home: Home, bundle: str, *, version: str = "1") -> None:
    """Point the home's champion at a bundle, atomically."""
    pointer = home.champion("toy")
    pointer.parent.mkdir(parents=True, exist_ok=True)
    fresh = pointer.with_suffix(".new")
    fresh.write_text(
        json.dumps(
            {
                "system": "toy",
                "bundle": bundle,
                "model_version": version,
                "promoted_at": NOW.isoformat(),
                "promotion_id": version,
            }
        )
    )
    fresh.replace(pointer)


def home_with_champion(folder: Path) -> Home:
    home = Home(folder).create()
    promote(home, make_bundle(home))
    return home


def push(path: Path, *, market_id: int = 7, prices=(0.4, 100.0, 10), polls=(0.5, 2), age_us: int = 0) -> None:
    """Write one row of each view, as the push of feature views does."""
    store = SQLiteOnlineStore(path)
    for name, values in (("prices", prices), ("polls", polls)):
        dtypes = {feature: CONTRACTS[feature].dtype for feature in VIEWS[name]}
        row = (market_id, NOW_US - age_us, NOW_US - age_us, *values)
        store.write(OnlineView(name, {"market_id": "int64"}, dtypes), [row])
    store.close()
