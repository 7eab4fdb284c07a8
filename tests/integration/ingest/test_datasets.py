from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import grpc
import pytest

from isogloss.storage.v1.dataset_manifest_pb2 import DatasetManifest
from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1.dataset_pb2 import Dataset, DatasetOptions, SplitOptions
from isogloss.v1.finding_pb2 import Finding
from isogloss.v1.split_pb2 import SPLIT_TEST, SPLIT_TRAIN, SPLIT_UNSPECIFIED, SPLIT_VALIDATION
from services.common.identity import Principal, Role, bind_principal
from services.common.manifests import read_manifest
from services.common.storage import open_store
from services.ingest.__main__ import build
from services.ingest.settings import IngestSettings
from tests.integration.ingest.calls import create, details, upload, verdict, write
from tests.messages import ROWS, as_csv

if TYPE_CHECKING:
    # Only the type stubs know it.
    from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub

ALL = frozenset({SPLIT_TRAIN, SPLIT_VALIDATION, SPLIT_TEST})


async def test_messages_with_numeric_labels_become_a_dataset(
    stub: DatasetServiceAsyncStub, settings: IngestSettings
) -> None:
    content = as_csv()

    dataset = await upload(stub, {SPLIT_TRAIN: content})

    assert dataset.state == Dataset.STATE_READY
    assert dataset.display_name == "Tone"
    (file,) = dataset.report.files
    assert (file.delimiter, file.has_header, file.row_count) == (",", False, len(ROWS))
    assert (file.text_column, file.label_column, file.encoding) == ("1", "2", "utf-8")
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    sizes = {size.split: size.row_count for size in dataset.report.splits}
    assert sum(sizes.values()) == len(ROWS)
    # A tenth each, as far as texts that differ in little can stay on one side.
    assert 20 <= sizes[SPLIT_VALIDATION] <= 40
    assert 20 <= sizes[SPLIT_TEST] <= 40
    assert dataset.report.label_count == 2
    assert any("500 or more" in warning for warning in dataset.report.warnings)
    store = open_store(settings.store_url)
    keys = [info.key for info in store.list(f"default/{dataset.name}/")]
    assert not [key for key in keys if "/raw/" in key]
    assert len(keys) == 5
    manifest = read_manifest(store, f"default/{dataset.name}/dataset.json", DatasetManifest)
    assert list(manifest.labels) == ["0", "1"]
    assert manifest.content_hash == dataset.content_hash
    assert manifest.report == dataset.report


async def test_a_preview_shows_rows_and_labels_of_each_split(
    stub: DatasetServiceAsyncStub,
) -> None:
    dataset = await upload(stub, {SPLIT_TRAIN: as_csv()})

    preview = await stub.PreviewDataset(
        messages.PreviewDatasetRequest(name=dataset.name, row_count=3)
    )

    assert [split.split for split in preview.splits] == [SPLIT_TRAIN, SPLIT_VALIDATION, SPLIT_TEST]
    train = preview.splits[0]
    assert len(train.examples) == 3
    assert {(example.text, *example.labels) for example in train.examples} <= set(ROWS)
    assert [example.line for example in train.examples] == sorted(
        example.line for example in train.examples
    )
    assert sum(count.count for count in train.labels) == train.row_count
    assert sum(split.row_count for split in preview.splits) == len(ROWS)


async def test_given_files_win_and_evaluation_stays_honest(stub: DatasetServiceAsyncStub) -> None:
    leaked, held_out = ROWS[:2], (("A fresh text of the validation file", "0"),)
    files = {
        SPLIT_TRAIN: as_csv(ROWS),
        SPLIT_VALIDATION: as_csv((*held_out, ("Strange", "never seen"))),
        SPLIT_TEST: as_csv(leaked),
    }

    dataset = await upload(stub, files)

    sizes = {size.split: size.row_count for size in dataset.report.splits}
    assert sizes == {SPLIT_TRAIN: len(ROWS) - 2, SPLIT_VALIDATION: 1, SPLIT_TEST: 2}
    assert not dataset.report.HasField("split")
    page = await stub.ListFindings(messages.ListFindingsRequest(parent=dataset.name))
    found = [(finding.code, finding.split, finding.line) for finding in page.findings]
    assert ("split_leakage", SPLIT_TRAIN, 1) in found
    assert ("split_leakage", SPLIT_TRAIN, 2) in found
    assert ("unseen_label", SPLIT_VALIDATION, 2) in found


