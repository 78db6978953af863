"""The bundle: model, calibrator, feature set, reference statistics and card under one hash, moved as one.

Belongs here: writing a bundle, and reading one so that no parser sees a byte before its checksum has been compared.
Does not belong here: training (`train.py`), running the model (`scorer.py`), choosing (`registry.py`).
Served: imports nothing heavier than NumPy and pydantic.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from forecastle.contract.decision import DecisionRule
from forecastle.contract.errors import BundleError
from forecastle.contract.feature_set import FeatureSet
from forecastle.contract.push_view import PushView
from forecastle.learn.scoring import MODEL_FILES, PICKLE, Scoring, scoring_from_json
from forecastle.learn.trust import Trust, trust_from
from forecastle.measure.calibrators import Calibrator, calibrator_from_json

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
FEATURE_SET: Final = "feature_set.json"
CALIBRATOR: Final = "calibrator.json"
REFERENCE: Final = "reference.json"
SCORING: Final = "scoring.json"
GOLDEN: Final = "golden.json"
CARD: Final = "card.md"
CARD_PAGE: Final = "card.html"
SIGNATURE: Final = "signature"
DECISION: Final = "decision.json"
VIEWS: Final = "views.json"
GOLDEN_ROWS_MIN: Final = 16
FILES: Final = (FEATURE_SET, SCORING, CALIBRATOR, REFERENCE, GOLDEN, CARD)
OPTIONAL: Final = (DECISION, VIEWS, CARD_PAGE)


@dataclass(frozen=True, slots=True)
class Golden:
    """Rows in the model's feature order with the raw score and probability they must give, bit for bit."""

    rows: tuple[tuple[float | None, ...], ...]
    raw: tuple[float, ...]
    probability: tuple[float, ...]


@dataclass(frozen=True)
class Bundle:
    """A verified bundle in memory; `facts` say where it came from.

    `start` is the position among the model's features of the probability that the trees start from, if they do.
    `decision` is the system's rule, if it has one; `views` are those that rows may be pushed into.
    """

    hash: str
    system: str
    feature_set: FeatureSet
    model_bytes: bytes
    model_sha256: str
    calibrator: Calibrator
    reference: Mapping[str, Any]
    golden: Golden
    card: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    start: int | None = None
    decision: DecisionRule | None = None
    views: tuple[PushView, ...] = ()
    scoring: Scoring = field(default_factory=Scoring)
    card_page: str = ""

    def medians(self) -> tuple[float | None, ...]:
        """What each model feature usually was in training, as the model sees it: the median, or the commonest word."""
        codes = self.feature_set.codes
        return tuple(
            _usual(self.reference.get(name, {}), codes.get(name, {})) for name in self.feature_set.model_features
        )


@dataclass(frozen=True, slots=True)
class BundleParts:
    """What `write_bundle` puts under one hash."""

    feature_set: FeatureSet
    model_bytes: bytes
    calibrator: Calibrator
    reference: Mapping[str, Any]
    golden: Golden
    card: str
    facts: Mapping[str, Any]
    start_from: str | None = None
    decision: DecisionRule | None = None
    views: tuple[PushView, ...] = ()
    scoring: Scoring = field(default_factory=Scoring)
    card_page: str = ""


def write_bundle(folder: Path, parts: BundleParts, *, trust: Trust | None = None) -> str:
    """Write a bundle below `folder` under its hash and return the hash; the same parts give the same bytes.

    The folder appears whole or not at all (temporary folder, fsync, rename); an equal bundle is left as it is. Where
    `trust` (by default what the environment says) has a key, its `signature` stands beside the manifest.

    Raises:
        BundleError: a number of the parts is not finite, so that JSON cannot hold it.
    """
    contents = _contents(parts)
    manifest = canonical_json(
        {
            "format": FORMAT,
            "system": parts.feature_set.system,
            "files": {n: {"sha256": _sha256(b), "size": len(b)} for n, b in contents.items()},
            "facts": parts.facts,
        }
    )
    digest = _sha256(manifest)
    signature = (trust_from() if trust is None else trust).sign(manifest)
    signed = {} if signature is None else {SIGNATURE: signature}
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / digest
    if not target.exists():
        _write_whole(folder, target, {**contents, MANIFEST: manifest, **signed})
    elif signature is not None and _signature(target) != signature:
        (target / SIGNATURE).write_bytes(signature)
    return digest


