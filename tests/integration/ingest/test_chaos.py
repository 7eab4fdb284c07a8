"""A real service on a real MinIO, either of them killed or stopped at random moments.

`CHAOS_ROUNDS` says how often (4), `CHAOS_SECONDS` for how long the store is away (2), and
`CHAOS_SEED` makes a run that failed happen again as nearly as time allows.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from isogloss.storage.v1.dataset_manifest_pb2 import DatasetManifest
from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_pb2 import Dataset, DatasetOptions
from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub
from isogloss.v1.split_pb2 import SPLIT_TRAIN
from services.common.manifests import read_manifest
from services.common.storage import ObjectStore, open_store
from tests.engines import MinioProcess
from tests.integration.ingest.calls import verdict, write
from tests.integration.ingest.processes import IngestProcess

if TYPE_CHECKING:
    # Only the type stubs know it.
    from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "4"))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "2"))
SEED = int(os.environ.get("CHAOS_SEED", secrets.randbits(32)))

ROWS = 20_000
CONTENT = b"".join(
    b"Message number %d is %s,%s\n" % (n, *((b"fine", b"good") if n % 2 else (b"late", b"bad")))
    for n in range(ROWS)
)
SOURCES = "others-files"

PATIENCE = 60.0
"""Seconds for everything to be well again."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 + ROUNDS * 30 + SECONDS * 4)]


@dataclass(slots=True, kw_only=True)
class Suite:
    """A service, its store, and where both are kept."""

    minio: MinioProcess
    url: str
    directory: Path
    ingest: IngestProcess = field(init=False)

    def start(self) -> None:
        server = self.minio.server
        self.ingest = IngestProcess(
            self.directory,
            *("--store", self.url),
            *("--store-access-key", server.access_key),
            *("--store-secret-key", server.secret_key),
            *("--upload-part-bytes", str(64 << 10)),
            *("--import-buckets", json.dumps({SOURCES: {}})),
            # Whatever is an orphan for a moment only would be lost.
            *("--orphan-grace-hours", "0"),
            *("--sweep-seconds", "0.3"),
        )

    def store(self) -> ObjectStore:
        return open_store(self.url, self.minio.server.options)

    @asynccontextmanager
    async def stub(self) -> AsyncIterator[DatasetServiceAsyncStub]:
        async with grpc.aio.insecure_channel(self.ingest.address) as channel:
            yield DatasetServiceStub(channel)

    async def advance(self, request_id: str) -> Dataset:
        """Go on with an upload from wherever it is, to the verdict."""
        async with self.stub() as stub:
            created = await stub.CreateDataset(
                messages.CreateDatasetRequest(
                    dataset=Dataset(
                        display_name="Chaos",
                        options=DatasetOptions(near_duplicates=DatasetOptions.NEAR_DUPLICATES_OFF),
                    ),
                    request_id=request_id,
                )
            )
            dataset = await stub.GetDataset(messages.GetDatasetRequest(name=created.name))
            if dataset.state == Dataset.STATE_UPLOADING:
                offset = sum(upload.committed_size for upload in dataset.uploads)
                await write(stub, dataset.name, CONTENT[offset:], offset=offset)
                await stub.FinalizeDataset(messages.FinalizeDatasetRequest(name=dataset.name))
            return await verdict(stub, dataset.name)

    async def finish(self, request_id: str) -> Dataset:
        """Try as a patient client does."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return await self.advance(request_id)
            except grpc.aio.AioRpcError as error:
                passing = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OUT_OF_RANGE}
                if error.code() not in passing or time.monotonic() > end:
                    raise
                await asyncio.sleep(0.2)


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[Suite]:
    minio = MinioProcess(tmp_path)
    try:
        suite = Suite(minio=minio, url=minio.server.url("chaos"), directory=tmp_path)
        suite.start()
        yield suite
        suite.ingest.end(signal.SIGKILL)
    finally:
        minio.stop()


def is_whole(dataset: Dataset) -> bool:
    rows = sum(size.row_count for size in dataset.report.splits)
    return dataset.state == Dataset.STATE_READY and rows == ROWS


def named_objects(store: ObjectStore) -> set[str]:
    """Return every manifest and what it names, having seen that it is all there."""
    sizes = {info.key: info.size for info in store.list("")}
    named: set[str] = set()
    for key in sizes:
        if key.endswith("/dataset.json"):
            manifest = read_manifest(store, key, DatasetManifest)
            files = [manifest.findings, *(split.file for split in manifest.splits)]
            assert {file.key: file.size for file in files}.items() <= sizes.items()
            assert sum(split.row_count for split in manifest.splits) == ROWS
            named |= {key, *(file.key for file in files)}
    return named


async def no_orphans(store: ObjectStore) -> bool:
    """Wait for the sweep; tell whether it left nothing but what manifests name."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if {info.key for info in store.list("")} == named_objects(store):
            return True
        await asyncio.sleep(0.2)
    return False