async def test_findings_come_in_pages_by_code_and_severity(stub: DatasetServiceAsyncStub) -> None:
    content = as_csv((*ROWS, *ROWS[:7])) + b"only a text\n, 1\nrare one, rare\n"

    dataset = await upload(stub, {SPLIT_TRAIN: content})

    assert dataset.state == Dataset.STATE_READY
    assert list(dataset.report.removed_labels) == ["rare"]
    request = messages.ListFindingsRequest(
        parent=dataset.name, page_size=3, min_severity=Finding.SEVERITY_ROW_DROPPED
    )
    findings: list[Finding] = []
    while True:
        page = await stub.ListFindings(request)
        findings += page.findings
        assert len(page.findings) <= 3
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    lines = [finding.line for finding in findings]
    assert lines == list(range(len(ROWS) + 1, len(ROWS) + 11))
    codes = [finding.code for finding in findings]
    assert codes == ["duplicate"] * 7 + ["wrong_column_count", "empty_text", "rare_label"]
    assert "line 1." in findings[0].message
    assert {count.code: count.count for count in page.counts}["duplicate"] == 7
    only = await stub.ListFindings(
        messages.ListFindingsRequest(parent=dataset.name, codes=["rare_label", "empty_text"])
    )
    assert [finding.code for finding in only.findings] == ["empty_text", "rare_label"]
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.ListFindings(
            messages.ListFindingsRequest(parent=dataset.name, page_token=request.page_token)
        )
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"just texts\nwithout labels\n", "column_count", "one column"),
        (b"a,b,c\n1,2,3\n", "choose_columns", "3 columns"),
        (as_csv(tuple((text, "0") for text, _ in ROWS)), "too_few_labels", "at least two"),
        (as_csv(ROWS[:40]), "too_few_examples", "at least 250"),
        (b"PK\x03\x04 xl/workbook.xml", "unsupported_format", "Excel workbook"),
        (as_csv() + b'"never closed, 1\n', "unterminated_quote", "line 325"),
    ],
)
async def test_a_refused_dataset_says_why_and_keeps_its_findings(
    stub: DatasetServiceAsyncStub,
    settings: IngestSettings,
    content: bytes,
    code: str,
    words: str,
) -> None:
    dataset = await upload(stub, {SPLIT_TRAIN: content})

    assert dataset.state == Dataset.STATE_FAILED
    assert words in dataset.error.message
    page = await stub.ListFindings(
        messages.ListFindingsRequest(parent=dataset.name, min_severity=Finding.SEVERITY_ERROR)
    )
    assert code in [finding.code for finding in page.findings]
    assert all(finding.fix for finding in page.findings)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.PreviewDataset(messages.PreviewDatasetRequest(name=dataset.name))
    assert details(raised.value)[0] == "DATASET_REFUSED"
    store = open_store(settings.store_url)
    assert len(list(store.list(f"default/{dataset.name}/"))) == 1


async def test_all_reasons_are_told_at_once(stub: DatasetServiceAsyncStub) -> None:
    dataset = await upload(
        stub,
        {SPLIT_TRAIN: b"%PDF-1.7", SPLIT_VALIDATION: b"one\ntwo\n", SPLIT_TEST: b"a,b,c\n1,2,3\n"},
    )

    codes = [
        (finding.split, finding.code)
        for finding in (
            await stub.ListFindings(messages.ListFindingsRequest(parent=dataset.name))
        ).findings
    ]
    assert codes == [
        (SPLIT_TRAIN, "unsupported_format"),
        (SPLIT_VALIDATION, "column_count"),
        (SPLIT_TEST, "choose_columns"),
    ]


async def test_a_profile_decides_how_much_is_enough(stub: DatasetServiceAsyncStub) -> None:
    content = as_csv(ROWS[:60])

    dataset = await upload(stub, {SPLIT_TRAIN: content}, profile="small")

    assert dataset.state == Dataset.STATE_READY
    assert dataset.options.profile == "small"


async def test_the_same_bytes_with_the_same_options_have_the_same_hash(
    stub: DatasetServiceAsyncStub,
) -> None:
    content = as_csv()

    first = await upload(stub, {SPLIT_TRAIN: content})
    second = await upload(stub, {SPLIT_TRAIN: content})
    seeded = await upload(stub, {SPLIT_TRAIN: content}, split=SplitOptions(seed=7))

    assert first.name != second.name
    assert first.content_hash == second.content_hash != seeded.content_hash


