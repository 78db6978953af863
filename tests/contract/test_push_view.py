"""Push views: every online view with its whole contract, the same after a trip through JSON."""

from __future__ import annotations

import json

import pytest

from forecastle.contract.errors import BundleError
from forecastle.contract.load import load_system
from forecastle.contract.push_view import PushView


def test_every_online_view_can_be_pushed_into(rain):
    """Keys and all features, whether a model uses them or not; a view that is not online is left out."""
    (view,) = load_system(rain).push_views()
    assert (view.name, view.keys, list(view.features)) == (
        "weather",
        {"station_id": "int64"},
        ["chance", "pressure_mean"],
    )
    text = (rain / "system.yaml").read_text()
    (rain / "system.yaml").write_text(text.replace("    ttl: 2d", "    ttl: 2d\n    online: false"))
    assert load_system(rain).push_views() == ()


def test_a_view_comes_back_from_json(rain):
    """Equal, with every rule of every contract; what is no view is a bundle error."""
    (view,) = load_system(rain).push_views()
    assert PushView.from_json(json.loads(json.dumps(view.to_json()))) == view
    for broken in ({}, {"name": "x", "keys": {}, "features": []}, {"name": "x", "keys": {}, "features": {"a": {}}}):
        with pytest.raises(BundleError, match="cannot be read"):
            PushView.from_json(broken)