def load_bundle(folder: Path, *, expected_hash: str | None = None, trust: Trust | None = None) -> Bundle:
    """Read and verify one bundle.

    Args:
        folder: the folder that holds `manifest.json`.
        expected_hash: the hash that the promotion recorded. Without it the manifest is believed: only for a
            bundle that is packed with the code that reads it, and so is as trustworthy as that code.
        trust: the key its signature must be of, and whether it may hold a pickle; what the environment says by default.

    Raises:
        BundleError: naming the part that is missing, changed, not trusted or does not fit.
    """
    trust = trust_from() if trust is None else trust
    manifest_bytes = _read(folder, MANIFEST)
    digest = _sha256(manifest_bytes)
    if expected_hash is not None and digest != expected_hash:
        raise BundleError(
            f"bundle {folder.name[:12]}: {MANIFEST} has hash {digest[:12]}, the promotion recorded "
            f"{expected_hash[:12]}; restore the bundle or promote another"
        )
    trust.check(manifest_bytes, _signature(folder), told=f"bundle {digest[:12]}")
    manifest = _json(manifest_bytes, MANIFEST)
    files = manifest.get("files")
    if manifest.get("format") != FORMAT or not isinstance(files, dict) or not _complete(files):
        raise BundleError(f"bundle {digest[:12]}: {MANIFEST} is not of format {FORMAT}; build the bundle again")
    try:
        contents = {name: _verified(folder, name, recorded) for name, recorded in files.items()}
        return _assemble(digest, manifest, contents, trust)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"bundle {digest[:12]} does not fit together: {error!r}; build the bundle again") from error


def canonical_json(value: Any) -> bytes:
    """JSON bytes with sorted keys and no NaN, so that equal values have equal hashes.

    Raises:
        BundleError: a number is not finite.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except ValueError as error:
        raise BundleError(f"a bundle holds finite numbers only: {error}") from error
    return text.encode()


def _contents(parts: BundleParts) -> dict[str, bytes]:
    """The bytes of each file of a bundle but its manifest and signature, under the file's name."""
    contents = {
        FEATURE_SET: canonical_json(parts.feature_set.to_json()),
        parts.scoring.file: parts.model_bytes,
        SCORING: canonical_json({"start_from": parts.start_from, **parts.scoring.to_json()}),
        CALIBRATOR: canonical_json(parts.calibrator.to_json()),
        REFERENCE: canonical_json(parts.reference),
        GOLDEN: canonical_json(
            {"rows": parts.golden.rows, "raw": parts.golden.raw, "probability": parts.golden.probability}
        ),
        CARD: parts.card.encode(),
    }
    if parts.card_page:
        contents[CARD_PAGE] = parts.card_page.encode()
    if parts.decision is not None:
        contents[DECISION] = canonical_json(parts.decision.to_json())
    if parts.views:
        contents[VIEWS] = canonical_json({"views": [view.to_json() for view in parts.views]})
    return contents


def _complete(files: Mapping[str, Any]) -> bool:
    """Every file that a bundle must have, one model, and none that it cannot have."""
    models = set(files) & set(MODEL_FILES.values())
    return len(models) == 1 and set(files) - set(OPTIONAL) - models == set(FILES)


