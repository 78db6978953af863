"""Swaps: a verified bundle takes over whole; anything else leaves the old one answering and says why."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest

from forecastle.contract.errors import BundleError
from forecastle.learn.bundle import BundleParts, Golden, load_bundle, write_bundle
from forecastle.learn.native_booster import NativeBooster
from forecastle.serve.champion import ChampionWatch, load_champion, try_in_child
from forecastle.serve.trace import replay
from tests.serve import toy
from tests.serve.client import running


def watch_of(home, **options) -> ChampionWatch:
    return ChampionWatch("toy", home=home, packed=options.pop("packed", None), **options)


def no_trial(*_: object, **__: object) -> None:
    """Stands for the child process where a test is not about it."""


def test_a_promotion_is_picked_up(home):
    """The watch loads the first champion, stays on it, and swaps when the pointer is replaced."""
    heard: list[str] = []
    watch = watch_of(home, trial=no_trial)
    watch.listen(heard.append)
    assert [watch.check(), watch.check()] == [True, False]
    first = watch.current.bundle.hash
    toy.promote(home, second := toy.make_bundle(home, seed=2, version="2"), version="2")
    assert watch.check()
    assert (watch.current.bundle.hash, watch.current.model_version) == (second, "2")
    assert first != second
    assert heard == ["swapped", "swapped"]


def _damage(home, bundle: str, name: str) -> None:
    path = home.bundles("toy") / bundle / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name", ["model.txt", "manifest.json", "feature_set.json", "calibrator.json", "scoring.json", "golden.json"]
)
def test_a_damaged_bundle_never_serves(home, name):
    """One flipped bit in any file: the old champion stays, the reason is kept."""
    watch = watch_of(home, trial=no_trial)
    watch.check()
    before = watch.current
    second = toy.make_bundle(home, seed=2, version="2")
    _damage(home, second, name)
    toy.promote(home, second)
    assert not watch.check()
    assert watch.current is before
    assert "hash" in watch.error


def test_golden_rows_that_do_not_match_refuse_the_bundle(home):
    """A bundle whose hashes are right but whose model answers other numbers than recorded never serves."""
    bundle = toy.make_bundle(home, golden_shift=1e-12)
    with pytest.raises(BundleError, match="golden row 0"):
        load_champion(home.bundles("toy") / bundle, system="toy", expected_hash=bundle)


def test_a_bundle_of_another_system_is_refused(home):
    """The system in the bundle must be the system served."""
    bundle = toy.make_bundle(home)
    with pytest.raises(BundleError, match="this service is 'other'"):
        load_champion(home.bundles("toy") / bundle, system="other", expected_hash=bundle)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"bundle": "none"}', '{"system": "toy"}', '{"bundle": "../../x"}'])
def test_a_broken_pointer_keeps_the_champion(home, content):
    """Whatever the pointer file holds, the old champion answers on and the fault is told."""
    watch = watch_of(home, trial=no_trial)
    watch.check()
    before = watch.current
    home.champion("toy").write_text(content)
    assert not watch.check()
    assert watch.current is before
    assert watch.error.startswith(f"{home.champion('toy')} is damaged: it names no bundle by its hash; promote one")


def test_a_refused_bundle_is_tried_again_later(home):
    """The same pointer is not tried at every poll, but it is tried again after sixty."""
    tries: list[object] = []

    def trial(folder, **_):
        tries.append(folder)
        raise BundleError("not today")

    watch = watch_of(home, trial=trial)
    for _ in range(61):
        watch.check()
    assert len(tries) == 2
    assert watch.error == "not today"


def test_the_packed_bundle_serves_without_a_pointer(home):
    """In a Bento the bundle beside the library answers, with no promotion."""
    pointer = home.champion("toy")
    bundle = json.loads(pointer.read_text())["bundle"]
    packed = home.root / "bundle"
    shutil.copytree(home.bundles("toy") / bundle, packed)
    pointer.unlink()
    watch = watch_of(home, packed=packed, trial=no_trial)
    assert watch.check()
    assert (watch.current.bundle.hash, watch.current.promotion) == (bundle, None)


def test_a_child_process_tries_the_bundle(home):
    """The real child accepts a good bundle and gives its reason for a bad one."""
    good, bad = toy.make_bundle(home), toy.make_bundle(home, golden_shift=1e-12)
    try_in_child(home.bundles("toy") / good, system="toy", expected_hash=good)
    with pytest.raises(BundleError, match="refused the bundle: golden row 0"):
        try_in_child(home.bundles("toy") / bad, system="toy", expected_hash=bad)


def test_a_model_that_kills_its_reader_kills_the_child_only(home):
    """A model cut in half, with hashes made to fit, ends the trial process; this one lives to say so."""
    bundle = toy.make_bundle(home)
    source = home.bundles("toy") / bundle
    model = (source / "model.txt").read_bytes()
    cut = _with_model(home, source, model[: len(model) // 2])
    with pytest.raises(BundleError, match=r"signal|refused"):
        try_in_child(cut, system="toy", expected_hash=cut.name)


def _with_model(home, source, model: bytes):
    bundle = load_bundle(source)
    parts = BundleParts(bundle.feature_set, model, bundle.calibrator, {}, bundle.golden, bundle.card, bundle.facts)
    return home.bundles("toy") / write_bundle(home.bundles("toy"), parts)


def test_a_start_is_answered_as_it_was_trained(home):
    """A bundle whose trees start from the market price loads on its golden rows, and replays an answer to the bit."""
    source = home.bundles("toy") / toy.make_bundle(home)
    bundle = load_bundle(source)
    rows = [[math.nan if value is None else value for value in row] for row in bundle.golden.rows]
    native = NativeBooster(bundle.model_bytes, expected_sha256=bundle.model_sha256, start=1)
    raw = native.scores(np.array(rows))
    golden = Golden(bundle.golden.rows, tuple(raw.tolist()), tuple(bundle.calibrator.apply(raw).tolist()))
    parts = BundleParts(
        bundle.feature_set, bundle.model_bytes, bundle.calibrator, {}, golden, "# toy\n", bundle.facts,
        start_from=toy.MODEL_FEATURES[1],
    )  # fmt: skip
    started = home.bundles("toy") / write_bundle(home.bundles("toy"), parts)
    champion = load_champion(started, system="toy", expected_hash=started.name)
    answers = [champion.bundle.calibrator.apply_scalar(champion.scorer.score_row(row)) for row in rows]
    assert answers == list(golden.probability)
    assert [replay(champion.bundle, list(row)) for row in golden.rows] == answers
    left_out = write_bundle(home.bundles("toy"), dataclasses.replace(parts, start_from=None))
    with pytest.raises(BundleError, match="golden row 0"):
        load_champion(home.bundles("toy") / left_out, system="toy", expected_hash=left_out)


def test_a_running_service_swaps_and_says_so(settings):
    """Predictions go on through a swap and a refused swap; receipt, health and metrics tell which."""
    with running(settings) as client:
        first = client.predict({"features": toy.GIVEN}).json["model"]["bundle"]
        second = toy.make_bundle(settings.home, seed=2, version="2")
        toy.promote(settings.home, second, version="2")
        watch = client.application._running.watch
        watch.check()
        answer = client.predict({"features": toy.GIVEN}).json
        assert (answer["model"]["bundle"], answer["model"]["version"]) == (second, "2")
        _damage(settings.home, first, "model.txt")
        toy.promote(settings.home, first)
        watch.check()
        assert client.predict({"features": toy.GIVEN}).json["model"]["bundle"] == second
        health = client.ask("GET", "/healthz").json
        assert health["status"] == "degraded"
        assert "another hash" in health["refused_swap"]
        page = client.ask("GET", "/metrics").body.decode()
        assert 'forecastle_swaps_total{outcome="refused"} 1.0' in page
        assert f'forecastle_champion_info{{bundle="{second}",model_version="2"}} 1.0' in page
        assert f'forecastle_champion_info{{bundle="{first}",model_version="1"}} 0.0' in page


def test_the_watch_follows_by_itself(settings):
    """Without being asked, a started service serves a new champion soon after its promotion."""
    import asyncio
    import dataclasses

    swapped = asyncio.Event()
    with running(dataclasses.replace(settings, poll_seconds=0.01)) as client:
        second = toy.make_bundle(settings.home, seed=2, version="2")
        watch = client.application._running.watch
        watch.listen(lambda _: client.loop.call_soon_threadsafe(swapped.set))
        toy.promote(settings.home, second)
        client.loop.run_until_complete(asyncio.wait_for(swapped.wait(), 20))
        assert watch.current.bundle.hash == second
