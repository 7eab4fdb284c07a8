"""Puts a validated dataset into the store: its files first, the manifest last.

Each attempt writes under keys of its own; the manifest, created once, says whose are the
dataset's. What other attempts left is swept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from isogloss.storage.v1.dataset_manifest_pb2 import DatasetManifest, SplitFile
from isogloss.storage.v1.dataset_manifest_pb2 import RawFile as RawFileMessage
from isogloss.storage.v1.stored_file_pb2 import StoredFile as StoredFileMessage
from isogloss.v1.label_mode_pb2 import LABEL_MODE_MULTI, LABEL_MODE_SINGLE
from services.common import layout
from services.common.errors import NotFound
from services.common.manifests import FORMAT_VERSION, create_manifest, read_manifest, upload_chunks
from services.common.storage import ObjectStore
from services.ingest.checks.validation import Verdict
from services.ingest.convert import datasets as convert
from services.ingest.convert.options import options_to_proto
from services.ingest.convert.report import report_from_proto, report_to_proto
from services.ingest.dataset import Report, Split
from services.ingest.growing import GrowingFile
from services.ingest.record import DatasetRecord, RawFile, StoredFile, StoredSplit, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What stands in the manifest that makes a dataset READY."""

    content_hash: str
    report: Report
    findings: StoredFile
    splits: tuple[StoredSplit, ...]
    raw: tuple[RawFile, ...]
    validate_time: datetime

    @property
    def files(self) -> list[StoredFile]:
        """Every file that the manifest names."""
        parts = (part for file in self.raw for part in file.parts)
        return [self.findings, *(stored.file for stored in self.splits), *parts]

    def columns(self) -> dict[str, Any]:
        """Return what the dataset's row says of it."""
        return {
            "report": to_json(self.report),
            "content_hash": self.content_hash,
            "findings": to_json(self.findings),
            "splits": to_json(self.splits),
            "raw": to_json(self.raw) if self.raw else None,
            "validate_time": self.validate_time,
            "stored_bytes": sum(file.size for file in self.files),
            "row_count": sum(stored.row_count for stored in self.splits),
        }


class AttemptFiles:
    """Files of one attempt on their way into the store, each in a thread of its own."""

    def __init__(self, store: ObjectStore, record: DatasetRecord, attempt: int) -> None:
        """Begin without any.

        Args:
            store: Where to.
            record: The dataset.
            attempt: A number that no other attempt has.
        """
        self._store = store
        self._record = record
        self._attempt = attempt
        self._threads = ThreadPoolExecutor(len(Split) + 1, "publish")
        self._growing: dict[str, GrowingFile] = {}
        self._stored: dict[str, Future[StoredFileMessage]] = {}

    def __enter__(self) -> Self:
        """Return what takes files."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for what is being stored; files that are not whole are given up."""
        for file in self._growing.values():
            file.abandon()
        self._threads.shutdown()

    def begin(self, path: Path, content_hash: str) -> None:
        """Begin to store a file under its own name while it is still written."""
        record = self._record
        name = f"{self._attempt}/{path.name}"
        key = layout.dataset_file(record.tenant, record.id, content_hash, name)
        file = self._growing[path.name] = GrowingFile(path)
        self._stored[path.name] = self._threads.submit(
            lambda: upload_chunks(self._store, key, file.chunks())
        )

    def finish(self, path: Path) -> None:
        """Say that a file is whole, and stays as it is."""
        self._growing[path.name].finish()

    def stored(self, path: Path) -> StoredFile:
        """Wait until a file is stored; return what was.

        Raises:
            Unavailable: Where the store does not answer.
        """
        return convert.file_from_proto(self._stored[path.name].result())


def publish(
    store: ObjectStore,
    record: DatasetRecord,
    verdict: Verdict,
    *,
    raw: Iterable[RawFile],
    files: AttemptFiles,
    hold: Callable[[], None],
) -> Published:
    """Publish an accepted dataset.

    Args:
        store: Where to.
        record: The dataset.
        verdict: What validation made of it.
        raw: The uploaded files that stay.
        files: The splits' files and the findings, all of them whole.
        hold: Called when all files are there, right before the manifest: raises where the
            dataset is no longer this attempt's.

    Returns:
        What the manifest says, which may be that of another attempt that was faster.
    """
    key = layout.dataset_manifest(record.tenant, record.id)
    manifest = DatasetManifest(
        format_version=FORMAT_VERSION,
        name=record.name,
        display_name=record.display_name,
        content_hash=verdict.content_hash,
        options=options_to_proto(record.options),
        report=report_to_proto(verdict.report),
        label_mode=LABEL_MODE_MULTI if verdict.report.multi_label else LABEL_MODE_SINGLE,
        labels=verdict.labels,
        create_time=convert.time_to_proto(record.create_time),
        validate_time=convert.time_to_proto(datetime.now(UTC)),
        parent_dataset=record.parent_name,
        expire_time=convert.time_to_proto(record.expire_time) if record.expire_time else None,
        raw=[
            RawFileMessage(
                split=convert.split_to_proto(file.split),
                parts=[convert.file_to_proto(part) for part in file.parts],
            )
            for file in raw
        ],
    )
    for rows in verdict.splits:
        manifest.splits.append(
            SplitFile(
                split=convert.split_to_proto(rows.split),
                file=convert.file_to_proto(files.stored(rows.path)),
                row_count=rows.row_count,
                labels=convert.labels_to_proto(rows.labels),
            )
        )
    manifest.findings.CopyFrom(convert.file_to_proto(files.stored(verdict.findings)))
    hold()
    if not create_manifest(store, key, manifest):
        manifest = read_manifest(store, key, DatasetManifest)
    return read_published(manifest)


def published(store: ObjectStore, record: DatasetRecord) -> Published | None:
    """Return what was published of a dataset, or None."""
    try:
        key = layout.dataset_manifest(record.tenant, record.id)
        return read_published(read_manifest(store, key, DatasetManifest))
    except NotFound:
        return None


def sweep(store: ObjectStore, record: DatasetRecord, keep: Iterable[StoredFile]) -> None:
    """Remove what attempts have written and no manifest names; uploads and uses stay."""
    prefix = layout.dataset_prefix(record.tenant, record.id)
    kept = {
        layout.dataset_manifest(record.tenant, record.id),
        layout.dataset_changes(record.tenant, record.id),
        *(file.key for file in keep),
    }
    spared = (
        layout.raw_prefix(record.tenant, record.id),
        layout.dataset_uses_prefix(record.tenant, record.id),
    )
    for info in list(store.list(prefix)):
        if info.key not in kept and not info.key.startswith(spared):
            store.delete(info.key)


def wrote(attempt: int, found: Published) -> bool:
    """Tell whether this attempt published what was found."""
    return found.findings.key.split("/")[-2] == str(attempt)


def read_published(manifest: DatasetManifest) -> Published:
    """Return what a manifest says."""
    return Published(
        content_hash=manifest.content_hash,
        report=report_from_proto(manifest.report),
        findings=convert.file_from_proto(manifest.findings),
        splits=tuple(
            StoredSplit(
                split=convert.split_from_proto(split.split),
                file=convert.file_from_proto(split.file),
                row_count=split.row_count,
                labels=tuple((count.label, count.count) for count in split.labels),
            )
            for split in manifest.splits
        ),
        raw=tuple(
            RawFile(
                split=convert.split_from_proto(file.split),
                parts=tuple(convert.file_from_proto(part) for part in file.parts),
            )
            for file in manifest.raw
        ),
        validate_time=manifest.validate_time.ToDatetime(tzinfo=UTC),
    )
