"""Writes that were signed for others, sent as anybody would: by a plain HTTP client."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import urllib3

from services.common.storage import Presigner, open_store, read_all
from services.common.storage.s3 import S3Store
from tests.engines import StoreServer

CREATED, EXISTS = 200, 412
REFUSED = {400, 403}
"""A header that is missing is a malformed request to one server and a wrong signature to others."""


@pytest.fixture(params=["minio", "seaweedfs"])
def server(request: pytest.FixtureRequest) -> StoreServer:
    server: StoreServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def store(server: StoreServer) -> S3Store:
    store = open_store(server.url("signed", secrets.token_hex(4)), server.options)
    assert isinstance(store, S3Store)
    return store


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False, timeout=20.0) as pool:
        yield pool


def put(http: urllib3.PoolManager, url: str, body: bytes, headers: Mapping[str, str]) -> int:
    return http.request("PUT", url, body=body, headers=dict(headers)).status


def test_a_signed_write_creates_once(store: S3Store, http: urllib3.PoolManager) -> None:
    signed = store.sign_create("a/b c+é", size=5, seconds=60)

    assert put(http, signed.url, b"first", signed.headers) == CREATED
    assert put(http, signed.url, b"other", signed.headers) == EXISTS

    assert read_all(store, "a/b c+é", limit=10) == b"first"


@pytest.mark.parametrize(
    "left_out", ["if-none-match", "content-length"], ids=["condition", "length"]
)
def test_what_is_signed_cannot_be_left_out(
    store: S3Store, http: urllib3.PoolManager, left_out: str
) -> None:
    store.create("a", b"first")
    signed = store.sign_create("a", size=5, seconds=60)
    body = b"other" if left_out != "content-length" else b"longer than was signed"
    headers = {name: value for name, value in signed.headers.items() if name != left_out}

    assert put(http, signed.url, body, headers) in REFUSED

    assert read_all(store, "a", limit=10) == b"first"


def test_clients_are_sent_where_they_reach_the_store(
    server: StoreServer, http: urllib3.PoolManager
) -> None:
    elsewhere = server.endpoint.replace("127.0.0.1", "localhost")
    options = replace(server.options, public_endpoint=elsewhere)
    store = open_store(server.url("signed", secrets.token_hex(4)), options)
    assert isinstance(store, S3Store)

    signed = store.sign_create("a", size=1, seconds=60)

    assert signed.url.startswith(f"{elsewhere}/")
    assert put(http, signed.url, b"x", signed.headers) == CREATED
    assert read_all(store, "a", limit=10) == b"x"


def test_a_directory_signs_nothing(tmp_path: Path) -> None:
    assert not isinstance(open_store(str(tmp_path)), Presigner)
