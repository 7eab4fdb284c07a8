"""The real process, killed while it validates."""

from __future__ import annotations

import signal
from pathlib import Path

import grpc
import pytest

from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_pb2 import Dataset
from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceStub
from isogloss.v1.split_pb2 import SPLIT_TRAIN
from services.common.storage import open_store
from tests.integration.ingest.calls import upload, verdict
from tests.integration.ingest.processes import IngestProcess
from tests.messages import ROWS, as_csv


@pytest.mark.slow
async def test_a_dataset_survives_kill_9_at_any_moment(tmp_path: Path) -> None:
    rows = tuple((f"{text} number {n}", label) for n in range(120) for text, label in ROWS)
    content = as_csv(rows)
    process = IngestProcess(tmp_path)
    async with grpc.aio.insecure_channel(process.address) as channel:
        stub = DatasetServiceStub(channel)
        created = await stub.CreateDataset(
            messages.CreateDatasetRequest(dataset=Dataset(display_name="Tone"))
        )
        await stub.WriteDataset(
            iter(
                [
                    messages.WriteDatasetRequest(
                        name=created.name, split=SPLIT_TRAIN, data=content[: 1 << 20]
                    ),
                    messages.WriteDatasetRequest(data=content[1 << 20 :]),
                ]
            )
        )
        await stub.FinalizeDataset(messages.FinalizeDatasetRequest(name=created.name))
        phases: list[str] = []
        async for seen in stub.WatchDataset(messages.WatchDatasetRequest(name=created.name)):
            phases.append(seen.dataset.validation_progress.phase)
            break
    assert phases == ["waiting for a validator"]
    for _ in range(4):
        assert process.end(signal.SIGKILL) == -signal.SIGKILL
        process = IngestProcess(tmp_path)
        async with grpc.aio.insecure_channel(process.address) as channel:
            async for seen in DatasetServiceStub(channel).WatchDataset(
                messages.WatchDatasetRequest(name=created.name)
            ):
                # A little further each time: the lease of the dead one runs out first.
                if seen.dataset.validation_progress.phase not in phases:
                    phases.append(seen.dataset.validation_progress.phase)
                    break

    async with grpc.aio.insecure_channel(process.address) as channel:
        dataset = await verdict(DatasetServiceStub(channel), created.name)
        other = await upload(DatasetServiceStub(channel), {SPLIT_TRAIN: as_csv()})

    assert dataset.state == other.state == Dataset.STATE_READY
    assert sum(size.row_count for size in dataset.report.splits) == len(rows)
    store = open_store(str(tmp_path / "data" / "store"))
    assert len(list(store.list(f"default/{dataset.name}/"))) == 5
    scratch = tmp_path / "data" / "ingest" / "scratch"
    assert len(list(scratch.iterdir())) == 2
    assert process.end(signal.SIGTERM) == 0
    assert list(scratch.iterdir()) == []
