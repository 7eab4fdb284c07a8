"""AppendDataset: new rows behind those of a READY dataset."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import sqlalchemy as sa

from isogloss.storage.v1.dataset_manifest_pb2 import DatasetManifest
from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_pb2 import FILE_FORMAT_JSONL, Dataset, DatasetOptions, SplitOptions
from isogloss.v1.split_pb2 import SPLIT_TEST, SPLIT_TRAIN, SPLIT_VALIDATION
from services.common.manifests import read_manifest
from services.common.storage import open_store
from services.ingest.creation import NewDataset
from services.ingest.dataset import DatasetOptions as Options
from services.ingest.dataset import Split, State
from services.ingest.settings import IngestSettings
from services.ingest.tables import DatasetRow
from tests.integration.ingest.calls import create, details, download, upload, verdict, write
from tests.integration.ingest.places import Place
from tests.integration.ingest.served import served, settings_on
from tests.messages import ROWS, as_csv

if TYPE_CHECKING:
    # Only the type stubs know it.
    from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub

NEW = tuple(
    (f"{thing} number {number} was {how}", label)
    for number in range(20)
    for thing, how, label in (("The kettle", "broken", "0"), ("A lamp", "brilliant", "1"))
)
"""Texts like none of the parent's, but like each other."""

HELD_OUT = (("My umbrella fell apart at once", "0"), ("This pillow is a dream come true", "1"))


async def append(
    stub: DatasetServiceAsyncStub,
    parent: str,
    content: bytes,
    **options: Any,  # noqa: ANN401  # fields of DatasetOptions
) -> Dataset:
    """Append a training file and wait for the verdict."""
    dataset = Dataset(display_name="More tone", options=DatasetOptions(**options))
    child = await stub.AppendDataset(
        messages.AppendDatasetRequest(parent_dataset=parent, dataset=dataset)
    )
    assert child.state == Dataset.STATE_UPLOADING
    assert child.parent_dataset == parent
    await write(stub, child.name, content)
    await stub.FinalizeDataset(messages.FinalizeDatasetRequest(name=child.name))
    return await verdict(stub, child.name)


async def test_a_child_begins_with_the_rows_of_its_parent(
    stub: DatasetServiceAsyncStub, settings: IngestSettings
) -> None:
    parent = await upload(
        stub,
        {SPLIT_TRAIN: as_csv()},
        near_duplicates=1,
        split=SplitOptions(validation_share=0.2, seed=7),
    )
    repeated, contradicted = ROWS[0], (ROWS[1][0], "1")
    assert ROWS[1][1] == "0"

    child = await append(stub, parent.name, as_csv((*NEW, repeated, contradicted)))

    assert child.state == Dataset.STATE_READY
    assert child.options.split == parent.options.split
    assert child.options.near_duplicates == parent.options.near_duplicates
    counts = {found.code: found.count for found in child.report.findings}
    assert (counts["duplicate"], counts["conflicting_labels"]) == (1, 1)
    listed = await stub.ListFindings(
        messages.ListFindingsRequest(parent=child.name, codes=["duplicate"])
    )
    assert parent.name in listed.findings[0].message
    diff = await stub.DiffDatasets(
        messages.DiffDatasetsRequest(base=parent.name, other=child.name, row_count=100)
    )
    assert (diff.added_count, diff.unchanged_count) == (len(NEW), len(ROWS))
    assert (diff.removed_count, diff.relabelled_count, diff.moved_count) == (0, 0, 0)
    assert {(shown.text, *shown.labels) for shown in diff.added} == set(NEW)
    manifest = read_manifest(
        open_store(settings.store_url), f"default/{child.name}/dataset.json", DatasetManifest
    )
    assert manifest.parent_dataset == parent.name
    assert child.content_hash != parent.content_hash


async def test_a_child_outlives_its_parent_and_can_have_children(
    stub: DatasetServiceAsyncStub,
) -> None:
    parent = await upload(stub, {SPLIT_TRAIN: as_csv()}, near_duplicates=1)
    child = await append(stub, parent.name, as_csv(NEW[:20]))

    await stub.DeleteDataset(messages.DeleteDatasetRequest(name=parent.name))
    rows = await download(stub, child.name, split=SPLIT_TRAIN, format=FILE_FORMAT_JSONL)
    grandchild = await append(stub, child.name, as_csv(NEW[20:]))

    assert len(rows.splitlines()) > 250
    assert grandchild.state == Dataset.STATE_READY
    kept = sum(size.row_count for size in grandchild.report.splits)
    assert kept == len(ROWS) + len(NEW)