async def test_an_upload_goes_on_where_it_ended(stub: DatasetServiceAsyncStub) -> None:
    content = as_csv() * 30
    dataset = await create(stub)

    assert await write(stub, dataset.name, content[:100_001]) == 100_001
    shown = await stub.GetDataset(messages.GetDatasetRequest(name=dataset.name))
    assert [upload.committed_size for upload in shown.uploads] == [100_001]
    assert await write(stub, dataset.name, b"", offset=100_001) == 100_001
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await write(stub, dataset.name, content, offset=0)
    assert raised.value.code() is grpc.StatusCode.OUT_OF_RANGE
    reason, metadata, _ = details(raised.value)
    assert (reason, metadata["committed_size"]) == ("UPLOAD_OFFSET_MISMATCH", "100001")
    end = await write(stub, dataset.name, content[100_001:], offset=100_001)
    assert end == len(content)
    await stub.FinalizeDataset(
        messages.FinalizeDatasetRequest(
            name=dataset.name,
            checksums=[
                messages.UploadChecksum(
                    split=SPLIT_TRAIN,
                    size_bytes=len(content),
                    sha256=hashlib.sha256(content).hexdigest(),
                )
            ],
        )
    )
    assert (await verdict(stub, dataset.name)).state == Dataset.STATE_READY


async def test_a_broken_stream_is_taken_up_at_the_committed_size(
    stub: DatasetServiceAsyncStub,
) -> None:
    content = as_csv() * 30
    dataset = await create(stub)
    call = stub.WriteDataset()
    await call.write(
        messages.WriteDatasetRequest(name=dataset.name, split=SPLIT_TRAIN, data=content[:200_000])
    )
    await call.write(messages.WriteDatasetRequest(data=content[200_000:210_000]))
    call.cancel()

    while True:
        committed = await write(stub, dataset.name, b"", offset=None)
        try:
            end = await write(stub, dataset.name, content[committed:], offset=committed)
        except grpc.aio.AioRpcError as error:
            # The first call was still storing what it had: the error says where to go on.
            assert error.code() is grpc.StatusCode.OUT_OF_RANGE  # noqa: PT017  # raised at times
        else:
            break

    assert end == len(content)
    await stub.FinalizeDataset(
        messages.FinalizeDatasetRequest(
            name=dataset.name,
            checksums=[
                messages.UploadChecksum(
                    split=SPLIT_TRAIN,
                    size_bytes=len(content),
                    sha256=hashlib.sha256(content).hexdigest(),
                )
            ],
        )
    )


async def test_a_broken_stream_loses_nothing_that_arrived(settings: IngestSettings) -> None:
    content = as_csv()
    application = build(settings)
    servicer = application.services[0].servicer
    arrived, never = asyncio.Event(), asyncio.Event()

    bind_principal(Principal(tenant="default", role=Role.WRITE, name="test"))
    dataset = await servicer.CreateDataset(
        messages.CreateDatasetRequest(dataset=Dataset(display_name="Tone")), None
    )

    async def requests() -> AsyncIterator[messages.WriteDatasetRequest]:
        yield messages.WriteDatasetRequest(name=dataset.name, split=SPLIT_TRAIN, data=content[:100])
        # Whoever asks for more has taken the first message: far less than a part.
        arrived.set()
        await never.wait()

    call = asyncio.create_task(servicer.WriteDataset(requests(), None))
    await arrived.wait()
    call.cancel()
    await asyncio.wait({call})
    shown = await servicer.GetDataset(messages.GetDatasetRequest(name=dataset.name), None)

    assert call.cancelled()
    assert [upload.committed_size for upload in shown.uploads] == [100]
    for close in application.close:
        close()


