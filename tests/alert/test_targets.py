"""Who is told of alerts: from a file and from the environment, no address ever shown."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from forecastle.alert.targets import AlertTarget, read_targets
from forecastle.contract.errors import StoreError


def test_no_file_and_no_variable_is_no_target(tmp_path: Path) -> None:
    """The log is all there is, and that is no error."""
    assert read_targets(tmp_path / "alerts.yaml", {}).targets == ()


def test_file_and_variable_are_read_together(tmp_path: Path) -> None:
    """Names, least severities, systems, an address from the environment, and the quiet period."""
    path = tmp_path / "alerts.yaml"
    path.write_text(
        "quiet_period: 6h\n"
        "targets:\n"
        "  desk: {url: 'json://desk/x?a=b'}\n"
        "  pager: {url: {env: PAGER}, least: error, systems: [toy]}\n"
    )
    environment = {"PAGER": "pagerduty://a@b", "FORECASTLE_ALERT_TARGETS": "ops:error=slack://a/b/c mailto://u:p@x.org"}
    found = read_targets(path, environment)
    assert found.quiet_period == timedelta(hours=6)
    assert found.targets == (
        AlertTarget("desk", "json://desk/x?a=b"),
        AlertTarget("pager", "pagerduty://a@b", "error", frozenset({"toy"})),
        AlertTarget("ops", "slack://a/b/c", "error"),
        AlertTarget("mailto-2", "mailto://u:p@x.org"),
    )
    assert found.targets[0].severities == ("warn", "error")
    assert found.targets[1].severities == ("error",)


@pytest.mark.parametrize(
    ("text", "environment", "says"),
    [
        ("targets: {desk: {url: {env: DESK}}}", {}, "DESK is not set"),
        ("targets: {desk: {url: secret-word}}", {}, "desk: url is no address"),
        ("targets: {desk: {uri: 'json://secret-word'}}", {}, "has no url"),
        ("targets: {desk: {url: 'json://secret-word', leest: error}}", {}, "did you mean"),
        ("targets: {desk: {url: 'json://secret-word', least: fatal}}", {}, "one of warn, error"),
        ("targets: {desk: {url: 'json://secret-word', systems: toy}}", {}, "systems is no list"),
        ("target: {}", {}, "did you mean"),
        ("targets: [json://secret-word]", {}, "no mapping"),
        ("targets: {desk: 'json://secret-word", {}, "cannot be read as YAML"),
        ("quiet_period: soon", {}, "such as 24h"),
        ("- x", {}, "no mapping"),
        ("", {"FORECASTLE_ALERT_TARGETS": "secret-word"}, "entry 1: is no address"),
        ("", {"FORECASTLE_ALERT_TARGETS": "a=json://secret-word a=json://y"}, "there twice"),
        ("", {"FORECASTLE_ALERT_TARGETS": "a:bad=json://secret-word"}, "one of warn, error"),
    ],
)
def test_a_mistake_is_told_without_the_address(
    tmp_path: Path, text: str, environment: dict[str, str], says: str
) -> None:
    """Where it is and what to write instead; what stood there may be a password."""
    path = tmp_path / "alerts.yaml"
    path.write_text(text)
    with pytest.raises(StoreError) as refused:
        read_targets(path, environment)
    assert says.lower() in str(refused.value).lower()
    assert "secret-word" not in str(refused.value)
