"""The dataset service as a script of the test plays it."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf import empty_pb2
from google.protobuf.message import Message
from google.rpc import status_pb2

from isogloss.v1 import dataset_pb2, example_pb2, finding_pb2, split_pb2
from isogloss.v1 import dataset_service_pb2 as dpb
from isogloss.v1.dataset_service_pb2_grpc import DatasetServiceServicer
from tests.integration.client.answers import Context, abort, refusal

Dataset = dataset_pb2.Dataset

DATASET = "datasets/tone-abc234"
DOWNLOAD_BYTES = 1000


class Recorder:
    """Keeps every call, and refuses those that the test wants refused."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.calls: list[tuple[str, Message]] = []
        self.metadata: list[dict[str, str]] = []
        self.refusals: dict[str, list[status_pb2.Status]] = defaultdict(list)
        self.lose_watch_after: list[int] = []
        self.deleted: list[str] = []
        self.hold = threading.Event()
        self.hold.set()

    def _asked(self, method: str, request: Message, context: Context) -> None:
        copy = type(request)()
        copy.CopyFrom(request)
        self.calls.append((method, copy))
        self.metadata.append(dict(context.invocation_metadata()))
        self.hold.wait(10)
        if self.refusals[method]:
            abort(context, self.refusals[method].pop(0))

    def asked(self, method: str) -> list[Any]:
        """Give the requests of one method in their order."""
        return [request for name, request in self.calls if name == method]


