"""DiffDatasets: what differs between two datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.split_pb2 import SPLIT_TEST, SPLIT_TRAIN, SPLIT_VALIDATION, Split
from services.ingest.settings import IngestSettings
from tests.integration.ingest.calls import create, details, upload
from tests.messages import ROWS, as_csv

if TYPE_CHECKING:
    # Only the type stubs know it.
    from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub

HELD_OUT = (("A fresh text to validate on", "0"), ("Another one of those", "1"))
TESTED = (("A fresh text to test on", "1"), ("And a last one for the test", "0"))


def files(
    train: tuple[tuple[str, str], ...], test: tuple[tuple[str, str], ...] = TESTED
) -> dict[Split.ValueType, bytes]:
    return {
        SPLIT_TRAIN: as_csv(train),
        SPLIT_VALIDATION: as_csv(HELD_OUT),
        SPLIT_TEST: as_csv(test),
    }


async def test_each_text_is_added_removed_relabelled_moved_or_unchanged(
    stub: DatasetServiceAsyncStub, settings: IngestSettings
) -> None:
    first, second, third, *rest = ROWS
    base = await upload(stub, files(ROWS), near_duplicates=1)
    changed = (second[0], "1")
    assert second[1] == "0"
    other = await upload(
        stub,
        files((changed, *rest, ("A new text", "0"), ("And one more", "0")), (*TESTED, third)),
        near_duplicates=1,
    )

    diff = await stub.DiffDatasets(
        messages.DiffDatasetsRequest(base=base.name, other=other.name, row_count=1)
    )

    assert (diff.added_count, diff.removed_count) == (2, 1)
    assert (diff.relabelled_count, diff.moved_count) == (1, 1)
    assert diff.unchanged_count == len(rest) + len(HELD_OUT) + len(TESTED)
    assert [(shown.text, *shown.labels) for shown in diff.added] == [("A new text", "0")]
    assert [(shown.text, *shown.labels) for shown in diff.removed] == [first]
    (relabelled,) = diff.relabelled
    assert (relabelled.example.text, *relabelled.example.labels) == changed
    assert list(relabelled.base_labels) == ["0"]
    assert relabelled.example.line == 1
    assert relabelled.example.split == SPLIT_TRAIN
    halves = len(ROWS) // 2 + 2
    changes = {change.label: (change.base_count, change.other_count) for change in diff.labels}
    assert changes == {"0": (halves, halves), "1": (halves, halves + 1)}
    assert [change.label for change in diff.labels] == ["1", "0"]
    assert not diff.same_content
    assert not list((settings.data_directory / "ingest" / "scratch").glob("*/diff-*"))


async def test_a_dataset_is_the_same_as_one_of_the_same_files(
    stub: DatasetServiceAsyncStub,
) -> None:
    base, other = [await upload(stub, {SPLIT_TRAIN: as_csv()}) for _ in range(2)]

    diff = await stub.DiffDatasets(messages.DiffDatasetsRequest(base=base.name, other=other.name))

    assert diff.same_content
    assert diff.unchanged_count == len(ROWS)
    assert diff.added_count + diff.removed_count + diff.relabelled_count + diff.moved_count == 0
    assert not diff.added


async def test_only_ready_datasets_are_compared(stub: DatasetServiceAsyncStub) -> None:
    dataset = await create(stub)
    for request, code, fields in (
        (
            messages.DiffDatasetsRequest(base=dataset.name, other=dataset.name),
            grpc.StatusCode.FAILED_PRECONDITION,
            [],
        ),
        (
            messages.DiffDatasetsRequest(base=dataset.name, other="tone"),
            grpc.StatusCode.INVALID_ARGUMENT,
            ["other"],
        ),
        (
            messages.DiffDatasetsRequest(base=dataset.name, other=dataset.name, row_count=101),
            grpc.StatusCode.INVALID_ARGUMENT,
            ["row_count"],
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.DiffDatasets(request)
        assert raised.value.code() is code
        assert details(raised.value)[2] == fields