async def test_differing_bytes_are_refused_naming_both_sums(stub: DatasetServiceAsyncStub) -> None:
    content = as_csv()
    dataset = await create(stub)
    await write(stub, dataset.name, content)

    def request(size: int, sha256: str) -> messages.FinalizeDatasetRequest:
        checksum = messages.UploadChecksum(split=SPLIT_TRAIN, size_bytes=size, sha256=sha256)
        return messages.FinalizeDatasetRequest(name=dataset.name, checksums=[checksum])

    for wrong in (request(5, ""), request(len(content), "0" * 64)):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.FinalizeDataset(wrong)
        assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        reason, metadata, _ = details(raised.value)
        assert reason == "CHECKSUM_MISMATCH"
        assert len(metadata) == 2
    right = request(len(content), hashlib.sha256(content).hexdigest())
    await stub.FinalizeDataset(right)
    assert (await verdict(stub, dataset.name)).state == Dataset.STATE_READY
    assert (await stub.FinalizeDataset(right)).state == Dataset.STATE_READY
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.FinalizeDataset(request(len(content), "0" * 64))
    assert details(raised.value)[0] == "CHECKSUM_MISMATCH"
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await write(stub, dataset.name, b"more", offset=len(content))
    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_creation_is_idempotent_and_can_only_check(stub: DatasetServiceAsyncStub) -> None:
    request = messages.CreateDatasetRequest(
        dataset=Dataset(display_name="Tone"), request_id=str(uuid.uuid4())
    )

    only_checked = await stub.CreateDataset(
        messages.CreateDatasetRequest(dataset=Dataset(display_name="Tone"), validate_only=True)
    )
    first = await stub.CreateDataset(request)
    second = await stub.CreateDataset(request)

    assert only_checked.name == ""
    assert first.name == second.name
    assert first.name.startswith("datasets/tone-")
    request.dataset.display_name = "Another"
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.CreateDataset(request)
    assert raised.value.code() is grpc.StatusCode.ALREADY_EXISTS
    listed = await stub.ListDatasets(messages.ListDatasetsRequest())
    assert [dataset.name for dataset in listed.datasets] == [first.name]


async def test_every_wrong_field_is_named(stub: DatasetServiceAsyncStub) -> None:
    options = DatasetOptions(
        delimiter="x",
        profile="huge",
        split=SplitOptions(validation_share=0.9, test_share=0.0),
    )

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.CreateDataset(messages.CreateDatasetRequest(dataset=Dataset(options=options)))

    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(raised.value)[2] == [
        "dataset.display_name",
        "dataset.options.delimiter",
        "dataset.options.split.validation_share",
        "dataset.options.split.test_share",
        "dataset.options.profile",
    ]


async def test_what_is_not_there_or_not_ready_is_said(stub: DatasetServiceAsyncStub) -> None:
    dataset = await create(stub)
    expected = {
        "datasets/none-aaaaaa": grpc.StatusCode.NOT_FOUND,
        "none-aaaaaa": grpc.StatusCode.INVALID_ARGUMENT,
        "models/none-aaaaaa": grpc.StatusCode.INVALID_ARGUMENT,
        dataset.name: grpc.StatusCode.FAILED_PRECONDITION,
    }
    for name, code in expected.items():
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.PreviewDataset(messages.PreviewDatasetRequest(name=name))
        assert raised.value.code() is code
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.FinalizeDataset(messages.FinalizeDatasetRequest(name=dataset.name))
    assert "no training file" in str(raised.value.details())
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await write(stub, dataset.name, b"x", split=SPLIT_UNSPECIFIED)
    assert details(raised.value)[2] == ["split"]


async def test_datasets_are_listed_newest_first_in_pages(stub: DatasetServiceAsyncStub) -> None:
    names = [(await create(stub, f"Set {number}")).name for number in range(5)]

    first = await stub.ListDatasets(messages.ListDatasetsRequest(page_size=3))
    second = await stub.ListDatasets(
        messages.ListDatasetsRequest(page_size=3, page_token=first.next_page_token)
    )

    listed = [dataset.name for dataset in (*first.datasets, *second.datasets)]
    assert listed == names[::-1]
    assert second.next_page_token == ""


async def test_a_dataset_in_use_stays_and_a_deleted_one_leaves_nothing(
    stub: DatasetServiceAsyncStub, settings: IngestSettings
) -> None:
    dataset = await upload(stub, {SPLIT_TRAIN: as_csv()})
    store = open_store(settings.store_url)
    use = f"default/{dataset.name}/uses/tone-abcdef"
    store.create(use, b"")

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.DeleteDataset(messages.DeleteDatasetRequest(name=dataset.name))
    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "models/tone-abcdef" in str(raised.value.details())
    assert details(raised.value)[0] == "DATASET_IN_USE"
    store.delete(use)
    await stub.DeleteDataset(messages.DeleteDatasetRequest(name=dataset.name))

    assert not list(store.list("default/"))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.GetDataset(messages.GetDatasetRequest(name=dataset.name))
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert not (await stub.ListDatasets(messages.ListDatasetsRequest())).datasets
