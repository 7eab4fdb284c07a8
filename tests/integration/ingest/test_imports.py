"""Imports from a real bucket."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_pb2 import Dataset
from isogloss.v1.split_pb2 import SPLIT_TEST, SPLIT_TRAIN, Split
from services.common.storage import ObjectStore, open_store
from services.ingest.settings import IngestSettings
from tests.engines import StoreServer
from tests.integration.ingest.calls import details, verdict
from tests.integration.ingest.served import served, settings_on
from tests.messages import ROWS, as_csv

if TYPE_CHECKING:
    # Only the type stubs know it.
    from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub

SOURCES = "others-files"


@pytest.fixture
def bucket(minio: StoreServer) -> ObjectStore:
    return open_store(minio.url(SOURCES), minio.options)


@pytest.fixture
def key() -> str:
    return f"exports/{secrets.token_hex(4)} (1).csv"


def importing(minio: StoreServer, directory: Path, **settings: Any) -> IngestSettings:  # noqa: ANN401  # fields of IngestSettings
    return settings_on(minio, directory, import_buckets={SOURCES: {}}, **settings)


async def begin(
    stub: DatasetServiceAsyncStub,
    *sources: tuple[Split.ValueType, str],
    request_id: str = "",
) -> Dataset:
    return await stub.ImportDataset(
        messages.ImportDatasetRequest(
            dataset=Dataset(display_name="Tone"),
            sources=[messages.ImportSource(split=split, uri=uri) for split, uri in sources],
            request_id=request_id,
        )
    )


async def refused(
    stub: DatasetServiceAsyncStub, *sources: tuple[Split.ValueType, str]
) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await begin(stub, *sources)
    return raised.value


async def test_files_of_an_allowed_bucket_become_a_dataset_once(
    minio: StoreServer, bucket: ObjectStore, key: str, tmp_path: Path
) -> None:
    content = as_csv()
    bucket.put(key, content)
    source = (SPLIT_TRAIN, f"s3://{SOURCES}/{key}")
    async with served(importing(minio, tmp_path)) as stub:
        dataset = await begin(stub, source, request_id="once")
        ready = await verdict(stub, dataset.name)
        bucket.delete(key)
        again = await begin(stub, source, request_id="once")

    assert ready.state == Dataset.STATE_READY
    assert sum(size.row_count for size in ready.report.splits) == len(ROWS)
    assert again.name == dataset.name


async def test_what_cannot_be_imported_is_told_at_once(
    minio: StoreServer, bucket: ObjectStore, key: str, tmp_path: Path
) -> None:
    bucket.put(key, as_csv())
    bucket.put(f"{key}.empty", b"")
    there = (SPLIT_TRAIN, f"s3://{SOURCES}/{key}")
    settings = importing(minio, tmp_path, max_file_bytes=len(as_csv()) - 1)
    async with served(settings) as stub:
        foreign = await refused(stub, there, (SPLIT_TEST, "s3://somebody-elses/file.csv"))
        missing = await refused(
            stub,
            (SPLIT_TRAIN, f"s3://{SOURCES}/{key}.empty"),
            (SPLIT_TEST, f"s3://{SOURCES}/no/such.csv"),
        )
        wrong = await refused(stub, (SPLIT_TRAIN, "https://example.com/a.csv"), there, there)
        no_train = await refused(stub, (SPLIT_TEST, there[1]))
        large = await refused(stub, there)
        listed = await stub.ListDatasets(messages.ListDatasetsRequest())

    assert details(foreign)[0] == "STORE_UNSUITABLE"
    assert SOURCES in (foreign.details() or "")
    assert details(missing)[2] == ["sources[0].uri", "sources[1].uri"]
    assert details(wrong)[2] == ["sources[0].uri", "sources[2].uri"]
    assert details(no_train)[2] == ["sources"]
    assert details(large)[0] == "LIMIT_EXCEEDED"
    assert list(listed.datasets) == []


async def test_a_bucket_can_be_for_some_tenants_only(
    minio: StoreServer, bucket: ObjectStore, key: str, tmp_path: Path
) -> None:
    bucket.put(key, as_csv())
    settings = settings_on(minio, tmp_path, import_buckets={SOURCES: {"tenants": ["other"]}})
    async with served(settings) as stub:
        foreign = await refused(stub, (SPLIT_TRAIN, f"s3://{SOURCES}/{key}"))

    assert details(foreign)[0] == "STORE_UNSUITABLE"


async def test_an_import_goes_on_after_the_service_was_gone(
    minio: StoreServer, bucket: ObjectStore, key: str, tmp_path: Path
) -> None:
    bucket.put(key, as_csv() * 400)
    settings = importing(minio, tmp_path, lease_seconds=1)
    async with served(settings) as stub:
        dataset = await begin(stub, (SPLIT_TRAIN, f"s3://{SOURCES}/{key}"))
    async with served(settings) as stub:
        ready = await verdict(stub, dataset.name)

    assert ready.state == Dataset.STATE_READY
    (file,) = ready.report.files
    assert file.size_bytes == len(as_csv()) * 400


def test_the_store_itself_is_no_bucket_to_import_from(minio: StoreServer, tmp_path: Path) -> None:
    settings = settings_on(minio, tmp_path, import_buckets={"ingest": {}})

    with pytest.raises(ValueError, match="is the store itself"):
        settings.open_import_buckets()
    with pytest.raises(ValueError, match="needs an endpoint"):
        settings_on(None, tmp_path, import_buckets={"a": {}}).open_import_buckets()
