"""What the service found, from the domain to the wire, no more than a response holds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from google.protobuf.message import Message

from isogloss.v1 import dataset_service_pb2 as messages
from isogloss.v1 import example_pb2
from services.common.storage import SignedWrite
from services.ingest.check import CheckResult
from services.ingest.convert.datasets import finding_to_proto, labels_to_proto, time_to_proto
from services.ingest.convert.enums import SPLITS
from services.ingest.convert.report import report_to_proto
from services.ingest.dataset import Example
from services.ingest.published.diff import Difference
from services.ingest.published.preview import SplitPreview
from services.ingest.usage import Usage

_CHECK_BYTES = 3_500_000
"""Every gRPC client takes 4,194,304 bytes by default."""

_PREVIEW_BYTES = 800_000
"""Examples of one split: beside 1000 labels of 128 characters of four bytes, which are 530 kB,
three splits stay under 4 MB."""

_DIFF_BYTES = 900_000
"""Examples of one kind: beside 1000 labels of each side, which are 1.1 MB, three kinds stay under
3.8 MB."""

_TAG_BYTES = 6
"""Of a message in a repeated field: its number, and its length in up to five bytes."""

M = TypeVar("M", bound=Message)


def check_to_proto(result: CheckResult) -> messages.CheckDatasetResponse:
    """Return what a dataset would be, with as many findings as fit."""
    response = messages.CheckDatasetResponse(
        report=report_to_proto(result.report),
        errors=[finding_to_proto(finding) for finding in result.refusals],
        splits=[preview_to_proto(preview) for preview in result.previews],
        content_hash=result.content_hash,
    )
    room = _CHECK_BYTES - response.ByteSize()
    response.findings.extend(_fitting(map(finding_to_proto, result.findings), room))
    return response


def preview_to_proto(preview: SplitPreview) -> messages.SplitPreview:
    """Return the beginning of one split."""
    return messages.SplitPreview(
        split=SPLITS[preview.split],
        examples=_fitting(map(_example, preview.examples), _PREVIEW_BYTES),
        labels=labels_to_proto(preview.labels),
        row_count=preview.row_count,
    )


def difference_to_proto(difference: Difference) -> messages.DiffDatasetsResponse:
    """Return what differs between two datasets."""
    relabelled = (
        messages.RelabelledExample(
            example=_example(changed.example), base_labels=changed.base_labels
        )
        for changed in difference.relabelled
    )
    return messages.DiffDatasetsResponse(
        added_count=difference.added_count,
        removed_count=difference.removed_count,
        relabelled_count=difference.relabelled_count,
        moved_count=difference.moved_count,
        unchanged_count=difference.unchanged_count,
        labels=[
            messages.LabelChange(label=label, base_count=before, other_count=after)
            for label, before, after in difference.labels
        ],
        added=_fitting(map(_example, difference.added), _DIFF_BYTES),
        removed=_fitting(map(_example, difference.removed), _DIFF_BYTES),
        relabelled=_fitting(relabelled, _DIFF_BYTES),
        same_content=difference.same_content,
    )


def signed_to_proto(signed: SignedWrite) -> messages.GenerateUploadUrlResponse:
    """Return a request that a caller may send to the store."""
    return messages.GenerateUploadUrlResponse(
        url=signed.url, headers=signed.headers, expire_time=time_to_proto(signed.expire_time)
    )


def usage_to_proto(usage: Usage, *, max_uploads: int, max_stored_bytes: int) -> messages.Usage:
    """Return what a tenant stores and may store; a limit of 0 is none."""
    return messages.Usage(
        dataset_count=usage.dataset_count,
        upload_count=usage.upload_count,
        stored_bytes=usage.stored_bytes,
        row_count=usage.row_count,
        max_upload_count=max_uploads,
        max_stored_bytes=max_stored_bytes,
    )


def _fitting(found: Iterable[M], room: int) -> Iterator[M]:
    """Yield messages as long as they fit into `room` bytes."""
    for message in found:
        room -= message.ByteSize() + _TAG_BYTES
        if room < 0:
            return
        yield message


def _example(example: Example) -> example_pb2.Example:
    return example_pb2.Example(
        text=example.text,
        labels=example.labels,
        split=SPLITS[example.split],
        line=example.line,
        row=example.row,
    )
