"""Bundles: one hash over every part, and no parser sees a byte that is not the recorded one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecastle.contract.decision import DecisionRule
from forecastle.contract.errors import BundleError
from forecastle.contract.push_view import PushView
from forecastle.learn import native_booster
from forecastle.learn.bundle import FILES, MANIFEST, BundleParts, canonical_json, load_bundle, write_bundle
from forecastle.learn.golden import golden_faults
from forecastle.measure.calibrators import Temperature

ROOT = Path(__file__).parents[2]


@pytest.fixture
def parts(built) -> BundleParts:
    trained, bundle = built.model.trained, built.bundle
    return BundleParts(
        feature_set=bundle.feature_set,
        model_bytes=trained.model_bytes,
        calibrator=trained.calibrator,
        reference=bundle.reference,
        golden=trained.golden,
        card=bundle.card,
        facts=bundle.facts,
    )


@pytest.fixture
def written(parts: BundleParts, tmp_path: Path) -> Path:
    """A bundle of its own for each test."""
    return tmp_path / write_bundle(tmp_path, parts)


@pytest.fixture
def lightgbm_calls(monkeypatch) -> list[str]:
    """A shared library that notes who asks for it: what LightGBM would have seen."""
    calls: list[str] = []

    def library() -> None:
        calls.append("asked for")
        raise AssertionError("LightGBM was reached")

    monkeypatch.setattr(native_booster, "_library", library)
    return calls


def use(folder: Path, expected: str) -> None:
    """What a service does: load the bundle and let the model answer its golden rows."""
    golden_faults(load_bundle(folder, expected_hash=expected))


def test_what_was_written_is_read(written: Path, parts: BundleParts) -> None:
    """Every part comes back equal, under the hash of its manifest, and gives its golden rows."""
    found = load_bundle(written, expected_hash=written.name)
    assert found.hash == hashlib.sha256((written / MANIFEST).read_bytes()).hexdigest() == written.name
    assert dataclasses.asdict(found.feature_set) == dataclasses.asdict(parts.feature_set)
    for name in ("model_bytes", "calibrator", "golden", "card", "facts"):
        assert getattr(found, name) == getattr(parts, name)
    assert json.dumps(found.reference, sort_keys=True) == json.dumps(parts.reference, sort_keys=True)
    assert golden_faults(found) == ()


def test_the_same_parts_give_the_same_bytes(parts: BundleParts, tmp_path: Path) -> None:
    """Two writings give one hash and equal files; writing again where it stands changes nothing."""
    one, other = write_bundle(tmp_path / "a", parts), write_bundle(tmp_path / "b", parts)
    assert one == other == write_bundle(tmp_path / "a", parts)
    for name in (*FILES, "model.txt", MANIFEST):
        assert (tmp_path / "a" / one / name).read_bytes() == (tmp_path / "b" / one / name).read_bytes()
    assert [p.name for p in (tmp_path / "a").iterdir()] == [one]


def test_every_part_is_in_the_hash(parts: BundleParts, tmp_path: Path) -> None:
    """Another model, calibrator, feature set, reference, golden row, card or fact is another bundle."""
    golden = parts.golden
    changed = [
        dataclasses.replace(parts, model_bytes=parts.model_bytes + b"\n"),
        dataclasses.replace(parts, calibrator=Temperature(1.25)),
        dataclasses.replace(parts, feature_set=dataclasses.replace(parts.feature_set, code={"features": "x = 1"})),
        dataclasses.replace(parts, reference={}),
        dataclasses.replace(parts, start_from="guess"),
        dataclasses.replace(parts, golden=dataclasses.replace(golden, raw=(*golden.raw[:-1], 0.5))),
        dataclasses.replace(parts, card=parts.card + "."),
        dataclasses.replace(parts, facts={**parts.facts, "model_version": "2"}),
        dataclasses.replace(parts, decision=DecisionRule("ferries", "bet:stake", ("guess",), {"edge": 0.1}, "x = 1")),
        dataclasses.replace(parts, views=(PushView("weather", {"crossing_id": "int64"}, {}),)),
    ]
    hashes = {write_bundle(tmp_path, each) for each in (parts, *changed)}
    assert len(hashes) == 1 + len(changed)


def test_the_start_is_read_as_a_position(parts: BundleParts, tmp_path: Path) -> None:
    """The name in the bundle becomes the column of the model's features; without a name there is none."""
    started, plain = (
        write_bundle(tmp_path, dataclasses.replace(parts, start_from="guess")),
        write_bundle(tmp_path, parts),
    )
    assert load_bundle(tmp_path / started).start == parts.feature_set.model_features.index("guess") == 1
    assert load_bundle(tmp_path / plain).start is None


