"""What an operator can set. One frozen class per service derives from these.

Every attribute's docstring is its documentation: `services.common.configuration` turns them
into `docs/configuration.md`.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import Field, FilePath, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.common.storage import StoreOptions

_MIB = 1024 * 1024

Seconds = Annotated[float, Field(ge=0)]
PositiveSeconds = Annotated[float, Field(gt=0)]


class ServiceSettings(BaseSettings):
    """What every service can be told."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        env_prefix="ISOGLOSS_",
        validate_default=True,
        hide_input_in_errors=True,
    )

    service: ClassVar[str] = "service"

    address: str = "127.0.0.1:0"
    """Host and port to listen on, such as `127.0.0.1:50051` or `[::]:50051`; port 0 takes any
    free one and logs it. Anything but loopback needs TLS and API keys, or `insecure`."""

    data_directory: Path = Path("isogloss-data")
    """Directory for whatever the service keeps on this machine: by default the object store and
    the database, always its caches and scratch files. Services of one machine may share it."""

    store: str = ""
    """The object store, the same for all services: a directory, `file:///directory`, or
    `s3://bucket/prefix?endpoint=https://host:port` for MinIO and other S3 servers (without
    `endpoint`: Amazon's). The bucket is made where it is missing. By default the directory
    `store` in `data_directory`, which serves one machine."""

    store_access_key: str = ""
    """Access key of the S3 store."""

    store_secret_key: SecretStr = SecretStr("")
    """Secret key of the S3 store."""

    store_region: str = "us-east-1"
    """Region of the bucket; servers other than Amazon's mostly take the default."""

    store_connect_timeout: PositiveSeconds = 5.0
    """Seconds for one connection to the S3 store to be made; five retries follow."""

    store_read_timeout: PositiveSeconds = 60.0
    """Seconds without a byte after which an answer of the S3 store counts as lost."""

    tls_certificate: FilePath | None = None
    """PEM file with the server's certificate chain. Read again when it changes: a renewed
    certificate needs no restart."""

    tls_key: FilePath | None = None
    """PEM file with the private key of `tls_certificate`."""

    tls_client_ca: FilePath | None = None
    """PEM file with the authorities that client certificates must come from. Where it is set,
    a client without a certificate is refused; API keys are still needed."""

    api_keys_file: FilePath | None = None
    """TOML file with one `[[keys]]` table per key: `sha256` (of the key, in hexadecimal),
    `tenant`, `role` (`admin`, `write` or `read`) and `name`. Read again when it changes. Without
    it every caller is admin of the tenant `default`."""

    trust_mesh: bool = False
    """The sidecar in front of this port has authenticated every caller and says who it is in
    the metadata `x-isogloss-tenant`, `x-isogloss-role` and `x-isogloss-name`, which it never lets
    through from outside. Needs a loopback address and excludes `api_keys_file`."""

    insecure: bool = False
    """Listen on any address without TLS or without API keys. Whoever reaches the port then reads
    and deletes everything: only for networks that are closed by other means."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe entries that are logged."""

    log_format: Literal["auto", "json", "console"] = "auto"
    """One JSON object per line, or lines for people; `auto` is `console` on a terminal."""

    metrics_address: str = ""
    """Host and port where Prometheus may scrape metrics, over HTTP at `/metrics`, such as
    `127.0.0.1:9464`; empty: nowhere. They tell counts and times, no texts, tenants or names.
    Anything but loopback needs `tls_certificate`, which then holds here as well, or `insecure`."""

    trace_endpoint: str = ""
    """Where spans of calls are sent, by OTLP over gRPC, such as `http://127.0.0.1:4317`; empty:
    nowhere. A call with a `traceparent` becomes a part of its caller's trace."""

    trace_share: float = Field(default=1.0, ge=0, le=1)
    """Share of the traces that begin here that is kept, 0 to 1. Those of callers are kept or not
    as their callers say."""

    shutdown_drain: Seconds = 0.0
    """Seconds between reporting NOT_SERVING and refusing new calls, after SIGTERM: as long as a
    load balancer needs to notice. 0 suits one machine, 5 to 10 Kubernetes."""

    shutdown_grace: Seconds = 20.0
    """Seconds that running calls have to end after SIGTERM; then they are cancelled. Kubernetes'
    `terminationGracePeriodSeconds` must be larger than this and `shutdown_drain` together."""

    stop_with_stdin: bool = False
    """Stop, as after SIGTERM, when standard input ends: whoever started the process and held a
    pipe to it is gone. `isogloss up` sets it; without standard input it stops at once."""

    reflection: bool = True
    """Whether tools such as grpcurl can ask the server for its contracts, without a key."""

    max_message_bytes: int = Field(default=16 * _MIB, ge=4 * _MIB, le=256 * _MIB)
    """Largest message that the server takes, in bytes. One call can hold this much memory."""

    @field_validator("address")
    @classmethod
    def _is_address(cls, address: str) -> str:
        split_address(address)
        return address

    @field_validator("metrics_address")
    @classmethod
    def _is_address_or_empty(cls, address: str) -> str:
        if address:
            split_address(address)
        return address

    @field_validator("trace_endpoint")
    @classmethod
    def _is_endpoint(cls, endpoint: str) -> str:
        if endpoint and not endpoint.startswith(("http://", "https://")):
            raise ValueError("expected http://host:port or https://host:port")
        return endpoint

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together: set both or neither")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key")
        host, _ = split_address(self.address)
        loopback = is_loopback(host)
        if self.trust_mesh and (not loopback or self.api_keys_file is not None):
            raise ValueError(
                "trust_mesh believes what the metadata says: it needs an address on loopback, "
                "which only the sidecar reaches, and excludes api_keys_file"
            )
        missing = [
            name for name in ("tls_certificate", "api_keys_file") if getattr(self, name) is None
        ]
        if not loopback and not self.insecure and missing:
            raise ValueError(
                f"address {self.address} can be reached from other machines: set "
                f"{' and '.join(missing)}, or listen on 127.0.0.1, or set insecure where the "
                "network is closed by other means"
            )
        if (
            self.metrics_address
            and not is_loopback(split_address(self.metrics_address)[0])
            and not self.insecure
            and self.tls_certificate is None
        ):
            raise ValueError(
                f"metrics_address {self.metrics_address} can be reached from other machines: set "
                "tls_certificate, or listen on 127.0.0.1, or set insecure where the network is "
                "closed by other means"
            )
        return self

    @property
    def store_url(self) -> str:
        """The object store, with the default filled in."""
        return self.store or str(self.data_directory.absolute() / "store")

    @property
    def store_options(self) -> StoreOptions:
        """What `open_store` needs beside the URL."""
        return StoreOptions(
            access_key=self.store_access_key,
            secret_key=self.store_secret_key.get_secret_value(),
            region=self.store_region,
            connect_timeout=self.store_connect_timeout,
            read_timeout=self.store_read_timeout,
        )


