"""Judges whole files as a dataset's would be, and keeps nothing of them.

Knows neither the store nor the database. Blocking; one check is in one thread at a time.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from services.common.errors import (
    FieldViolation,
    InvalidArgument,
    Reason,
    ResourceExhausted,
)
from services.common.pagination import PageRequest
from services.common.storage import CHUNK_BYTES
from services.ingest.cancellation import Cancellation
from services.ingest.checks.rulebook import Rulebook
from services.ingest.checks.validation import validate
from services.ingest.dataset import DatasetOptions, Limits, Profile, Report, Split, UploadedFile
from services.ingest.finding import Finding
from services.ingest.option_rules import check_options
from services.ingest.published.findings import list_findings
from services.ingest.published.preview import SplitPreview, preview
from services.ingest.uploading.limits import UploadLimits
from services.ingest.workbench import EngineOptions

MAX_FINDINGS = 1000
"""Findings that a check shows: what one page of ListFindings holds at most."""

_PREVIEW_ROWS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What a dataset of these files would be."""

    report: Report
    refusals: tuple[Finding, ...]
    """Why it could not be one; empty where it could."""

    findings: tuple[Finding, ...]
    """The first ones, by split and line."""

    previews: tuple[SplitPreview, ...]
    content_hash: str


class Checker:
    """Begins checks. Thread safe."""

    def __init__(
        self,
        *,
        scratch: Path,
        profiles: Mapping[str, Profile],
        limits: Limits,
        engine: EngineOptions,
        upload_limits: UploadLimits,
    ) -> None:
        """Keep the parts.

        Args:
            scratch: Directory for what lies there during a check: about five times the files.
            profiles: What `DatasetOptions.profile` may name.
            limits: What a dataset may hold.
            engine: What DuckDB may use.
            upload_limits: How large the files may be.
        """
        self._scratch = scratch
        self._profiles = profiles
        self._limits = limits
        self._engine = engine
        self._upload_limits = upload_limits

    def begin(self, options: DatasetOptions) -> Check:
        """Begin a check of files that are to be read by `options`.

        Raises:
            InvalidArgument: Naming every option that is wrong.
        """
        if violations := check_options(options, self._profiles, field="options"):
            raise InvalidArgument(violations)
        rulebook = Rulebook(
            options=options,
            profile=self._profiles[options.profile],
            limits=self._limits,
            engine=self._engine,
        )
        self._scratch.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(dir=self._scratch, prefix="check-"))
        return Check(directory, rulebook=rulebook, limits=self._upload_limits)


class Check:
    """Files that come one after another, and then the verdict on them."""

    def __init__(self, directory: Path, *, rulebook: Rulebook, limits: UploadLimits) -> None:
        """Begin without a file.

        Args:
            directory: Scratch that is empty; `close` removes it.
            rulebook: What is demanded.
            limits: How large the files may be.
        """
        self._directory = directory
        self._rulebook = rulebook
        self._limits = limits
        self._sizes: dict[Split, int] = {}

    def has(self, split: Split) -> bool:
        """Tell whether a file of this split came, be it empty."""
        return split in self._sizes

    def add(self, split: Split, data: bytes) -> None:
        """Append bytes to a file, the last one or a new one.

        Raises:
            InvalidArgument: Where another file came in between.
            ResourceExhausted: Where the file or all of them become too large.
        """
        if split in self._sizes and split != next(reversed(self._sizes)):
            raise InvalidArgument(
                FieldViolation(
                    field="split",
                    description=f"the {split} file ended where the next one began: send the files "
                    "one after another.",
                )
            )
        size = self._sizes.get(split, 0) + len(data)
        total = sum(self._sizes.values()) + len(data)
        for what, found, limit in (
            (f"The {split} file has", size, self._limits.max_file_bytes),
            ("The files together have", total, self._limits.max_dataset_bytes),
        ):
            if found > limit:
                raise ResourceExhausted(
                    f"{what} more than {limit} bytes, as many as this server takes: check a part "
                    "of them.",
                    reason=Reason.LIMIT_EXCEEDED,
                    metadata={"limit": str(limit), "split": split},
                )
        self._sizes[split] = size
        with self._path(split).open("ab") as file:
            file.write(data)

    def judge(self, cancellation: Cancellation) -> CheckResult:
        """Return what a dataset of the files would be.

        Raises:
            Cancelled: Where it was told to stop.
        """
        work = self._directory / "work"
        work.mkdir()
        verdict = validate(
            {
                split: UploadedFile(size_bytes=size, chunks=partial(self._read, split))
                for split, size in self._sizes.items()
            },
            rulebook=self._rulebook,
            directory=work,
            progress=lambda _phase, _fraction: cancellation.check(),
            cancellation=cancellation,
        )
        first = PageRequest(size=MAX_FINDINGS, cursor=None, checksum="")
        found = list_findings(verdict.findings, request=first, codes=(), min_severity=0)
        return CheckResult(
            report=verdict.report,
            refusals=verdict.refusals,
            findings=tuple(found.items),
            previews=tuple(preview(verdict.splits, rows=_PREVIEW_ROWS)),
            content_hash=verdict.content_hash,
        )

    def close(self) -> None:
        """Remove everything that came."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def _path(self, split: Split) -> Path:
        return self._directory / f"{split}.upload"

    def _read(self, split: Split) -> Iterator[bytes]:
        with self._path(split).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
