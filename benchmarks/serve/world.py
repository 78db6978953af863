"""The system that every server here answers: 25 features, 300 trees, isotonic calibration, 1,000 entities.

Belongs here: the model, the bundle, the online store and the request bodies, all seeded.
Does not belong here: servers, load, timing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import lightgbm
import numpy as np
from sklearn.isotonic import IsotonicRegression

from forecastle.contract.column import Feature
from forecastle.contract.feature_set import FeatureSet, FeatureSpec, OnDemandSpec, ViewSpec
from forecastle.learn.bundle import BundleParts, Golden, write_bundle
from forecastle.measure.calibrators import Isotonic
from forecastle.store.home import Home
from forecastle.store.online import OnlineView
from forecastle.store.online_sqlite import SQLiteOnlineStore

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000
STORED = tuple(f"x{i:02d}" for i in range(24))
COMPUTED = "log_x00"
NAMES = (*STORED, COMPUTED)
VIEWS = {"first": STORED[:12], "second": STORED[12:]}
ENTITIES = 1_000
ROWS = 20_000
CODE = "import numpy as np\n\ndef logs(x00):\n    return {'log_x00': np.log1p(x00)}\n"
CONTRACT = Feature(dtype="float64", unit="one", min=0, max=1e9)


@dataclass(frozen=True)
class World:
    """Training rows and outcomes, and the model that ours serves."""

    rows: np.ndarray
    outcome: np.ndarray
    booster: lightgbm.Booster
    calibrator: Isotonic


def make_world(*, seed: int = 0) -> World:
    """Train the model on seeded rows; the newest quarter calibrates it."""
    generator = np.random.default_rng(seed)
    stored = generator.exponential(1.0, (ROWS, len(STORED)))
    rows = np.column_stack([stored, np.log1p(stored[:, 0])])
    outcome = (stored[:, 0] + stored[:, 1] + generator.exponential(1.0, ROWS) > 2.5).astype(int)
    fit = ROWS * 3 // 4
    parameters = {"objective": "binary", "verbose": -1, "num_threads": 1, "seed": seed}
    booster = lightgbm.train(parameters, lightgbm.Dataset(rows[:fit], outcome[:fit]), num_boost_round=300)
    isotonic = IsotonicRegression(y_min=1e-4, y_max=1 - 1e-4, out_of_bounds="clip")
    isotonic.fit(booster.predict(rows[fit:]), outcome[fit:])
    steps = Isotonic(tuple(isotonic.X_thresholds_.tolist()), tuple(isotonic.y_thresholds_.tolist()))
    return World(rows, outcome, booster, steps)


def make_home(folder: Path, world: World) -> Home:
    """A home with the champion and 1,000 entities in the online store."""
    home = Home(folder).create()
    promote(home, add_bundle(home, world, version="1"), version="1")
    store = SQLiteOnlineStore(home.online("bench"))
    for view, names in VIEWS.items():
        columns = [NAMES.index(name) for name in names]
        rows = [(i, NOW_US, NOW_US, *map(float, world.rows[i, columns])) for i in range(ENTITIES)]
        store.write(OnlineView(view, {"entity_id": "int64"}, dict.fromkeys(names, "float64")), rows)
    store.close()
    return home


def add_bundle(home: Home, world: World, *, version: str) -> str:
    """Write the model as a bundle of that version; returns its hash."""
    raw = world.booster.predict(world.rows[:16])
    parts = BundleParts(
        feature_set=_feature_set(),
        model_bytes=world.booster.model_to_string().encode(),
        calibrator=world.calibrator,
        reference={},
        golden=Golden(
            tuple(tuple(map(float, row)) for row in world.rows[:16]),
            tuple(map(float, raw)),
            tuple(map(float, world.calibrator.apply(raw))),
        ),
        card="# benchmark\n",
        facts={"model": "lightgbm", "model_version": version},
    )
    return write_bundle(home.bundles("bench"), parts)


def promote(home: Home, bundle: str, *, version: str) -> None:
    """Point the home's champion at a bundle, atomically."""
    pointer = home.champion("bench")
    pointer.parent.mkdir(parents=True, exist_ok=True)
    fresh = pointer.with_suffix(".new")
    fresh.write_text(json.dumps({"system": "bench", "bundle": bundle, "model_version": version}))
    fresh.replace(pointer)


def explicit_body(world: World) -> bytes:
    """One request that gives all 24 stored features."""
    return json.dumps({"features": dict(zip(STORED, map(float, world.rows[0]), strict=False))}).encode()


def _feature_set() -> FeatureSet:
    view_of = {name: view for view, names in VIEWS.items() for name in names}
    return FeatureSet(
        system="bench",
        entity="entity",
        keys={"entity_id": "int64"},
        model_features=NAMES,
        features=tuple(
            FeatureSpec(name, CONTRACT, view_of.get(name), 86_400.0 if name in view_of else None) for name in NAMES
        ),
        views=tuple(ViewSpec(name, ("entity_id",), 86_400.0, names, "0" * 64) for name, names in VIEWS.items()),
        on_demand=(OnDemandSpec("logs", "features:logs", ("x00",), (COMPUTED,)),),
        code={"features": CODE},
    )
