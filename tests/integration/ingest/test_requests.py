"""Requests that no client of ours sends."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING

import grpc
import pytest

from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_pb2 import Dataset
from isogloss.v1.split_pb2 import SPLIT_TRAIN
from tests.integration.ingest.calls import create, details, upload
from tests.messages import as_csv

if TYPE_CHECKING:
    # Only the type stubs know it.
    from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub


def token(scope: tuple[str, ...], *cursor: object) -> str:
    """Return a page token as somebody makes it up who has read how they are made."""
    checksum = hashlib.sha256(json.dumps(list(scope)).encode()).hexdigest()[:16]
    content = json.dumps([checksum, *cursor]).encode()
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        ("yesterday", "tone-abcdef"),
        ("2026-01-01T00:00:00", "tone-abcdef"),
        ("0001-01-01T00:00:00+23:00", "tone-abcdef"),
        ("2026-01-01T00:00:00+00:00",),
        ("2026-01-01T00:00:00+00:00", "tone", "more"),
        ("2026-01-01T00:00:00+00:00", "\x00"),
        (5, 5),
    ],
)
async def test_a_made_up_token_of_a_list_is_refused(
    stub: DatasetServiceAsyncStub, cursor: tuple[object, ...]
) -> None:
    made_up = token(("ListDatasets", "default", ""), *cursor)

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.ListDatasets(messages.ListDatasetsRequest(page_token=made_up))

    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(raised.value)[2] == ["page_token"]


async def test_a_made_up_token_of_findings_is_refused(stub: DatasetServiceAsyncStub) -> None:
    dataset = await upload(stub, {SPLIT_TRAIN: as_csv()})
    scope = ("ListFindings", "default", dataset.name.removeprefix("datasets/"), "0")
    for cursor in (("x",), (10**30,), (-1,), (1, 2)):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.ListFindings(
                messages.ListFindingsRequest(parent=dataset.name, page_token=token(scope, *cursor))
            )
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert details(raised.value)[2] == ["page_token"]


async def test_a_stream_without_a_message_names_what_is_missing(
    stub: DatasetServiceAsyncStub,
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.WriteDataset(iter(()))

    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(raised.value)[2] == ["name", "split"]


async def test_a_negative_size_is_refused(stub: DatasetServiceAsyncStub) -> None:
    dataset = await create(stub)
    checksum = messages.UploadChecksum(split=SPLIT_TRAIN, size_bytes=-5)

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.FinalizeDataset(
            messages.FinalizeDatasetRequest(name=dataset.name, checksums=[checksum])
        )

    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(raised.value)[2] == ["checksums[0].size_bytes"]


@pytest.mark.parametrize("validate_only", [False, True])
async def test_the_request_id_is_checked_however_the_call_is_meant(
    stub: DatasetServiceAsyncStub, *, validate_only: bool
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.CreateDataset(
            messages.CreateDatasetRequest(
                dataset=Dataset(display_name="Tone"),
                request_id="x" * 65,
                validate_only=validate_only,
            )
        )

    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(raised.value)[2] == ["request_id"]