async def test_a_test_file_stays_what_it_is_through_all_generations(
    stub: DatasetServiceAsyncStub,
) -> None:
    parent = await upload(stub, {SPLIT_TRAIN: as_csv(), SPLIT_TEST: as_csv(HELD_OUT)})
    child = await append(stub, parent.name, as_csv(NEW[:20]))
    await stub.DeleteDataset(messages.DeleteDatasetRequest(name=parent.name))

    grandchild = await append(stub, child.name, as_csv(NEW[20:]))

    for dataset in (parent, child, grandchild):
        counts = {size.split: size.row_count for size in dataset.report.splits}
        assert counts[SPLIT_TEST] == len(HELD_OUT)
        assert dataset.report.split.test_share == 0.0
    assert counts[SPLIT_VALIDATION] > 0


async def test_a_parent_stays_until_its_child_has_its_rows(stub: DatasetServiceAsyncStub) -> None:
    parent = await upload(stub, {SPLIT_TRAIN: as_csv()})
    child = await stub.AppendDataset(
        messages.AppendDatasetRequest(
            parent_dataset=parent.name, dataset=Dataset(display_name="More")
        )
    )
    delete = messages.DeleteDatasetRequest(name=parent.name)

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.DeleteDataset(delete)

    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    reason, metadata, _ = details(raised.value)
    assert reason == "DATASET_IN_USE"
    assert metadata["datasets"] == child.name
    await stub.DeleteDataset(messages.DeleteDatasetRequest(name=child.name))
    await stub.DeleteDataset(delete)


async def test_only_a_ready_dataset_is_appended_to(stub: DatasetServiceAsyncStub) -> None:
    empty = await create(stub)
    ready = await upload(stub, {SPLIT_TRAIN: as_csv()})
    good = Dataset(display_name="More")
    for parent, dataset, code, fields in (
        (empty.name, good, grpc.StatusCode.FAILED_PRECONDITION, []),
        ("datasets/none-aaaaaa", good, grpc.StatusCode.NOT_FOUND, []),
        ("", good, grpc.StatusCode.INVALID_ARGUMENT, ["parent_dataset"]),
        (
            ready.name,
            Dataset(options=DatasetOptions(delimiter="x")),
            grpc.StatusCode.INVALID_ARGUMENT,
            ["dataset.display_name", "dataset.options.delimiter"],
        ),
        (
            ready.name,
            Dataset(display_name="More", options=DatasetOptions(label_separator="|")),
            grpc.StatusCode.INVALID_ARGUMENT,
            ["dataset.options.label_separator"],
        ),
    ):
        request = messages.AppendDatasetRequest(parent_dataset=parent, dataset=dataset)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.AppendDataset(request)
        assert raised.value.code() is code
        assert details(raised.value)[2] == fields


async def test_an_append_is_idempotent(stub: DatasetServiceAsyncStub) -> None:
    parent = await upload(stub, {SPLIT_TRAIN: as_csv()})
    request = messages.AppendDatasetRequest(
        parent_dataset=parent.name,
        dataset=Dataset(display_name="More"),
        request_id=str(uuid.uuid4()),
    )

    first, second = [await stub.AppendDataset(request) for _ in range(2)]

    assert first == second
    request.dataset.display_name = "Other"
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.AppendDataset(request)
    assert details(raised.value)[0] == "REQUEST_ID_REUSED"


def test_a_child_fails_in_words_where_its_parent_is_gone(place: Place) -> None:
    parent = place.finalised(as_csv())
    assert place.worker.run_one()
    wanted = NewDataset(display_name="More", options=Options())
    child = place.creation.append("default", parent.id, wanted)
    writer = place.uploads.open("default", child.id, Split.TRAIN)
    writer.add(0, as_csv(NEW))
    writer.flush()
    place.registry.finalize("default", child.id, {})
    with place.database.write() as session:
        session.execute(sa.delete(DatasetRow).where(DatasetRow.id == parent.id))

    assert place.worker.run_one()

    failed = place.registry.get("default", child.id)
    assert failed.state is State.FAILED
    assert [problem.code for problem in failed.problems] == ["parent_missing"]
    assert parent.name in failed.problems[0].message


async def test_what_names_a_profile_that_is_gone_is_refused_in_words(tmp_path: Path) -> None:
    standard = {"min_examples": 2, "advised_examples": 2, "min_per_label": 1}
    async with served(settings_on(None, tmp_path)) as stub:
        parent = await upload(stub, {SPLIT_TRAIN: as_csv()}, profile="small")
        waiting = await create(stub, profile="small")
        await write(stub, waiting.name, as_csv())
    assert parent.state == Dataset.STATE_READY

    async with served(settings_on(None, tmp_path, profiles={"standard": standard})) as stub:
        await stub.FinalizeDataset(messages.FinalizeDatasetRequest(name=waiting.name))
        refused = await verdict(stub, waiting.name)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.AppendDataset(
                messages.AppendDatasetRequest(
                    parent_dataset=parent.name, dataset=Dataset(display_name="More")
                )
            )

    assert refused.state == Dataset.STATE_FAILED
    assert "profile 'small'" in refused.error.message
    assert details(raised.value)[2] == ["parent_dataset"]