def test_a_start_must_be_a_feature_of_the_model(parts: BundleParts, tmp_path: Path) -> None:
    """Trees that start from something the model does not see cannot be scored."""
    bundle = write_bundle(tmp_path, dataclasses.replace(parts, start_from="route"))
    with pytest.raises(BundleError, match="starts from 'route', which is none of the model's features"):
        load_bundle(tmp_path / bundle)


def test_golden_rows_tell_a_start_that_was_left_out(parts: BundleParts, tmp_path: Path) -> None:
    """The same trees with a start they were not fitted with do not give their golden rows."""
    bundle = load_bundle(tmp_path / write_bundle(tmp_path, dataclasses.replace(parts, start_from="guess")))
    assert any("raw score" in fault for fault in golden_faults(bundle))


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("name", [*FILES, "model.txt", MANIFEST])
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "remove", "append"])
def test_damage_is_named_before_lightgbm(written: Path, lightgbm_calls, name: str, damage: str) -> None:
    """A flipped, cut, emptied, removed or lengthened file is refused by name; LightGBM is never asked for."""
    file = written / name
    content = file.read_bytes()
    if damage == "remove":
        file.unlink()
    else:
        damaged = {"flip": flip(content), "truncate": content[:-1], "empty": b"", "append": content + b" "}
        file.write_bytes(damaged[damage])
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        use(written, written.name)
    assert lightgbm_calls == []


@pytest.mark.parametrize("name", [*FILES, "model.txt"])
def test_a_file_of_another_bundle_is_refused(
    parts: BundleParts, written: Path, tmp_path: Path, lightgbm_calls, name: str
) -> None:
    """A whole, valid file that belongs to another bundle does not fit this one."""
    other = dataclasses.replace(
        parts,
        model_bytes=parts.model_bytes + b"\n",
        calibrator=Temperature(1.25),
        feature_set=dataclasses.replace(parts.feature_set, entity="ship"),
        reference={},
        golden=dataclasses.replace(parts.golden, raw=parts.golden.raw[::-1]),
        card="# other\n",
        start_from="guess",
    )
    stranger = tmp_path / "others" / write_bundle(tmp_path / "others", other)
    shutil.copy(stranger / name, written / name)
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        use(written, written.name)
    assert lightgbm_calls == []


def test_a_whole_other_bundle_is_refused(parts: BundleParts, written: Path, tmp_path: Path, lightgbm_calls) -> None:
    """A consistent bundle in the place of the recorded one has another hash than the promotion."""
    other = write_bundle(tmp_path / "others", dataclasses.replace(parts, facts={}))
    shutil.rmtree(written)
    shutil.copytree(tmp_path / "others" / other, written)
    with pytest.raises(BundleError, match=r"manifest\.json has hash .*, the promotion recorded"):
        use(written, written.name)
    assert lightgbm_calls == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from([*FILES, "model.txt"]), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_single_bit_goes_unseen(written: Path, name: str, place: float, bit: int) -> None:
    """Any one bit of any file, anywhere, refuses the bundle."""
    file = written / name
    content = file.read_bytes()
    index = int(place * len(content))
    file.write_bytes(content[:index] + bytes([content[index] ^ (1 << bit)]) + content[index + 1 :])
    try:
        with pytest.raises(BundleError):
            load_bundle(written, expected_hash=written.name)
    finally:
        file.write_bytes(content)


