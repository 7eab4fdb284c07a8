"""What an operator can set for ingest."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import SettingsConfigDict

from services.common.settings import DatabaseSettings, PositiveSeconds
from services.ingest.dataset import DatasetOptions, Limits, Profile
from services.ingest.uploads import UploadLimits
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
    """Bytes of one stored part of an upload. An upload in progress holds about twice this in
    memory."""

    concurrent_uploads: int = Field(default=16, ge=1, le=1024)
    """Uploads that one process takes at the same time; more are told to try again in a second.
    Each holds about twice `upload_part_bytes`: 16 x 2 x 8 MiB are 256 MiB at most."""

    concurrent_checks: int = Field(default=2, ge=1, le=64)
    """Calls of CheckDataset and DiffDatasets, and downloads in another format than the stored one,
    that one process works on at the same time; more are told to try again in a second. Each has a
    DuckDB of its own (`duckdb_memory`), and a check up to five times its files' size of scratch."""

    max_rows: int = Field(default=20_000_000, ge=1)
    """Most data rows of one file."""

    max_labels: int = Field(default=1_000, ge=2, le=1_000)
    """Most labels of one dataset. A preview of more would not fit into one response."""

    max_text_bytes: int = Field(default=_MIB, ge=1, le=64 * _MIB)
    """Longest text in UTF-8 bytes; a row with a longer one is dropped and listed."""

    max_record_bytes: int = Field(default=2 * _MIB, ge=1024, le=256 * _MIB)
    """Longest record of a file in bytes, and how far the end of a quote is looked for. About
    three times this is held in memory."""

    max_malformed_share: float = Field(default=0.1, ge=0, le=1)
    """Share of malformed rows over which a file is refused; below, they are dropped and
    listed."""

    validators: int = Field(default=1, ge=1, le=64)
    """Datasets that are validated at the same time."""

    duckdb_memory: str = "256MiB"
    """Memory of one validation's DuckDB; what needs more goes to the scratch directory."""

    duckdb_threads: int = Field(default=2, ge=1)
    """Threads of one validation's DuckDB."""

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
            ),
            engine=EngineOptions(memory_limit=self.duckdb_memory, threads=self.duckdb_threads),
            owner=f"{socket.gethostname()}:{os.getpid()}",
            lease_seconds=self.lease_seconds,
            max_attempts=self.max_attempts,
        )
