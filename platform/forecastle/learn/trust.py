"""What this process trusts of a bundle: a signature under its manifest, and whether a pickle may be opened.

Belongs here: reading both from the environment, signing and comparing.
Does not belong here: hashes of files (`bundle.py`), opening models (`scorer.py`). Served: standard library only.

    FORECASTLE_SIGNING_KEY  at least 32 characters; bundles are signed with it, and no unsigned bundle is loaded
    FORECASTLE_TRUST        pickle: a bundle whose declaration says trust: pickle may be opened
Read here and not handed on from each edge: a door that forgot to hand it on would open unsigned bundles.
HMAC: https://www.rfc-editor.org/rfc/rfc2104
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from forecastle.contract.errors import BundleError

KEY_LENGTH_MIN: Final = 32


@dataclass(frozen=True, slots=True)
class Trust:
    """`signing_key` is None where no signature is asked for."""

    signing_key: bytes | None = field(default=None, repr=False)
    pickle: bool = False

    def sign(self, manifest: bytes) -> bytes | None:
        """HMAC-SHA256 of a manifest, as 64 hex digits; None without a key."""
        if self.signing_key is None:
            return None
        return hmac.new(self.signing_key, manifest, hashlib.sha256).hexdigest().encode()

    def check(self, manifest: bytes, signature: bytes | None, *, told: str) -> None:
        """Nothing happens where no key is set, or the signature is this key's.

        Raises:
            BundleError: there is a key, and no signature or another one.
        """
        wanted = self.sign(manifest)
        if wanted is None:
            return
        if signature is None:
            raise BundleError(
                f"{told}: it has no signature and FORECASTLE_SIGNING_KEY is set; train again where the key is set too"
            )
        if not hmac.compare_digest(wanted, signature.strip()):
            raise BundleError(
                f"{told}: its signature is not of this FORECASTLE_SIGNING_KEY; take the bundle or the key from where "
                "it was made"
            )


def trust_from(environment: Mapping[str, str] | None = None) -> Trust:
    """What an environment (this process's own where none is given) says.

    Raises:
        BundleError: the key is short, or FORECASTLE_TRUST is another word than pickle.
    """
    found = os.environ if environment is None else environment
    key, word = found.get("FORECASTLE_SIGNING_KEY", ""), found.get("FORECASTLE_TRUST", "")
    if key and len(key) < KEY_LENGTH_MIN:
        raise BundleError(
            f"FORECASTLE_SIGNING_KEY has {len(key)} characters; at least {KEY_LENGTH_MIN} are needed, for instance "
            "from `openssl rand -hex 32`"
        )
    if word not in {"", "pickle"}:
        raise BundleError(f"FORECASTLE_TRUST is {word!r}; pickle is the only word it may be")
    return Trust(key.encode() or None, pickle=word == "pickle")
