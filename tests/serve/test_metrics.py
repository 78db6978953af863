"""Metrics: many predictions counted at once read as each counted by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forecastle.serve.metrics import Metrics
from forecastle.serve.plan import Served
from forecastle.serve.resolve import Degraded

NOW_US = 1_000_000_000_000
SERVED = st.builds(
    Served,
    values=st.just({}),
    vector=st.just(()),
    vector_json=st.just("[]"),
    features_json=st.just("{}"),
    degraded=st.lists(st.builds(Degraded, st.sampled_from(["price", "volume"]), st.just("old"))).map(tuple),
    counts=st.dictionaries(st.sampled_from(["PRESENT", "DEFAULTED"]), st.integers(0, 3)),
    oldest_us=st.none() | st.sampled_from([NOW_US, NOW_US - 10_000_000, NOW_US - 10**12]),
)


@given(st.lists(SERVED, max_size=5), st.sampled_from([0.0, 0.001, 0.25, 60.0]))
def test_counting_many_is_counting_each(made, seconds):
    """The page is the same but for when its series began; sums are rounded, since many are added in one step."""
    each, together = Metrics(), Metrics()
    for served in made:
        each.predicted(served, now_us=NOW_US, seconds=seconds)
    together.predicted_many(made, now_us=NOW_US, seconds=seconds)
    assert numbers(together) == numbers(each)


def numbers(metrics: Metrics) -> dict[str, float]:
    lines = metrics.page(pending=0).decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#") and "_created" not in line]
    return {name: round(float(value), 9) for name, value in pairs}