def forge(folder: Path, name: str, content: bytes) -> None:
    """Put content in and write a manifest that vouches for it, as a careless or hostile builder would."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (folder / MANIFEST).write_bytes(canonical_json(manifest))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("calibrator.json", b'{"calibrator":"oracle"}'),
        ("calibrator.json", b'{"calibrator":"platt"}'),
        ("calibrator.json", b"[]"),
        ("golden.json", b'{"rows":[[1.0]],"raw":[0.5],"probability":[0.5]}'),
        ("golden.json", b'{"rows":[],"raw":[],"probability":[]}'),
        ("golden.json", b"{}"),
        ("golden.json", b'{"rows":5,"raw":[],"probability":[]}'),
        ("feature_set.json", b"{}"),
        ("feature_set.json", b"not json"),
        ("reference.json", b"null"),
        ("card.md", b"\xff\xfe"),
    ],
)
def test_parts_that_do_not_fit_are_a_bundle_error(written: Path, name: str, content: bytes) -> None:
    """Even where a manifest vouches for them, parts that make no sense are refused as a bundle, not as a crash."""
    forge(written, name, content)
    with pytest.raises(BundleError):
        load_bundle(written)


@pytest.mark.parametrize(
    "manifest",
    [
        b"{}",
        b"[]",
        b"null",
        b'{"format":2,"files":{}}',
        b'{"format":1,"files":["model.txt"]}',
        b'{"format":1}',
        b"\xff",
    ],
)
def test_a_manifest_of_another_kind_is_refused(written: Path, manifest: bytes) -> None:
    """A manifest of another format, shape or encoding is refused by name."""
    (written / MANIFEST).write_bytes(manifest)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        load_bundle(written)


def test_a_wrong_golden_score_is_found(parts: BundleParts, tmp_path: Path) -> None:
    """A score or probability one bit away from the recorded one is named with its row."""
    golden = parts.golden
    off = dataclasses.replace(golden, raw=(float(np.nextafter(golden.raw[0], 1)), *golden.raw[1:]))
    bundle = load_bundle(tmp_path / write_bundle(tmp_path, dataclasses.replace(parts, golden=off)))
    assert [fault.partition(":")[0] for fault in golden_faults(bundle)] == ["golden row 0"]
    off = dataclasses.replace(golden, probability=(*golden.probability[:-1], 0.0))
    bundle = load_bundle(tmp_path / write_bundle(tmp_path, dataclasses.replace(parts, golden=off)))
    assert golden_faults(bundle)[0].startswith("golden row 31: probability")


def test_no_number_is_infinite(parts: BundleParts, tmp_path: Path) -> None:
    """JSON has no NaN: such a fact is refused before a file is written."""
    with pytest.raises(BundleError, match="finite"):
        write_bundle(tmp_path, dataclasses.replace(parts, facts={"brier": float("nan")}))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(parts: BundleParts, tmp_path: Path, monkeypatch) -> None:
    """When writing fails half way, no bundle and no half bundle is left."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_bundle(tmp_path, parts)
    assert list(tmp_path.iterdir()) == []


def test_loading_unpickles_nothing_and_imports_little(built) -> None:
    """In a fresh process, loading a bundle and answering its golden rows asks pickle for no class, nor pandas in."""
    code = (
        "import sys; found = []\n"
        "sys.addaudithook(lambda event, _: found.append(event) if event.startswith('pickle') else None)\n"
        "from pathlib import Path\n"
        "from forecastle.learn.bundle import load_bundle\n"
        "from forecastle.learn.golden import golden_faults\n"
        "faults = golden_faults(load_bundle(Path(sys.argv[1])))\n"
        "heavy = {'pandas', 'mlflow', 'sklearn', 'lightgbm', 'duckdb', 'dagster'} & set(sys.modules)\n"
        "print(faults, found, sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(built.bundles / built.model.bundle)],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT / "platform")},
    )  # fmt: skip
    assert done.stdout.strip() == "() [] []"


def test_the_model_file_is_lightgbm_text(written: Path) -> None:
    """The model is text that a person can read, no archive of code."""
    assert (written / "model.txt").read_bytes().startswith(b"tree\n")
