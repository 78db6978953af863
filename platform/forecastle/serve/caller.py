"""Who is answered: callers of this machine, those who know the token, under the host names that are ours.

Belongs here: the decision, from a request's head and the address that it reached.
Does not belong here: where the service listens (`runner.py`), reading heads (`application.py`).
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection
from functools import lru_cache
from typing import Final

from forecastle.serve.refusal import Refusal
from forecastle.serve.settings import Settings

LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
OPEN_ROUTES: Final = frozenset({"/livez", "/readyz"})


def check_caller(
    settings: Settings,
    *,
    path: str,
    host: bytes,
    origin: bytes,
    authorization: bytes,
    server: tuple[str, int | None] | None,
) -> None:
    """Nothing happens for a caller who is to be answered.

    Args:
        settings: the token, whether it is waived, host names.
        path: the path asked for; `OPEN_ROUTES` ask for no token.
        host: the header `Host`, empty where there is none, and `origin` and `authorization` likewise.
        origin: where the page is from that asks.
        authorization: `Bearer TOKEN`.
        server: the address that the connection reached, None where it is no network's.

    Raises:
        Refusal: to anybody else, and why.
    """
    hosts: Collection[str] | None = settings.hosts
    if settings.token is None and not settings.is_token_waived and server is not None:
        known = _hosts_without_token(path, server[0])
        hosts = hosts or known
    if hosts is not None and _host_name(host) not in hosts:
        raise Refusal("unknown_host", f"this service answers to {', '.join(sorted(hosts))}")
    if origin and origin.partition(b"://")[2] != host:
        raise Refusal("foreign_origin", "pages of another origin are not answered")
    if settings.token is not None and path not in OPEN_ROUTES:
        expected = b"Bearer " + settings.token.encode()
        if not hmac.compare_digest(authorization, expected):
            raise Refusal("unauthorized", "a bearer token is needed: Authorization: Bearer TOKEN")


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on that host."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _hosts_without_token(path: str, address: str) -> Collection[str] | None:
    """Names under which a caller without a token is answered, None for any, by the address that it reached.

    Not every server asks us where it may listen: BentoML's own binds every address.

    Raises:
        Refusal: the address is open to others, and the path is not.
    """
    if is_loopback(address):
        return LOOPBACK_HOSTS
    if path in OPEN_ROUTES:
        return None
    raise Refusal(
        "unauthorized",
        "without a token only this machine is answered: set FORECASTLE_TOKEN where the service runs, or "
        "FORECASTLE_WAIVE_TOKEN=1 because something in front checks callers",
    )


def _host_name(host: bytes) -> str:
    name = host.decode("latin-1")
    return name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