async def test_kill_9_at_any_moment_loses_nothing_and_leaves_nothing(suite: Suite) -> None:
    moments = random.Random(SEED)  # noqa: S311  # no secret
    store = suite.store()
    began = time.monotonic()
    assert is_whole(await suite.finish("undisturbed"))
    usual = time.monotonic() - began
    killed_in: list[Dataset.State.ValueType] = []
    for number in range(ROUNDS):
        running = asyncio.create_task(suite.advance(str(number)))
        await asyncio.sleep(moments.uniform(0, usual))
        suite.ingest.end(signal.SIGKILL)
        await asyncio.wait({running})
        running.exception()
        named_objects(store)

        suite.start()
        async with suite.stub() as stub:
            seen = await stub.ListDatasets(messages.ListDatasetsRequest())
        killed_in += [each.state for each in seen.datasets if each.state != Dataset.STATE_READY]
        assert all(is_whole(each) for each in seen.datasets if each.state not in UNFINISHED), SEED
        assert is_whole(await suite.finish(str(number))), SEED

    print(f"seed {SEED}: killed in {[Dataset.State.Name(state) for state in killed_in]}")  # noqa: T201  # for who runs many
    assert await no_orphans(store), SEED
    assert len([key for key in named_objects(store) if key.endswith("dataset.json")]) == ROUNDS + 1


async def test_kill_9_in_the_middle_of_an_import_goes_on_where_it_was(suite: Suite) -> None:
    open_store(suite.minio.server.url(SOURCES), suite.minio.server.options).put("a.csv", CONTENT)
    request = messages.ImportDatasetRequest(
        dataset=Dataset(
            display_name="Chaos",
            options=DatasetOptions(near_duplicates=DatasetOptions.NEAR_DUPLICATES_OFF),
        ),
        sources=[messages.ImportSource(split=SPLIT_TRAIN, uri=f"s3://{SOURCES}/a.csv")],
    )
    async with suite.stub() as stub:
        dataset = await stub.ImportDataset(request)
        while dataset.state == Dataset.STATE_UPLOADING and not dataset.uploads:
            dataset = await stub.GetDataset(messages.GetDatasetRequest(name=dataset.name))
        # Nothing more arrives: it is killed with some of the parts stored.
        suite.minio.pause()
        suite.ingest.end(signal.SIGKILL)
        suite.minio.go_on()
    named_objects(suite.store())

    suite.start()
    async with suite.stub() as stub:
        assert is_whole(await verdict(stub, dataset.name))
    assert await no_orphans(suite.store())


UNFINISHED = {Dataset.STATE_UPLOADING, Dataset.STATE_VALIDATING}


@pytest.mark.parametrize("outage", ["paused", "killed"])
async def test_an_upload_outlives_an_outage_of_the_store(suite: Suite, outage: str) -> None:
    moments = random.Random(SEED)  # noqa: S311  # no secret
    uploading = asyncio.create_task(suite.finish("outage"))
    await asyncio.sleep(moments.uniform(0.05, 0.3))
    if outage == "paused":
        suite.minio.pause()
        await asyncio.sleep(SECONDS)
        suite.minio.go_on()
    else:
        suite.minio.stop()
        await asyncio.sleep(SECONDS)
        await asyncio.to_thread(suite.minio.start)

    assert is_whole(await uploading), SEED
    assert await no_orphans(suite.store()), SEED