class ScriptedDatasets(Recorder, DatasetServiceServicer):
    """Datasets of which everything goes well, unless the test says otherwise."""

    def __init__(self) -> None:
        """Begin with one dataset that takes files."""
        super().__init__()
        self.files: dict[int, bytearray] = defaultdict(bytearray)
        self.lose_stream_after: list[int] = []
        self.dataset = Dataset(name=DATASET, display_name="tone", state=Dataset.STATE_UPLOADING)
        self.validation: list[Dataset] = []
        self.findings: list[finding_pb2.Finding] = []
        self.check = dpb.CheckDatasetResponse()
        self.diff = dpb.DiffDatasetsResponse()
        self.download = b""
        self.lose_download_after: list[int] = []
        self.store = ""

    def CreateDataset(self, request: dpb.CreateDatasetRequest, context: Context) -> Dataset:  # noqa: N802
        self._asked("CreateDataset", request, context)
        self.dataset.display_name = request.dataset.display_name
        self.dataset.options.CopyFrom(request.dataset.options)
        return self.dataset

    def WriteDataset(  # noqa: N802
        self, request_iterator: Iterator[dpb.WriteDatasetRequest], context: Context
    ) -> dpb.WriteDatasetResponse:
        first = next(request_iterator)
        self._asked("WriteDataset", dpb.WriteDatasetRequest(offset=first.offset), context)
        stored = self.files[first.split]
        if first.offset != len(stored):
            metadata = {"committed_size": str(len(stored))}
            abort(
                context,
                refusal(
                    grpc.StatusCode.OUT_OF_RANGE,
                    "wrong offset",
                    reason="UPLOAD_OFFSET_MISMATCH",
                    metadata=metadata,
                ),
            )
        room = self.lose_stream_after.pop(0) if self.lose_stream_after else 1 << 40
        message = first
        while True:
            stored += message.data[: max(room, 0)]
            room -= len(message.data)
            if room < 0:
                context.abort(grpc.StatusCode.UNAVAILABLE, "connection lost")
            following = next(request_iterator, None)
            if following is None:
                return dpb.WriteDatasetResponse(committed_size=len(stored))
            message = following

    def FinalizeDataset(self, request: dpb.FinalizeDatasetRequest, context: Context) -> Dataset:  # noqa: N802
        self._asked("FinalizeDataset", request, context)
        for expected in request.checksums:
            stored = bytes(self.files[expected.split])
            if hashlib.sha256(stored).hexdigest() != expected.sha256:
                abort(
                    context,
                    refusal(
                        grpc.StatusCode.FAILED_PRECONDITION,
                        "The stored bytes differ.",
                        reason="CHECKSUM_MISMATCH",
                    ),
                )
        if self.dataset.state == Dataset.STATE_UPLOADING:
            self.dataset.state = Dataset.STATE_VALIDATING
        return self.dataset

    def GetDataset(self, request: dpb.GetDatasetRequest, context: Context) -> Dataset:  # noqa: N802
        self._asked("GetDataset", request, context)
        if request.name != self.dataset.name:
            abort(
                context,
                refusal(
                    grpc.StatusCode.NOT_FOUND,
                    f"{request.name} was not found.",
                    reason="RESOURCE_NOT_FOUND",
                    metadata={"name": request.name},
                ),
            )
        answer = Dataset()
        answer.CopyFrom(self.dataset)
        for split, data in self.files.items():
            answer.uploads.add(split=split_pb2.Split.ValueType(split), committed_size=len(data))
        return answer

    def ListDatasets(  # noqa: N802
        self, request: dpb.ListDatasetsRequest, context: Context
    ) -> dpb.ListDatasetsResponse:
        self._asked("ListDatasets", request, context)
        page = int(request.page_token or 0)
        entry = Dataset()
        entry.CopyFrom(self.dataset)
        entry.name = f"{DATASET}-{page}"
        token = str(page + 1) if page < 2 else ""
        return dpb.ListDatasetsResponse(datasets=[entry], next_page_token=token)

    def WatchDataset(  # noqa: N802
        self, request: dpb.WatchDatasetRequest, context: Context
    ) -> Iterator[dpb.WatchDatasetResponse]:
        self._asked("WatchDataset", request, context)
        while self.validation:
            self.dataset = self.validation.pop(0)
            yield dpb.WatchDatasetResponse(dataset=self.dataset)
            if self.lose_watch_after:
                self.lose_watch_after.pop()
                context.abort(grpc.StatusCode.UNAVAILABLE, "connection lost")
        if self.dataset.state == Dataset.STATE_VALIDATING:
            self.dataset.state = Dataset.STATE_READY
        yield dpb.WatchDatasetResponse(dataset=self.dataset)

    def DeleteDataset(  # noqa: N802
        self, request: dpb.DeleteDatasetRequest, context: Context
    ) -> empty_pb2.Empty:
        self._asked("DeleteDataset", request, context)
        self.deleted.append(request.name)
        return empty_pb2.Empty()

    def PreviewDataset(  # noqa: N802
        self, request: dpb.PreviewDatasetRequest, context: Context
    ) -> dpb.PreviewDatasetResponse:
        self._asked("PreviewDataset", request, context)
        return dpb.PreviewDatasetResponse(
            splits=[
                dpb.SplitPreview(
                    split=split_pb2.SPLIT_TRAIN,
                    row_count=3,
                    examples=[
                        example_pb2.Example(
                            text="My order was [late]",
                            labels=["negative"],
                            split=split_pb2.SPLIT_TRAIN,
                            line=2,
                            row=1,
                        )
                    ],
                    labels=[
                        example_pb2.LabelCount(label="negative", count=2),
                        example_pb2.LabelCount(label="positive", count=1),
                    ],
                )
            ]
        )

    def ListFindings(  # noqa: N802
        self, request: dpb.ListFindingsRequest, context: Context
    ) -> dpb.ListFindingsResponse:
        self._asked("ListFindings", request, context)
        return dpb.ListFindingsResponse(findings=self.findings)

    def CheckDataset(  # noqa: N802
        self, request_iterator: Iterator[dpb.CheckDatasetRequest], context: Context
    ) -> dpb.CheckDatasetResponse:
        first = next(request_iterator)
        self._asked("CheckDataset", first, context)
        self.files.clear()
        for message in request_iterator:
            self.files[message.split] += message.data
        return self.check

    def AppendDataset(self, request: dpb.AppendDatasetRequest, context: Context) -> Dataset:  # noqa: N802
        self._asked("AppendDataset", request, context)
        self.dataset.parent_dataset = request.parent_dataset
        self.dataset.options.CopyFrom(request.dataset.options)
        return self.dataset

    def ImportDataset(self, request: dpb.ImportDatasetRequest, context: Context) -> Dataset:  # noqa: N802
        self._asked("ImportDataset", request, context)
        self.dataset.state = Dataset.STATE_VALIDATING
        return self.dataset

    def GenerateUploadUrl(  # noqa: N802
        self, request: dpb.GenerateUploadUrlRequest, context: Context
    ) -> dpb.GenerateUploadUrlResponse:
        self._asked("GenerateUploadUrl", request, context)
        url = f"{self.store}/{request.split}/{request.offset}?signature=secret"
        return dpb.GenerateUploadUrlResponse(url=url, headers={"If-None-Match": "*"})

    def DiffDatasets(  # noqa: N802
        self, request: dpb.DiffDatasetsRequest, context: Context
    ) -> dpb.DiffDatasetsResponse:
        self._asked("DiffDatasets", request, context)
        return self.diff

    def UpdateDataset(self, request: dpb.UpdateDatasetRequest, context: Context) -> Dataset:  # noqa: N802
        self._asked("UpdateDataset", request, context)
        return self.dataset

    def DownloadDataset(  # noqa: N802
        self, request: dpb.DownloadDatasetRequest, context: Context
    ) -> Iterator[dpb.DownloadDatasetResponse]:
        self._asked("DownloadDataset", request, context)
        room = self.lose_download_after.pop(0) if self.lose_download_after else 1 << 40
        for start in range(0, len(self.download), DOWNLOAD_BYTES):
            data = self.download[start : start + DOWNLOAD_BYTES]
            if start + len(data) > room:
                context.abort(grpc.StatusCode.UNAVAILABLE, "connection lost")
            size = 0 if start else len(self.download)
            yield dpb.DownloadDatasetResponse(data=data, size_bytes=size)

    def GetUsage(self, request: dpb.GetUsageRequest, context: Context) -> dpb.Usage:  # noqa: N802
        self._asked("GetUsage", request, context)
        return dpb.Usage(
            dataset_count=3,
            upload_count=1,
            stored_bytes=2_500_000,
            row_count=660,
            max_stored_bytes=10_000_000,
        )
