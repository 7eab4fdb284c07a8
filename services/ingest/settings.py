"""What an operator can set for ingest."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import SettingsConfigDict

from services.common.pace import Pace
from services.common.settings import DatabaseSettings, PositiveSeconds
from services.common.storage import StoreOptions
from services.ingest.dataset import DatasetOptions, Limits, Profile
from services.ingest.uploading.import_settings import ImportBucketSettings, open_buckets
from services.ingest.uploading.imports import AllowedBucket
from services.ingest.uploading.limits import UploadLimits
from services.ingest.uploading.quotas import Quotas
from services.ingest.workbench import EngineOptions
from services.ingest.worker import WorkerOptions

_MIB = 1 << 20
_GIB = 1 << 30


class ProfileSettings(BaseModel):
    """A named set of minimum counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_examples: int = Field(ge=1)
    advised_examples: int = Field(ge=1)
    min_per_label: int = Field(ge=1)


class IngestSettings(DatabaseSettings):
    """Settings of the ingest service."""

    model_config = SettingsConfigDict(env_prefix="ISOGLOSS_INGEST_")

    service: ClassVar[str] = "ingest"

    address: str = "127.0.0.1:50051"
    """Host and port to listen on, such as `127.0.0.1:50051` or `[::]:50051`; port 0 takes any
    free one and logs it. Anything but loopback needs TLS and API keys, or `insecure`."""

    profiles: dict[str, ProfileSettings] = Field(
        default={
            "standard": ProfileSettings(min_examples=250, advised_examples=500, min_per_label=5),
            "small": ProfileSettings(min_examples=40, advised_examples=100, min_per_label=5),
        }
    )
    """What a dataset's `profile` may name, as JSON: `min_examples` (fewer training examples
    refuse the dataset), `advised_examples` (fewer are warned about) and `min_per_label` (a label
    with fewer unique training examples is removed). Keep one that is called `standard`: it is
    the default."""

    max_file_bytes: int = Field(default=5 * _GIB, ge=1)
    """Largest uploaded file, in bytes."""

    max_dataset_bytes: int = Field(default=5 * _GIB, ge=1)
    """Largest sum of a dataset's files, in bytes."""

    upload_part_bytes: int = Field(default=8 * _MIB, ge=64 << 10, le=64 * _MIB)
    """Bytes of one stored part of an upload. An upload in progress holds about four times this in
    memory: three parts that are being stored, and the next one that comes meanwhile."""

    concurrent_uploads: int = Field(default=16, ge=1, le=1024)
    """Uploads that one process takes at the same time; more are told to try again in a second.
    Each holds about four times `upload_part_bytes`: 16 x 4 x 8 MiB are 512 MiB at most."""

    stream_idle_seconds: PositiveSeconds = 60.0
    """Longest wait for the next message of an upload or a check, and until one of a download is
    taken. A stream that is silent for longer is ended, which frees its memory and its place; what
    an upload brought is kept."""

    stream_min_bytes_per_second: int = Field(default=1024, ge=0)
    """Least rate of an upload or a check, over any `stream_idle_seconds` spent waiting for its
    caller. A slower stream is ended; what it brought is kept. What a download's caller takes may
    come as slowly. 0 takes any rate."""

    direct_upload_endpoint: str = ""
    """`https://host:port` at which clients reach the S3 store, for uploads past this service; by
    default the endpoint in `store`."""

    upload_url_seconds: int = Field(default=3600, ge=60, le=7 * 24 * 3600)
    """How long an address for a direct upload works."""

    max_uploads_per_tenant: int = Field(default=100, ge=0)
    """Most datasets of one tenant that are being uploaded to or imported. 0: no limit."""

    max_stored_bytes_per_tenant: int = Field(default=0, ge=0)
    """Most bytes of all datasets of one tenant, uploads in progress included. 0: no limit."""

    import_buckets: dict[str, ImportBucketSettings] = Field(default={})
    """Buckets that datasets may be imported from, as JSON, by name: `endpoint`
    (`https://host:port`), `access_key`, `secret_key`, `region`, and `tenants` (a list of those who
    may; empty lets everybody). Without an endpoint: the server and the credentials of `store`. The
    bucket of `store` itself cannot be one."""

    concurrent_imports: int = Field(default=1, ge=1, le=64)
    """Datasets that are imported at the same time."""

    retention_days: float = Field(default=0.0, ge=0)
    """Days after its creation at which a dataset is deleted whose creator set no `expire_time`.
    Datasets that models use wait. 0 keeps them."""

    abandoned_upload_hours: float = Field(default=72.0, gt=0)
    """Hours without a new byte after which an upload that was not finalised is deleted."""

    orphan_grace_hours: float = Field(default=24.0, ge=0)
    """Age from which an object in the store that belongs to no dataset is removed. Two ingest
    services with databases of their own must not share a store: each would take the other's
    uploads for such."""

    sweep_seconds: PositiveSeconds = 3600.0
    """Seconds between two looks for expired datasets, abandoned uploads and such objects."""

    concurrent_checks: int = Field(default=3, ge=1, le=64)
    """Calls of CheckDataset and DiffDatasets, and downloads in another format than the stored one,
    that one process works on at the same time; more are told to try again in a second, and so is a
    tenant that has all of them but one. Each has a DuckDB of its own (`duckdb_memory`), and a
    check up to five times its files' size of scratch."""

    max_rows: int = Field(default=50_000_000, ge=1)
    """Most data rows of one file."""

    max_labels: int = Field(default=1_000, ge=2, le=1_000)
    """Most labels of one dataset. A preview of more would not fit into one response."""

    max_text_bytes: int = Field(default=_MIB, ge=1, le=64 * _MIB)
    """Longest text in UTF-8 bytes; a row with a longer one is dropped and listed."""

    max_record_bytes: int = Field(default=2 * _MIB, ge=1024, le=256 * _MIB)
    """Longest record of a file in bytes, and how far the end of a quote is looked for. About
    three times this is held in memory."""

    max_columns: int = Field(default=256, ge=2, le=10_000)
    """Most columns of a file, those that are left out included."""

    max_decompressed_bytes: int = Field(default=20 * _GIB, ge=1)
    """Largest file after decompression, in bytes: what a small file can claim on the scratch
    disk."""

    max_validation_seconds: PositiveSeconds = 3600.0
    """Longest validation or check; a dataset that takes longer is refused."""

    max_malformed_share: float = Field(default=0.1, ge=0, le=1)
    """Share of malformed rows over which a file is refused; below, they are dropped and
    listed."""

    validators: int = Field(default=1, ge=1, le=64)
    """Datasets that are validated at the same time."""

    duckdb_memory: str = "512MiB"
    """Memory of each DuckDB of a validation: of one, and of one for each of its threads, which
    hardly need any. What needs more goes to the scratch directory."""

    duckdb_threads: int = Field(default=2, ge=1)
    """Threads of one validation's DuckDB, and runs of rows, or splits, that it works on at once."""

    lease_seconds: PositiveSeconds = 60.0
    """Seconds without a sign of life after which another validator starts a dataset again."""

    max_attempts: int = Field(default=5, ge=1)
    """Attempts after which a dataset that kills its validator fails."""

    poll_seconds: PositiveSeconds = 1.0
    """Seconds between two looks for datasets that another replica was told to validate, or left
    behind. What this replica is told to validate starts at once."""

    cache_bytes: int = Field(default=2 * _GIB, ge=0)
    """Bytes of published files kept in `data_directory` for previews and lists of findings."""

    @field_validator("profiles")
    @classmethod
    def _has_standard(cls, profiles: dict[str, ProfileSettings]) -> dict[str, ProfileSettings]:
        if DatasetOptions().profile not in profiles:
            raise ValueError(f"one profile must be called {DatasetOptions().profile}")
        return profiles

    @property
    def upload_limits(self) -> UploadLimits:
        """What uploads may be."""
        return UploadLimits(
            max_file_bytes=self.max_file_bytes,
            max_dataset_bytes=self.max_dataset_bytes,
            part_bytes=self.upload_part_bytes,
        )

    @property
    def store_options(self) -> StoreOptions:
        """What `open_store` needs beside the URL."""
        options = super().store_options
        return replace(options, public_endpoint=self.direct_upload_endpoint)

    @property
    def quotas(self) -> Quotas:
        """What one tenant may have."""
        return Quotas(
            max_uploads=self.max_uploads_per_tenant,
            max_stored_bytes=self.max_stored_bytes_per_tenant,
        )

    @property
    def pace(self) -> Pace:
        """What a stream must send at least."""
        return Pace(
            idle_seconds=self.stream_idle_seconds,
            bytes_per_second=self.stream_min_bytes_per_second,
            advice="What came is kept: go on at the committed size.",
        )

    @property
    def retention(self) -> timedelta | None:
        """After how long datasets are deleted by default; None for never."""
        return timedelta(days=self.retention_days) if self.retention_days else None

    def open_import_buckets(self) -> dict[str, AllowedBucket]:
        """Return what may be imported from.

        Raises:
            ValueError: Where a bucket cannot be meant.
        """
        return open_buckets(self.import_buckets, store=self.store_url, options=self.store_options)

    def named_profiles(self) -> dict[str, Profile]:
        """Return the profiles as the domain knows them."""
        return {name: Profile(**profile.model_dump()) for name, profile in self.profiles.items()}

    def worker_options(self, scratch: Path) -> WorkerOptions:
        """Return how a validator works, given its scratch directory."""
        return WorkerOptions(
            scratch=scratch,
            profiles=self.named_profiles(),
            limits=Limits(
                max_rows=self.max_rows,
                max_labels=self.max_labels,
                max_text_bytes=self.max_text_bytes,
                max_record_bytes=self.max_record_bytes,
                max_malformed_share=self.max_malformed_share,
                max_columns=self.max_columns,
                max_decompressed_bytes=self.max_decompressed_bytes,
                max_seconds=self.max_validation_seconds,
            ),
            engine=EngineOptions(memory_limit=self.duckdb_memory, threads=self.duckdb_threads),
            owner=f"{socket.gethostname()}:{os.getpid()}",
            lease_seconds=self.lease_seconds,
            max_attempts=self.max_attempts,
        )
