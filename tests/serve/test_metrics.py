"""Metrics: predictions gathered and counted together read as each counted by itself; several threads lose none."""

from __future__ import annotations

import threading

from hypothesis import given, settings
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


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(SERVED, st.sampled_from([0.0, 0.001, 0.25, 60.0])), max_size=5))
def test_counting_many_is_counting_each(made):
    """The page is the same but for when its series began; sums are rounded, since many are added in one step."""
    each, together = Metrics(), Metrics()
    for served, seconds in made:
        each.predicted(served, now_us=NOW_US, seconds=seconds)
        each.settle()
        together.predicted(served, now_us=NOW_US, seconds=seconds)
    assert numbers(together) == numbers(each)


def test_a_page_tells_every_answer_of_every_thread():
    """Four threads count 1,000 answers each, more than are gathered at once, while a fifth settles: 4,000 are told."""
    metrics = Metrics()
    made = Served({}, (), "[]", "{}", (), {"PRESENT": 2}, NOW_US - 5_000_000)

    def count() -> None:
        for _ in range(1_000):
            metrics.predicted(made, now_us=NOW_US, seconds=0.002)
            metrics.answered("/predict", 200)

    threads = [threading.Thread(target=count) for _ in range(4)]
    threads.append(threading.Thread(target=lambda: [metrics.settle() for _ in range(100)]))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = numbers(metrics)
    assert told["forecastle_predict_seconds_count"] == told["forecastle_feature_age_seconds_count"] == 4_000
    assert told['forecastle_requests_total{route="/predict",status="200"}'] == 4_000
    assert told['forecastle_features_total{status="PRESENT"}'] == 8_000


def numbers(metrics: Metrics) -> dict[str, float]:
    lines = metrics.page(pending=0).decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#") and "_created" not in line]
    return {name: round(float(value), 9) for name, value in pairs}
