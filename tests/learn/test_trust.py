"""Trust: signatures under the manifest, pickles by leave, and which part of a bundle does not fit."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from pathlib import Path

import pytest

from forecastle.contract.errors import BundleError
from forecastle.learn.bundle import BundleParts, load_bundle, write_bundle
from forecastle.learn.scoring import Scoring
from forecastle.learn.trust import Trust, trust_from

KEY = Trust(b"k" * 32)


@pytest.fixture
def parts(built) -> BundleParts:
    trained, bundle = built.model.trained, built.bundle
    return BundleParts(
        bundle.feature_set, trained.model_bytes, trained.calibrator, {}, trained.golden, bundle.card, bundle.facts
    )


def test_the_environment_says_what_is_trusted() -> None:
    """Nothing by default; a key of at least 32 characters; one word."""
    assert trust_from({}) == Trust(None, pickle=False)
    assert trust_from({"FORECASTLE_SIGNING_KEY": "k" * 32, "FORECASTLE_TRUST": "pickle"}) == Trust(b"k" * 32, True)
    with pytest.raises(BundleError, match="FORECASTLE_SIGNING_KEY has 5 characters; at least 32"):
        trust_from({"FORECASTLE_SIGNING_KEY": "short"})
    with pytest.raises(BundleError, match="FORECASTLE_TRUST is 'all'; pickle is the only word"):
        trust_from({"FORECASTLE_TRUST": "all"})
    assert "kkk" not in repr(KEY)


def test_a_signature_is_the_hmac_of_the_manifest(parts: BundleParts, tmp_path: Path) -> None:
    """What stands in `signature` is HMAC-SHA256 over the manifest's bytes; the bundle's hash stays as it was."""
    digest = write_bundle(tmp_path, parts, trust=KEY)
    folder = tmp_path / digest
    manifest = (folder / "manifest.json").read_bytes()
    assert (folder / "signature").read_text() == hmac.new(b"k" * 32, manifest, hashlib.sha256).hexdigest()
    assert load_bundle(folder, expected_hash=digest, trust=KEY).hash == digest
    assert write_bundle(tmp_path / "unsigned", parts, trust=Trust()) == digest
    assert load_bundle(folder, trust=Trust()).hash == digest


def test_with_a_key_an_unsigned_or_wrongly_signed_bundle_is_refused(
    parts: BundleParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a signature, with another key's, or with another bundle's; the environment's key counts too."""
    folder = tmp_path / write_bundle(tmp_path, parts, trust=Trust())
    with pytest.raises(BundleError, match="it has no signature and FORECASTLE_SIGNING_KEY is set"):
        load_bundle(folder, trust=KEY)
    (folder / "signature").write_bytes(Trust(b"o" * 32).sign((folder / "manifest.json").read_bytes()))
    with pytest.raises(BundleError, match="its signature is not of this FORECASTLE_SIGNING_KEY"):
        load_bundle(folder, trust=KEY)
    monkeypatch.setenv("FORECASTLE_SIGNING_KEY", "k" * 32)
    with pytest.raises(BundleError, match="its signature is not of this"):
        load_bundle(folder)
    (folder / "signature").write_bytes(KEY.sign((folder / "manifest.json").read_bytes()))
    assert load_bundle(folder).system == "ferries"
    again = dataclasses.replace(parts, card="# other")
    assert (tmp_path / write_bundle(tmp_path, again) / "signature").is_file()


def test_an_equal_bundle_that_stood_unsigned_is_signed(parts: BundleParts, tmp_path: Path) -> None:
    """A build with a key leaves a bundle that opens with it, also where the same bytes stood already."""
    folder = tmp_path / write_bundle(tmp_path, parts, trust=Trust())
    write_bundle(tmp_path, parts, trust=KEY)
    assert load_bundle(folder, trust=KEY).system == "ferries"


def test_a_pickle_is_opened_only_by_leave(parts: BundleParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle says that it is one, and whoever loads it must agree, before a byte of it is read as a pickle."""
    pickled = dataclasses.replace(parts, model_bytes=b"never unpickled", scoring=Scoring("pickle"))
    folder = tmp_path / write_bundle(tmp_path, pickled)
    with pytest.raises(BundleError, match=r"model\.pickle is a pickle, which may run any code; set FORECASTLE_TRUST"):
        load_bundle(folder)
    monkeypatch.setenv("FORECASTLE_TRUST", "pickle")
    assert load_bundle(folder).scoring.kind == "pickle"


def test_the_kind_and_the_file_must_agree(parts: BundleParts, tmp_path: Path) -> None:
    """A manifest with another model file than `scoring.json` names, and one with two of them."""
    folder = tmp_path / write_bundle(tmp_path, parts)
    content = json.dumps({**Scoring("xgboost").to_json(), "start_from": None}).encode()
    with pytest.raises(BundleError, match=r"names kind 'xgboost', and model\.ubj is not there"):
        load_bundle(rewritten(folder, "scoring.json", content))
    with pytest.raises(BundleError, match=r"manifest\.json is not of format 1"):
        load_bundle(rewritten(folder, "model.skops", b"another"))


def test_a_contract_that_the_model_was_not_trained_on_is_named(parts: BundleParts, tmp_path: Path) -> None:
    """The facts tell the feature set of the training; a bundle around another one never loads."""
    other = dataclasses.replace(parts.feature_set, code={"features": "def sea(**_):\n    return {}\n"})
    folder = tmp_path / write_bundle(tmp_path, dataclasses.replace(parts, feature_set=other))
    with pytest.raises(BundleError, match=rf"contract in feature_set\.json has hash {other.hash[:12]}, the model was"):
        load_bundle(folder)


def rewritten(folder: Path, name: str, content: bytes) -> Path:
    """The bundle with one file changed or added and its manifest made to agree."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (folder / name).write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
