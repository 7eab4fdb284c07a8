"""Where webhooks may go: https, and hosts that the operator named. Pure.

A caller who could name any address would have this server knock at doors inside its network.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from services.common.errors import FieldViolation
from services.common.settings import is_loopback

_LONGEST = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The hosts that callers may name, and what the operator names."""

    hosts: frozenset[str] = frozenset()
    """`host` for its port 443, or `host:port`; in lower case."""

    uris: frozenset[str] = frozenset()
    """Where the end of every model is told."""

    def check(self, uri: str, *, field: str) -> list[FieldViolation]:
        """Return what is wrong with an address of a caller's; an empty one is right."""
        if not uri:
            return []
        problem = fault(uri)
        if problem is None and not self._has_host(uri):
            allowed = ", ".join(sorted(self.hosts)) or "none"
            problem = (
                f"names a host that this server does not send to; it sends to: {allowed}. The "
                "operator adds hosts with webhook_hosts."
            )
        return [] if problem is None else [FieldViolation(field=field, description=problem)]

    def takes(self, uri: str) -> bool:
        """Tell whether a message may go there now: settings change while messages wait."""
        return uri in self.uris or (fault(uri) is None and self._has_host(uri))

    def _has_host(self, uri: str) -> bool:
        return _place(urlsplit(uri)) in self.hosts


def fault(uri: str) -> str | None:
    """Return what is wrong with the form of an address, or None where nothing is."""
    if len(uri) > _LONGEST or not uri.isascii() or not uri.isprintable() or " " in uri:
        return f"takes at most {_LONGEST} printable ASCII characters without a space."
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no address such as https://host/path."
    if not host or parts.username is not None or parts.password is not None or parts.fragment:
        return "must be like https://host/path, without a user, a password or a fragment."
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        return "must begin with https://; http:// is for loopback only."
    return None


def known_hosts(uris: Iterable[str]) -> frozenset[str]:
    """Return `host` or `host:port` in lower case, as the operator wrote them."""
    return frozenset(host.strip().lower() for host in uris)


def _place(parts: SplitResult) -> str:
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return shown if port == 443 else f"{shown}:{port}"  # noqa: PLR2004 (the port of https)
