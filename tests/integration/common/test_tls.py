from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import grpc
import pytest
import trustme

from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub
from services.common.server import running_server
from tests.integration.common.sample_service import SampleServicer, SampleSettings, application


def issue(authority: trustme.CA, folder: Path, name: str = "server") -> tuple[Path, Path]:
    """Write a certificate for localhost and its key, whole files at once."""
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    temporary = folder / "temporary"
    issued.private_key_pem.write_to_path(temporary)
    temporary.replace(key)
    temporary.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    temporary.replace(certificate)
    return certificate, key


def settings(certificate: Path, key: Path, client_ca: Path | None = None) -> SampleSettings:
    return SampleSettings(
        address="127.0.0.1:0",
        tls_certificate=certificate,
        tls_key=key,
        tls_client_ca=client_ca,
        shutdown_grace=0,
    )


async def ask(port: int, credentials: grpc.ChannelCredentials) -> None:
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        stub = DatasetServiceStub(channel)
        await stub.ListDatasets(messages.ListDatasetsRequest(), timeout=10)


def trusting(authority: trustme.CA) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(authority.cert_pem.bytes())


def presenting(authority: trustme.CA, own: trustme.LeafCert) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        authority.cert_pem.bytes(), own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes()
    )


async def test_calls_over_tls_and_none_without(tmp_path: Path) -> None:
    authority = trustme.CA()
    async with running_server(
        application(settings(*issue(authority, tmp_path)), SampleServicer())
    ) as server:
        await ask(server.port, trusting(authority))
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(server.port, trusting(trustme.CA()))
        async with grpc.aio.insecure_channel(server.address) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await DatasetServiceStub(channel).ListDatasets(
                    messages.ListDatasetsRequest(), timeout=10
                )


def served_serial(port: int, authority: trustme.CA) -> str:
    """Return the serial number of the certificate that a new connection is shown."""
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        shown = secured.getpeercert()
    assert shown
    return str(shown["serialNumber"])


async def test_renewed_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, key = issue(authority, tmp_path)
    async with running_server(application(settings(certificate, key), SampleServicer())) as server:
        first = await asyncio.to_thread(served_serial, server.port, authority)
        assert await asyncio.to_thread(served_serial, server.port, authority) == first
        issue(authority, tmp_path)
        second = await asyncio.to_thread(served_serial, server.port, authority)
        key.write_text("half a renewal")
        third = await asyncio.to_thread(served_serial, server.port, authority)

    assert second != first
    assert third == second


async def test_client_certificate_is_demanded_where_it_is_set(tmp_path: Path) -> None:
    authority, clients = trustme.CA(), trustme.CA()
    client_ca = tmp_path / "clients.pem"
    clients.cert_pem.write_to_path(client_ca)
    own = clients.issue_cert("client@example.org")
    stranger = trustme.CA().issue_cert("stranger@example.org")
    certificate, key = issue(authority, tmp_path)

    async with running_server(
        application(settings(certificate, key, client_ca), SampleServicer())
    ) as server:
        for refused in (trusting(authority), presenting(authority, stranger)):
            with pytest.raises(grpc.aio.AioRpcError):
                await ask(server.port, refused)
        await ask(server.port, presenting(authority, own))


async def test_files_that_do_not_fit_are_refused_at_the_start(tmp_path: Path) -> None:
    certificate, _ = issue(trustme.CA(), tmp_path, "one")
    _, key = issue(trustme.CA(), tmp_path, "two")

    with pytest.raises(ValueError, match="cannot be used for TLS"):
        async with running_server(application(settings(certificate, key), SampleServicer())):
            pass
