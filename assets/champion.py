"""The champion as assets need it: its promotion and its verified bundle.

Belongs here: loading it, and the failure of a step that cannot do without one.
Does not belong here: promoting (`promotion.py`), the registry (`forecastle.promote.registry`).
"""

from __future__ import annotations

import dagster as dg

from assets.failures import FOLLOWS
from forecastle.contract.load import LoadedSystem
from forecastle.learn.bundle import Bundle, load_bundle
from forecastle.promote.approval import awaiting
from resources.platform import Platform


def champion_bundle(platform: Platform, system: LoadedSystem) -> Bundle | None:
    """The verified bundle of the champion; None when no bundle was ever promoted.

    Raises:
        BundleError: its files are missing or changed.
    """
    champion = platform.registry().champion(system.name)
    if champion is None:
        return None
    return load_bundle(platform.layout.bundles(system.name) / champion.bundle, expected_hash=champion.bundle)


def required_champion(platform: Platform, system: LoadedSystem) -> Bundle:
    """The champion's bundle, for a step that is nothing without one.

    Raises:
        Failure: no bundle was ever promoted.
    """
    bundle = champion_bundle(platform, system)
    if bundle is None:
        said = f"{system.name} has no champion: {_why(platform, system)}"
        raise dg.Failure(description=said, metadata={FOLLOWS: "promotion"}, allow_retries=False)
    return bundle


def _why(platform: Platform, system: LoadedSystem) -> str:
    waiting = awaiting(platform.registry(), system.name, now=platform.clock())
    if waiting:
        return f"bundle {waiting[0].bundle[:12]} waits for a person: forecastle approve {system.name} --by NAME"
    return "the gates have refused every model so far; read the reasons in the promotion's gates"
