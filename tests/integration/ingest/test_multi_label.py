"""Datasets whose texts have any number of labels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from isogloss.storage.v1.dataset_manifest_pb2 import DatasetManifest
from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_pb2 import FILE_FORMAT_CSV, Dataset
from isogloss.v1.label_mode_pb2 import LABEL_MODE_MULTI, LABEL_MODE_SINGLE
from isogloss.v1.split_pb2 import SPLIT_TEST, SPLIT_TRAIN, SPLIT_VALIDATION
from services.common.manifests import read_manifest
from services.common.storage import open_store
from services.ingest.settings import IngestSettings
from tests.integration.ingest.calls import download, upload, verdict, write
from tests.messages import ROWS, as_csv

if TYPE_CHECKING:
    # Only the type stubs know it.
    from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub

LABELLED = [
    (text, ([], [label], [label, "shop"])[number % 3]) for number, (text, label) in enumerate(ROWS)
]
"""Texts without a label, with one and with two."""


def as_json_lines(rows: list[tuple[str, list[str]]]) -> bytes:
    return "".join(
        json.dumps({"text": text, "labels": labels}) + "\n" for text, labels in rows
    ).encode()


async def test_texts_of_several_labels_are_told_shown_and_sent(
    stub: DatasetServiceAsyncStub, settings: IngestSettings
) -> None:
    dataset = await upload(stub, {SPLIT_TRAIN: as_json_lines(LABELLED)})

    assert dataset.state == Dataset.STATE_READY
    assert dataset.report.label_mode == LABEL_MODE_MULTI
    manifest = read_manifest(
        open_store(settings.store_url), f"default/{dataset.name}/dataset.json", DatasetManifest
    )
    assert manifest.label_mode == LABEL_MODE_MULTI
    assert list(manifest.labels) == ["0", "1", "shop"]
    preview = await stub.PreviewDataset(
        messages.PreviewDatasetRequest(name=dataset.name, row_count=100)
    )
    expected = {text: sorted(labels) for text, labels in LABELLED}
    shown = [example for split in preview.splits for example in split.examples]
    assert {len(example.labels) for example in shown} == {0, 1, 2}
    assert all(sorted(example.labels) == expected[example.text] for example in shown)


async def test_texts_of_several_labels_survive_csv(stub: DatasetServiceAsyncStub) -> None:
    first = await upload(stub, {SPLIT_TRAIN: as_json_lines(LABELLED)})
    files = {
        split: await download(stub, first.name, split=split, format=FILE_FORMAT_CSV)
        for split in (SPLIT_TRAIN, SPLIT_VALIDATION, SPLIT_TEST)
    }

    again = await upload(stub, files, label_separator="|")

    assert again.state == Dataset.STATE_READY
    diff = await stub.DiffDatasets(messages.DiffDatasetsRequest(base=first.name, other=again.name))
    assert diff.unchanged_count == len(LABELLED)


async def test_lists_of_labels_are_not_added_to_single_ones(
    stub: DatasetServiceAsyncStub,
) -> None:
    parent = await upload(stub, {SPLIT_TRAIN: as_csv()}, near_duplicates=1)
    child = await stub.AppendDataset(
        messages.AppendDatasetRequest(
            parent_dataset=parent.name, dataset=Dataset(display_name="More")
        )
    )
    new = [(f"{text} indeed", labels) for text, labels in LABELLED[:20]]
    await write(stub, child.name, as_json_lines(new))
    await stub.FinalizeDataset(messages.FinalizeDatasetRequest(name=child.name))

    refused = await verdict(stub, child.name)

    assert parent.report.label_mode == LABEL_MODE_SINGLE
    assert refused.state == Dataset.STATE_FAILED
    assert "one each" in refused.error.message
