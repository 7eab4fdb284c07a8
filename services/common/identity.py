"""Who calls, and what they may do. Must not know any service's methods.

Default deny: a method that a service's table does not name is refused to everybody.
"""

from __future__ import annotations

import contextvars
import hashlib
import hmac
import re
import threading
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol

import structlog

from services.common.errors import PermissionDenied, Reason, Unauthenticated

_log = structlog.get_logger()

_TENANT = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""A tenant is a segment of every key: nothing that could leave it, nor `_shared`."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SCHEME = "bearer "


class Role(IntEnum):
    """What a caller may do; each includes those before it."""

    READ = 1
    """Look, embed and classify."""

    WRITE = 2
    """Create, change and delete."""

    ADMIN = 3
    """Whatever concerns the tenant as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A caller."""

    tenant: str
    """Whose data it sees; the first segment of every key."""

    role: Role
    name: str
    """For people and logs."""


class Authenticator(Protocol):
    """Says who calls."""

    def authenticate(self, metadata: Mapping[str, str]) -> Principal:
        """Return the caller.

        Args:
            metadata: The call's, text values only, keys in lower case.

        Raises:
            Unauthenticated: Where that cannot be told.
        """
        ...


class Anyone:
    """Lets every caller be admin of `default`: for loopback, where there are no keys."""

    def authenticate(self, metadata: Mapping[str, str]) -> Principal:  # noqa: ARG002 - the Protocol's
        """Return the one principal there is."""
        return Principal(tenant="default", role=Role.ADMIN, name="anyone")


class Mesh:
    """Believes what the sidecar says; the port must be reachable for the sidecar only."""

    def authenticate(self, metadata: Mapping[str, str]) -> Principal:
        """Return who the sidecar says calls.

        Raises:
            Unauthenticated: Where it says nothing, or what cannot be.
        """
        try:
            return _principal(
                tenant=metadata["x-isogloss-tenant"],
                role=metadata["x-isogloss-role"],
                name=metadata.get("x-isogloss-name", "mesh"),
            )
        except (KeyError, ValueError):
            raise Unauthenticated(
                "The sidecar did not say who calls: it must set x-isogloss-tenant and "
                "x-isogloss-role (admin, write or read)."
            ) from None


class KeyFile:
    """Knows callers by API keys from a TOML file, read again when it changes.

    Args:
        path: The file: one `[[keys]]` table per key, with `sha256`, `tenant`, `role`, `name`.

    Raises:
        ValueError: Where the file is not of that form. A later change that is not leaves the
            keys as they were and is logged.
    """

    def __init__(self, path: Path) -> None:
        """Read the file."""
        self._path = path
        self._lock = threading.Lock()
        self._version = _version(path)
        self._keys = read_keys(path)

    def authenticate(self, metadata: Mapping[str, str]) -> Principal:
        """Return the caller whose key is in `authorization: Bearer KEY`.

        Raises:
            Unauthenticated: Without a key, or with one that the file does not hold.
        """
        header = metadata.get("authorization", "")
        if not header:
            raise Unauthenticated(
                "An API key is needed: send the metadata authorization: Bearer KEY."
            )
        if header[: len(_SCHEME)].lower() != _SCHEME:
            raise Unauthenticated(
                "The metadata authorization must be of the form: Bearer KEY.",
                reason=Reason.CREDENTIALS_INVALID,
            )
        digest = hashlib.sha256(header[len(_SCHEME) :].strip().encode()).digest()
        found = None
        # All are compared, each in constant time: how long it takes tells nothing.
        for key, principal in self._current():
            if hmac.compare_digest(key, digest):
                found = principal
        if found is None:
            raise Unauthenticated(
                "The API key is not known to this server: ask its operator for a valid one.",
                reason=Reason.CREDENTIALS_INVALID,
            )
        return found

    def _current(self) -> tuple[tuple[bytes, Principal], ...]:
        with self._lock:
            try:
                version = _version(self._path)
                if version != self._version:
                    self._version = version
                    self._keys = read_keys(self._path)
                    _log.info("api_keys_read", count=len(self._keys))
            except (OSError, ValueError) as error:
                _log.error("api_keys_not_read", error=str(error))
            return self._keys


def read_keys(path: Path) -> tuple[tuple[bytes, Principal], ...]:
    """Read an API-key file.

    Returns:
        Pairs of a key's sha256 and its caller.

    Raises:
        ValueError: Where it is not of the form that `KeyFile` says; names the entry.
    """
    try:
        content = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from error
    entries = content.pop("keys", [])
    if content or not isinstance(entries, list):
        raise ValueError(f"{path}: expected [[keys]] tables and nothing else")
    keys = tuple(_key(entry, f"{path}: keys[{number}]") for number, entry in enumerate(entries))
    if len({digest for digest, _ in keys}) != len(keys):
        raise ValueError(f"{path}: the same sha256 stands in it twice")
    return keys


def _key(entry: Any, where: str) -> tuple[bytes, Principal]:  # noqa: ANN401 - read from a file
    fields = {"sha256", "tenant", "role", "name"}
    if not isinstance(entry, dict) or set(entry) != fields:
        raise ValueError(f"{where}: expected the fields {', '.join(sorted(fields))}")
    if not all(isinstance(value, str) for value in entry.values()):
        raise ValueError(f"{where}: every field is text")
    if not _SHA256.fullmatch(entry["sha256"].lower()):
        raise ValueError(f"{where}: sha256 must be 64 hexadecimal digits, as `sha256sum` prints")
    try:
        principal = _principal(tenant=entry["tenant"], role=entry["role"], name=entry["name"])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return bytes.fromhex(entry["sha256"]), principal


def _principal(*, tenant: str, role: str, name: str) -> Principal:
    if not _TENANT.fullmatch(tenant):
        raise ValueError(
            f"tenant {tenant!r} must be 1 to 63 lower-case letters, digits and inner hyphens"
        )
    if role.upper() not in Role.__members__:
        raise ValueError(f"role {role!r} is none of {', '.join(Role.__members__).lower()}")
    return Principal(tenant=tenant, role=Role[role.upper()], name=name)


def _version(path: Path) -> tuple[int, int, int]:
    """Return what changes when the file does, also by a rename within a clock's tick."""
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


def authorize(principal: Principal, method: str, roles: Mapping[str, Role]) -> None:
    """See that the table names the method and the caller's role reaches it.

    Args:
        principal: Who calls.
        method: Full name, `/package.Service/Method`.
        roles: The least role of each method.

    Raises:
        PermissionDenied: Where it does not.
    """
    needed = roles.get(method)
    if needed is None:
        raise PermissionDenied(f"{method} is open to nobody.", metadata={"method": method})
    if principal.role < needed:
        raise PermissionDenied(
            f"{method} needs the role {needed.name.lower()}; this key has "
            f"{principal.role.name.lower()}: use a key of that role.",
            metadata={
                "method": method,
                "required_role": needed.name.lower(),
                "role": principal.role.name.lower(),
            },
        )


_current: contextvars.ContextVar[Principal] = contextvars.ContextVar("isogloss_principal")


def current_principal() -> Principal:
    """Return who makes the current call.

    Raises:
        LookupError: Outside of a call.
    """
    return _current.get()


def bind_principal(principal: Principal) -> None:
    """Let `principal` be the caller for the rest of the current context."""
    _current.set(principal)
