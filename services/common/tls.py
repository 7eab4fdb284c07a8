"""TLS from files that are renewed while the server runs."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path

import grpc
import structlog

_log = structlog.get_logger()


def server_credentials(
    *, certificate: Path, key: Path, client_ca: Path | None
) -> grpc.ServerCredentials:
    """Return credentials that follow their files.

    Args:
        certificate: PEM file with the certificate chain.
        key: PEM file with its private key.
        client_ca: PEM file with the authorities of client certificates, which are then demanded.

    Raises:
        ValueError: Where the files are not what they should be, or do not fit together.
    """
    files = _Files(certificate=certificate, key=key, client_ca=client_ca)
    return grpc.dynamic_ssl_server_credentials(
        files.read(),
        files.renewed,  # type: ignore[arg-type]  # None keeps what is used; the stubs forget it
        require_client_authentication=client_ca is not None,
    )


class _Files:
    """The files of one server, and which version of them it uses."""

    def __init__(self, *, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        self._lock = threading.Lock()
        self._used: tuple[tuple[int, int], ...] = ()

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Read and check the files as they are."""
        version = self._version()
        # gRPC takes any bytes and then fails every handshake, so a pair is tried here first.
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate, self._key)
            if self._client_ca is not None:
                context.load_verify_locations(self._client_ca)
        except ssl.SSLError as error:
            names = ", ".join(str(path) for path in self._paths())
            raise ValueError(f"{names} cannot be used for TLS: {error.reason}") from error
        authorities = None if self._client_ca is None else self._client_ca.read_bytes()
        configuration = grpc.ssl_server_certificate_configuration(
            [(self._key.read_bytes(), self._certificate.read_bytes())],
            root_certificates=authorities,
        )
        self._used = version
        return configuration

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return a new configuration where the files changed; called in every handshake."""
        with self._lock:
            try:
                if self._version() == self._used:
                    return None
                configuration = self.read()
            except (OSError, ValueError) as error:
                # Half of a pair is renewed, or it is broken: the next handshake looks again.
                _log.warning("tls_files_not_read", error=str(error))
                return None
            _log.info("tls_files_read")
            return configuration

    def _paths(self) -> list[Path]:
        paths = [self._certificate, self._key]
        return paths if self._client_ca is None else [*paths, self._client_ca]

    def _version(self) -> tuple[tuple[int, int], ...]:
        stats = [path.stat() for path in self._paths()]
        return tuple((stat.st_mtime_ns, stat.st_ino) for stat in stats)
