"""Who is told of alerts: named Apprise addresses, from the environment and from a file in the home folder.

Belongs here: reading and checking that configuration; an address is a secret and shows nowhere, not even in errors.
Does not belong here: sending (`delivery.py`), what each has yet to be told (`outbox.py`).
Addresses: https://github.com/caronc/apprise/wiki
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import yaml

from forecastle.alert.alerts import QUIET_PERIOD, Severity
from forecastle.contract.errors import StoreError, did_you_mean
from forecastle.contract.types import parse_duration

TARGETS_VARIABLE: Final = "FORECASTLE_ALERT_TARGETS"
_ENTRY: Final = re.compile(r"(?:(?P<name>[A-Za-z][\w-]*)(?::(?P<least>\w+))?=)?(?P<url>[A-Za-z][A-Za-z0-9+.-]*://\S+)")
_KEYS: Final = ("url", "least", "systems")
_FILE_KEYS: Final = ("targets", "quiet_period")
_LEAST: Final[tuple[Severity, ...]] = ("warn", "error")


@dataclass(frozen=True, slots=True)
class AlertTarget:
    """One address: told of alerts of at least severity `least`, of all systems or of those named."""

    name: str
    url: str = field(repr=False)
    least: Severity = "warn"
    systems: frozenset[str] = frozenset()

    @property
    def severities(self) -> tuple[Severity, ...]:
        """Severities that it is told of."""
        return _LEAST[_LEAST.index(self.least) :]


@dataclass(frozen=True, slots=True)
class AlertTargets:
    """Every target, and how long an open incident is not told again."""

    targets: tuple[AlertTarget, ...] = ()
    quiet_period: timedelta = QUIET_PERIOD


def read_targets(path: Path, environment: Mapping[str, str]) -> AlertTargets:
    """Targets of `alerts.yaml` at `path` (no file is no target) and of FORECASTLE_ALERT_TARGETS.

    The file maps names to addresses: `targets: {desk: {url: {env: DESK_URL}, least: error, systems: [churn]}}` and
    `quiet_period: 24h`. The variable holds addresses between spaces, each with a name and a least severity before it
    where wanted: `pager:error=pagerduty://…`.

    Raises:
        StoreError: something in them is not understood, or a name is there twice; no address is in the message.
    """
    data = _file(path)
    quiet_period = _quiet_period(data.get("quiet_period"), str(path))
    entries = data.get("targets") or {}
    if not isinstance(entries, dict):
        raise StoreError(f"{path}: targets is no mapping; write a name and its url for each")
    found = [_target(str(name), entry, environment, where=f"{path}: {name}") for name, entry in entries.items()]
    found += _of_variable(environment.get(TARGETS_VARIABLE, ""))
    names = [target.name for target in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise StoreError(f"the alert target {twice[0]} is there twice ({path} and {TARGETS_VARIABLE}); rename one")
    return AlertTargets(tuple(found), quiet_period)


def _file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        # The parser's message quotes the line, which may hold an address.
        raise StoreError(f"{path} cannot be read as YAML; write targets: {{NAME: {{url: …}}}}") from None
    if not isinstance(data, dict):
        raise StoreError(f"{path} is no mapping; write targets: {{NAME: {{url: …}}}}")
    _known(data, _FILE_KEYS, where=str(path))
    return data


def _target(name: str, entry: Any, environment: Mapping[str, str], *, where: str) -> AlertTarget:
    if not isinstance(entry, dict) or "url" not in entry:
        raise StoreError(f"{where}: has no url; write {{url: …}} or {{url: {{env: NAME}}}}")
    _known(entry, _KEYS, where=where)
    systems = entry.get("systems") or []
    if not isinstance(systems, list):
        raise StoreError(f"{where}: systems is no list; write [NAME, …], or leave it out for all")
    least = _least(str(entry.get("least", "warn")), where=where)
    return AlertTarget(name, _url(entry["url"], environment, where=where), least, frozenset(map(str, systems)))


def _url(value: Any, environment: Mapping[str, str], *, where: str) -> str:
    if isinstance(value, dict) and set(value) == {"env"}:
        variable = str(value["env"])
        if not environment.get(variable):
            raise StoreError(f"{where}: the environment variable {variable} is not set; it holds the address")
        value = environment[variable]
    if not isinstance(value, str) or not _ENTRY.fullmatch(value):
        raise StoreError(f"{where}: url is no address; write one that Apprise knows, such as slack://… or json://…")
    return value


def _of_variable(text: str) -> list[AlertTarget]:
    found = []
    for number, entry in enumerate(text.split(), start=1):
        where = f"{TARGETS_VARIABLE}, entry {number}"
        parts = _ENTRY.fullmatch(entry)
        if parts is None:
            raise StoreError(f"{where}: is no address; write NAME=ADDRESS or NAME:error=ADDRESS, spaces between them")
        scheme = parts["url"].partition("://")[0].lower()
        least = _least(parts["least"] or "warn", where=where)
        found.append(AlertTarget(parts["name"] or f"{scheme}-{number}", parts["url"], least))
    return found


def _least(text: str, *, where: str) -> Severity:
    for severity in _LEAST:
        if text == severity:
            return severity
    raise StoreError(f"{where}: the least severity is {text!r}; it is one of {', '.join(_LEAST)}")


def _quiet_period(value: Any, where: str) -> timedelta:
    if value is None:
        return QUIET_PERIOD
    try:
        return parse_duration(value)
    except ValueError:
        raise StoreError(f"{where}: quiet_period is {value!r}; write a time such as 24h") from None


def _known(data: Mapping[str, Any], allowed: tuple[str, ...], *, where: str) -> None:
    for key in data:
        if key not in allowed:
            raise StoreError(f"{where}: the key {key!r} is unknown; {did_you_mean(str(key), allowed)}")