def _assemble(digest: str, manifest: Mapping[str, Any], contents: Mapping[str, bytes], trust: Trust) -> Bundle:
    feature_set = _feature_set(digest, manifest, contents[FEATURE_SET])
    told = _json(contents[SCORING], SCORING)
    scoring = scoring_from_json(told)
    if scoring.file not in contents:
        raise BundleError(
            f"bundle {digest[:12]}: {SCORING} names kind {scoring.kind!r}, and {scoring.file} is not there"
        )
    if scoring.kind == PICKLE and not trust.pickle:
        raise BundleError(
            f"bundle {digest[:12]}: {scoring.file} is a pickle, which may run any code; set FORECASTLE_TRUST=pickle "
            "where you trust whoever made it"
        )
    golden = _golden(_json(contents[GOLDEN], GOLDEN))
    width = len(feature_set.model_features)
    if any(len(row) != width for row in golden.rows):
        raise BundleError(f"bundle {digest[:12]}: {GOLDEN} has rows that are not {width} features wide")
    if not len(golden.rows) == len(golden.raw) == len(golden.probability) >= GOLDEN_ROWS_MIN:
        raise BundleError(f"bundle {digest[:12]}: {GOLDEN} lacks rows or scores; {GOLDEN_ROWS_MIN} are the least")
    return Bundle(
        hash=digest,
        system=feature_set.system,
        feature_set=feature_set,
        model_bytes=contents[scoring.file],
        model_sha256=manifest["files"][scoring.file]["sha256"],
        calibrator=calibrator_from_json(_json(contents[CALIBRATOR], CALIBRATOR)),
        reference=_json(contents[REFERENCE], REFERENCE),
        golden=golden,
        card=contents[CARD].decode(),
        card_page=contents[CARD_PAGE].decode() if CARD_PAGE in contents else "",
        facts=manifest["facts"],
        start=_start(told["start_from"], feature_set),
        decision=DecisionRule.from_json(_json(contents[DECISION], DECISION)) if DECISION in contents else None,
        views=tuple(map(PushView.from_json, _json(contents[VIEWS], VIEWS)["views"])) if VIEWS in contents else (),
        scoring=scoring,
    )


def _feature_set(digest: str, manifest: Mapping[str, Any], content: bytes) -> FeatureSet:
    """The feature set, which must be of the system and the contract that the manifest tells."""
    found = FeatureSet.from_json(_json(content, FEATURE_SET))
    if found.system != manifest["system"]:
        raise BundleError(f"bundle {digest[:12]}: {FEATURE_SET} is of system {found.system!r}")
    recorded = manifest["facts"].get("feature_set", found.hash)
    if recorded != found.hash:
        raise BundleError(
            f"bundle {digest[:12]}: the contract in {FEATURE_SET} has hash {found.hash[:12]}, the model was "
            f"trained with {str(recorded)[:12]}; build the bundle again"
        )
    return found


def _usual(told: Mapping[str, Any], words: Mapping[str, float]) -> float | None:
    """Of one feature's reference."""
    commonest = next(iter(told.get("categories", ())), None)
    return words.get(commonest) if commonest is not None else told.get("median")


def _signature(folder: Path) -> bytes | None:
    path = folder / SIGNATURE
    return path.read_bytes() if path.is_file() else None


def _start(name: str | None, feature_set: FeatureSet) -> int | None:
    if name is None:
        return None
    if name not in feature_set.model_features:
        raise BundleError(f"{SCORING} starts from {name!r}, which is none of the model's features")
    return feature_set.model_features.index(name)


def _golden(data: Mapping[str, Any]) -> Golden:
    rows = tuple(tuple(row) for row in data["rows"])
    return Golden(rows, tuple(data["raw"]), tuple(data["probability"]))


def _verified(folder: Path, name: str, recorded: Mapping[str, Any]) -> bytes:
    content = _read(folder, name)
    if _sha256(content) != recorded["sha256"]:
        raise BundleError(
            f"bundle {folder.name[:12]}: {name} is {len(content)} bytes with another hash than the "
            f"{recorded['size']} bytes recorded; restore the bundle or promote another"
        )
    return content


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise BundleError(f"bundle {folder.name[:12]}: {name} cannot be read: {error.strerror}") from error


def _json(content: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise BundleError(f"{name} of a bundle is not JSON; build the bundle again") from error
    if not isinstance(value, dict):
        raise BundleError(f"{name} of a bundle is not a JSON object; build the bundle again")
    return value


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write_whole(folder: Path, target: Path, contents: Mapping[str, bytes]) -> None:
    staging = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
    try:
        for name, content in contents.items():
            with (staging / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        _flush(staging)
        try:
            staging.rename(target)
        except OSError:
            # Another process wrote the same bundle meanwhile.
            if not target.exists():
                raise
        _flush(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Names in a folder reach the disk only with the folder itself."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
