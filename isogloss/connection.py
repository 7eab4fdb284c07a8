"""Where the services are and how to get in: addresses, TLS, the key, channel options.

Knows nothing of what is called there.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Literal, TypedDict

import grpc

from isogloss.errors import ConfigurationError

Service = Literal["ingest", "trainer", "inference"]

DEFAULT_ADDRESSES: Mapping[Service, str] = {
    "ingest": "localhost:50051",
    "trainer": "localhost:50052",
    "inference": "localhost:50053",
}

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Servers answer at most 4 MiB and take at most this much in one message."""

CHANNEL_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.service_config", files("isogloss").joinpath("service_config.json").read_text()),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Finds a dead peer in 60 s + 20 s while a stream is open. Servers refuse pings that come
    # more often than once a minute.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # A service that restarts is found again within seconds, not within two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


class ConnectionOptions(TypedDict, total=False):
    """What `Client` and `AsyncClient` take; all of it is optional."""

    ingest: str
    trainer: str
    inference: str
    api_key: str
    tls: bool
    tls_ca: str | os.PathLike[str]
    tls_certificate: str | os.PathLike[str]
    tls_key: str | os.PathLike[str]
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One service's address and whether it is spoken to over TLS."""

    target: str
    """What gRPC dials, such as `localhost:50051` or `dns:///models.example.com:443`."""

    tls: bool

    @property
    def loopback(self) -> bool:
        """Whether it cannot leave this machine."""
        if self.target.startswith(("unix:", "unix-abstract:")):
            return True
        host = self.target.rsplit("/", 1)[-1].rsplit(":", 1)[0].strip("[]")
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Everything that opening channels needs, checked."""

    endpoints: Mapping[Service, Endpoint]
    api_key: str = field(default="", repr=False)
    ca: bytes | None = field(default=None, repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)
    timeout: float = 30.0
    """Seconds that a call may take where the caller does not say."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What is sent with each call."""
        return (("authorization", f"Bearer {self.api_key}"),) if self.api_key else ()

    def credentials(self) -> grpc.ChannelCredentials:
        """Make what a TLS channel needs."""
        return grpc.ssl_channel_credentials(
            root_certificates=self.ca, private_key=self.key, certificate_chain=self.certificate
        )


def resolve(options: ConnectionOptions, environ: Mapping[str, str] = os.environ) -> Connection:
    """Fill in what is not given from the environment and the defaults, and check it all.

    Args:
        options: What the caller gave; see `Client`.
        environ: Read are ISOGLOSS_INGEST, ISOGLOSS_TRAINER, ISOGLOSS_INFERENCE,
            ISOGLOSS_API_KEY, ISOGLOSS_TLS_CA, ISOGLOSS_TLS_CERTIFICATE and ISOGLOSS_TLS_KEY.

    Raises:
        ConfigurationError: An address cannot be read, a file is not there, or a key would
            leave this machine unencrypted.
    """
    ca = options.get("tls_ca") or environ.get("ISOGLOSS_TLS_CA")
    tls = options.get("tls", ca is not None)
    given: dict[Service, str | None] = {
        "ingest": options.get("ingest") or environ.get("ISOGLOSS_INGEST"),
        "trainer": options.get("trainer") or environ.get("ISOGLOSS_TRAINER"),
        "inference": options.get("inference") or environ.get("ISOGLOSS_INFERENCE"),
    }
    endpoints = {
        service: parse_address(given[service] or default, tls=tls)
        for service, default in DEFAULT_ADDRESSES.items()
    }
    api_key = options.get("api_key") or environ.get("ISOGLOSS_API_KEY", "")
    exposed = [e.target for e in endpoints.values() if not e.tls and not e.loopback]
    if api_key and exposed:
        raise ConfigurationError(
            f"The API key would travel unencrypted to {', '.join(exposed)}. Use TLS: write the "
            "address as https://HOST:PORT, and name the authority's file with tls_ca or "
            "ISOGLOSS_TLS_CA where it is not a public one."
        )
    certificate = options.get("tls_certificate") or environ.get("ISOGLOSS_TLS_CERTIFICATE")
    key = options.get("tls_key") or environ.get("ISOGLOSS_TLS_KEY")
    if bool(certificate) != bool(key):
        raise ConfigurationError(
            "A client certificate needs both files: tls_certificate and tls_key."
        )
    return Connection(
        endpoints=endpoints,
        api_key=api_key,
        ca=_read(ca),
        certificate=_read(certificate),
        key=_read(key),
        timeout=options.get("timeout", 30.0),
    )


def parse_address(text: str, *, tls: bool) -> Endpoint:
    """Read `HOST:PORT`, with `https://` or `http://` before it where that is to decide on TLS.

    Args:
        text: The address; gRPC's own forms (`dns:///`, `unix:`) are taken as they are.
        tls: Whether to use TLS where the address does not say.

    Raises:
        ConfigurationError: There is no port, or a path follows it.
    """
    scheme, separator, rest = text.partition("://")
    if separator and scheme in {"http", "https"}:
        text, tls = rest.rstrip("/"), scheme == "https"
    if text.startswith(("unix:", "unix-abstract:", "dns:", "ipv4:", "ipv6:", "xds:")):
        return Endpoint(target=text, tls=tls)
    _, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise ConfigurationError(
            f"The address {text!r} cannot be used: write HOST:PORT, such as localhost:50051."
        )
    return Endpoint(target=text, tls=tls)


def _read(path: str | os.PathLike[str] | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"The TLS file {os.fspath(path)} cannot be read: {error.strerror}."
        ) from error
