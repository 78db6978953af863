"""Logs in which treatment was not given at random, with the answer known.

Belongs here: the generator that the tests of effects share.
Does not belong here: expected values; each test states its own.
"""

from __future__ import annotations

import numpy as np

from forecastle.measure.nuisance import Nuisance


def confounded(seed, n=4000):
    """Exposure goes to those who would act anyway: outcome rate .1 to .5 by x, true effect .05."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    e = 1 / (1 + np.exp(-x[:, 0]))
    t = (rng.random(n) < e).astype(float)
    base = 0.1 + 0.35 / (1 + np.exp(-2 * x[:, 0]))
    y = (rng.random(n) < base + 0.05 * t).astype(float)
    return y, t, x, Nuisance(e, base + 0.05, base)