class DatabaseSettings(ServiceSettings):
    """What a service with a database can be told beside."""

    database: SecretStr = SecretStr("")
    """The service's own database: `postgresql://user:password@host/name`, or `sqlite:///file` on
    a local disk. Several replicas need PostgreSQL. By default an SQLite file named for the service
    in `data_directory`. The schema is brought up to date at the start."""

    @field_validator("database")
    @classmethod
    def _is_database(cls, database: SecretStr) -> SecretStr:
        url = database.get_secret_value()
        if url and not url.startswith(("postgresql://", "sqlite:///")):
            raise ValueError("expected postgresql://user:password@host/name or sqlite:///file")
        return database

    @property
    def database_url(self) -> str:
        """The database, with the default filled in."""
        default = f"sqlite:///{self.data_directory.absolute() / self.service}.sqlite"
        return self.database.get_secret_value() or default


S = TypeVar("S", bound=ServiceSettings)


def load(settings: type[S], argv: Sequence[str]) -> S:
    """Read secret files, then the environment, then the command line; the later wins.

    A secret file lies in the directory that ISOGLOSS_SECRETS_DIRECTORY names, is named as the
    variable that it stands for, and holds the value.

    Args:
        settings: The service's class.
        argv: Flags such as `--data-directory DIR` and `--insecure`, without the program.

    Raises:
        SystemExit: With status 2 and a plain list of what is wrong, or 0 after `--help`.
    """
    prefix = settings.model_config["env_prefix"]
    known = {f"{prefix}{name}".upper() for name in settings.model_fields}
    unknown = sorted(
        name for name in os.environ if name.upper().startswith(prefix) and name not in known
    )
    problems = [f"{name}: there is no such setting" for name in unknown]
    # The options of `BaseSettings.__init__`, which the synthesised signature hides.
    options: dict[str, Any] = {
        "_cli_parse_args": list(argv),
        "_cli_prog_name": f"isogloss serve {settings.service}",
        "_cli_kebab_case": True,
        "_cli_implicit_flags": True,
        "_cli_hide_none_type": True,
        "_cli_show_env_vars": True,
        "_secrets_dir": os.environ.get("ISOGLOSS_SECRETS_DIRECTORY"),
    }
    try:
        loaded = settings(**options)
    except ValidationError as error:
        problems += [_problem(settings, found["loc"], found["msg"]) for found in error.errors()]
    if problems:
        sys.stderr.write(f"The {settings.service} service cannot start:\n")
        sys.stderr.writelines(f"  {problem}\n" for problem in problems)
        raise SystemExit(2)
    return loaded


def _problem(settings: type[ServiceSettings], where: tuple[int | str, ...], message: str) -> str:
    """Name the setting as environment variable and flag; what spans several names them itself."""
    text = message.removeprefix("Value error, ")
    name = str(where[0]) if where else ""
    if name not in settings.model_fields:
        return f"{name}: {text}" if name else text
    variable = f"{settings.model_config['env_prefix']}{name}".upper()
    return f"{variable} (--{name.replace('_', '-')}): {text}"


def split_address(address: str) -> tuple[str, int]:
    """Split `host:port`; the brackets around an IPv6 host are removed.

    Raises:
        ValueError: Where it is not of that form.
    """
    host, separator, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if (
        not separator
        or not host
        or not (port.isascii() and port.isdigit() and int(port) < 1 << 16)
        or (":" in host and not bracketed)
    ):
        raise ValueError(f"{address!r} is no host:port such as 127.0.0.1:50051 or [::]:50051")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
