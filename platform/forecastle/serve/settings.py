"""What one service process is told: read once from the environment, at the edge.

Belongs here: the environment variables of serving, their defaults and limits.
Does not belong here: reading anything else from disk than whether a bundle is packed beside the library.

    FORECASTLE_SYSTEM   the one system served (default: the packed bundle's)
    FORECASTLE_HOME     folder of all state (default .forecastle)
    FORECASTLE_NOW      an instant; the clock replays from there (default: the system's clock)
    FORECASTLE_TOKEN    bearer token of at least 32 characters; unset: no token is asked
    FORECASTLE_WAIVE_TOKEN  1: other machines are answered without a token, since something in front checks callers
    FORECASTLE_ONLINE_URL  redis://… of the online store (default: a file in the home folder)
    FORECASTLE_LOG_URL  postgresql://… of the prediction log (default: a file in the home folder)
    FORECASTLE_LOG_LIMIT_BYTES  largest size of that file (default 64 GiB); beyond it nothing is predicted
    FORECASTLE_QUEUE_LIMIT_BYTES  largest size of each queue of pushed events and of the outcome log (default 16 GiB)
    FORECASTLE_WORKERS_STATE  file in which a parent says how its workers are (set by `forecastle serve`)
    FORECASTLE_SIGNING_KEY  bundles must be signed with it; FORECASTLE_TRUST=pickle opens pickles (learn/trust.py)
    FORECASTLE_HOSTS    comma-separated Host names that are answered; unset: all
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import forecastle
from forecastle.contract.clock import Clock, clock_from
from forecastle.contract.errors import ForecastleError
from forecastle.store.durable_file import DISK_LIMIT_BYTES as QUEUE_LIMIT_BYTES
from forecastle.store.durable_file import QUEUE_LIMIT, disk_limit
from forecastle.store.home import Home
from forecastle.store.online_stores import checked_url
from forecastle.store.prediction_log import DISK_LIMIT_BYTES, LOG_LIMIT

TOKEN_LENGTH_MIN: Final = 32
WAIVER: Final = "FORECASTLE_WAIVE_TOKEN"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a service process needs to know before its first request."""

    system: str
    home: Home
    packed: Path | None
    clock: Clock
    token: str | None = None
    is_token_waived: bool = False
    hosts: frozenset[str] | None = None
    online_url: str = field(default="", repr=False)
    log_url: str = field(default="", repr=False)
    log_limit_bytes: int = DISK_LIMIT_BYTES
    queue_limit_bytes: int = QUEUE_LIMIT_BYTES
    workers_state: Path | None = None
    body_limit_bytes: int = 1 << 20
    in_flight_limit: int = 512
    deadline_seconds: float = 0.9
    linger_seconds: float = 5.0
    rows_limit: int = 10_000
    rows_body_limit_bytes: int = 16 << 20
    rows_in_flight_limit: int = 8
    """Large bodies of rows at once, where no small ones are; small ones count as single requests do."""
    rows_deadline_seconds: float = 60.0
    poll_seconds: float = 0.5


def settings_from(environment: Mapping[str, str]) -> Settings:
    """Settings of the process with this environment.

    Raises:
        ForecastleError: no system is named or packed, the token is short, FORECASTLE_NOW is no instant, the online
            store's URL or a limit cannot be.
    """
    packed = packed_bundle()
    system = environment.get("FORECASTLE_SYSTEM") or (_system_of(packed) if packed else None)
    if not system:
        raise ForecastleError("no system to serve: set FORECASTLE_SYSTEM, or serve a Bento that holds a bundle")
    try:
        clock = clock_from(environment.get("FORECASTLE_NOW"))
    except ValueError as error:
        raise ForecastleError(f"FORECASTLE_NOW: {error}") from error
    hosts = [host.strip() for host in environment.get("FORECASTLE_HOSTS", "").split(",")]
    return Settings(
        system=system,
        home=Home(Path(environment.get("FORECASTLE_HOME") or ".forecastle").resolve()),
        packed=packed,
        clock=clock,
        token=checked_token(environment.get("FORECASTLE_TOKEN")),
        is_token_waived=_is_waived(environment.get(WAIVER, "")),
        hosts=frozenset(filter(None, hosts)) or None,
        online_url=checked_url(environment.get("FORECASTLE_ONLINE_URL", "")),
        log_url=environment.get("FORECASTLE_LOG_URL", ""),
        log_limit_bytes=disk_limit(environment.get(LOG_LIMIT, ""), variable=LOG_LIMIT, default=DISK_LIMIT_BYTES),
        queue_limit_bytes=disk_limit(environment.get(QUEUE_LIMIT, ""), variable=QUEUE_LIMIT, default=QUEUE_LIMIT_BYTES),
        workers_state=Path(state) if (state := environment.get("FORECASTLE_WORKERS_STATE")) else None,
    )


def packed_bundle() -> Path | None:
    """The bundle folder that stands beside the library in a Bento, if there is one."""
    folder = Path(forecastle.__file__).parent.parent / "bundle"
    return folder if (folder / "manifest.json").is_file() else None


def checked_token(token: str | None) -> str | None:
    """The token, if there is one and it is long enough.

    Raises:
        ForecastleError: it is shorter than `TOKEN_LENGTH_MIN`.
    """
    if token and len(token) < TOKEN_LENGTH_MIN:
        raise ForecastleError(
            f"FORECASTLE_TOKEN has {len(token)} characters; at least {TOKEN_LENGTH_MIN} are needed, "
            "for instance from `openssl rand -hex 32`"
        )
    return token or None


def _is_waived(word: str) -> bool:
    if word not in {"", "0", "1"}:
        raise ForecastleError(f"{WAIVER} is {word!r}; 1 waives the token, 0 or nothing does not")
    return word == "1"


def _system_of(folder: Path) -> str | None:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    system = manifest.get("system") if isinstance(manifest, dict) else None
    return system if isinstance(system, str) else None
