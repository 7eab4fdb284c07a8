"""From uploaded bytes to a verdict: what the dataset holds, or why it was refused.

Runs in one thread and one scratch directory; knows neither the store nor the database.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from services.ingest.cancellation import Cancellation, Cancelled
from services.ingest.checks import staging, token_lengths
from services.ingest.checks.rules import Rules
from services.ingest.checks.splits import deal_out
from services.ingest.checks.verdict import judge
from services.ingest.dataset import (
    Checked,
    DatasetOptions,
    FileReport,
    FindingCount,
    Limits,
    Profile,
    Report,
    Split,
    UploadedFile,
)
from services.ingest.finding import (
    EXCERPT_LENGTH,
    Code,
    Finding,
    FindingWriter,
    Refused,
    Severity,
)
from services.ingest.reading.front_check import check_file
from services.ingest.workbench import EngineOptions, Interrupted, Workbench

RULES_VERSION = 1
"""Part of every content hash: raise it when the same bytes would give other rows."""

_COLLECTED = """
CREATE TABLE collected AS
SELECT coalesce(list_position(getvariable('names'), split), 0) AS place, *
FROM read_csv(
  getvariable('written'), header = false, auto_detect = false,
  delim = ',', quote = '"', escape = '"', new_line = '\\n', nullstr = getvariable('nullstr'),
  columns = {'split': 'VARCHAR', 'line': 'BIGINT', 'row': 'BIGINT', 'column': 'VARCHAR',
    'code': 'VARCHAR', 'severity': 'INTEGER', 'message': 'VARCHAR', 'excerpt': 'VARCHAR',
    'fix': 'VARCHAR', 'count': 'BIGINT'})
"""
# What the rules write in SQL is always about a row that they drop: severity 3.
_COLLECT_DROPPED = """
INSERT INTO collected BY NAME
SELECT
  split + 1 AS place, getvariable('names')[split + 1] AS split, line, row, "column", code,
  3 AS severity, message, left(excerpt, 200) AS excerpt, fix, 1 AS count
FROM read_parquet(getvariable('found'))
"""
_IN_ORDER = """
SELECT split, line, row, "column", code, severity, message, excerpt, fix, count
FROM collected ORDER BY place, line, row, code, message
"""

# The work in front of DuckDB is two fifths of the whole, measured on 200 MB.
_READING = 0.4
_TOKEN_BATCH = 64
_STAGING = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRows:
    """The rows of one split, ready to be published."""

    split: Split
    path: Path
    """Parquet: text VARCHAR, labels VARCHAR[], row BIGINT, line BIGINT; in order of the file."""

    row_count: int
    labels: tuple[tuple[str, int], ...]
    """Each label and its rows, most frequent first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What validation found."""

    report: Report
    findings: Path
    """Parquet with the fields of a finding, by split and line."""

    refusals: tuple[Finding, ...]
    """Why the dataset was refused; empty where it was accepted."""

    content_hash: str
    splits: tuple[SplitRows, ...] = ()
    """Empty where it was refused."""

    labels: tuple[str, ...] = ()
    """Labels of the training rows, in code point order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rulebook:
    """What the operator and the caller demand of a dataset."""

    options: DatasetOptions
    profile: Profile
    limits: Limits
    engine: EngineOptions


def content_hash(files: Mapping[Split, str], rulebook: Rulebook) -> str:
    """Return the hash of the files' bytes and of everything that decides what becomes of them.

    Args:
        files: sha256 of each uploaded file.
        rulebook: Options, profile and limits.
    """
    described = {
        "rules": RULES_VERSION,
        "files": {str(split): files[split] for split in Split if split in files},
        "options": asdict(rulebook.options),
        "profile": asdict(rulebook.profile),
        "limits": asdict(rulebook.limits),
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def validate(
    files: Mapping[Split, UploadedFile],
    *,
    rulebook: Rulebook,
    directory: Path,
    progress: Callable[[str, float], None] = lambda _phase, _fraction: None,
    cancellation: Cancellation | None = None,
) -> Verdict:
    """Validate the uploaded files.

    Args:
        files: The uploaded files.
        rulebook: What is demanded.
        directory: Scratch that is empty; the verdict's files lie there.
        progress: Told the phase in words and the share of all work that is done, 0 to 1;
            what it raises ends the validation.
        cancellation: Ends it from another thread.

    Raises:
        Cancelled: Where it was told to stop.
    """
    cancellation = cancellation or Cancellation()
    with (
        Workbench(directory, rulebook.engine) as bench,
        FindingWriter(bench.directory / "findings.csv") as findings,
    ):
        cancellation.attach(bench.interrupt)
        try:
            return _Validation(bench, findings, rulebook, progress).run(files)
        except Interrupted:
            raise Cancelled from None
        finally:
            cancellation.attach(None)


class _Validation:
    def __init__(
        self,
        bench: Workbench,
        findings: FindingWriter,
        rulebook: Rulebook,
        progress: Callable[[str, float], None],
    ) -> None:
        self._bench = bench
        self._findings = findings
        self._rules = rulebook
        self._progress = progress
        self._checked: dict[Split, Checked] = {}
        self._summaries: list[Finding] = []
        """Findings about a file or the dataset, which become the report's warnings."""

    def run(self, files: Mapping[Split, UploadedFile]) -> Verdict:
        refusals = self._read(files)
        if refusals:
            return self._refuse(refusals)
        for number, split in enumerate(self._checked):
            self._progress(f"checking {split}", _READING + _STAGING * number / len(files))
            staging.stage(
                self._bench, split=split, checked=self._checked[split], limits=self._rules.limits
            )
        staging.open_stages(self._bench)
        self._findings.extend(staging.cleaning_findings(self._bench))
        self._bench.write(staging.single_row_findings(), "single.findings.parquet")
        self._progress("comparing rows", 0.7)
        rules = Rules(self._bench, min_per_label=self._rules.profile.min_per_label)
        rules.drop_repetitions()
        rules.drop_rare_labels()
        self._progress("counting tokens", 0.8)
        over_long = self._count_tokens()
        judgement = judge(
            self._bench,
            profile=self._rules.profile,
            profile_name=self._rules.options.profile,
            limits=self._rules.limits,
            checked=self._checked,
            over_long=over_long,
        )
        self._add(*judgement.findings)
        report = replace(judgement.report, files=self._files())
        if judgement.refusals:
            return self._refuse(judgement.refusals, report)
        return self._accept(report)

    def _read(self, files: Mapping[Split, UploadedFile]) -> list[Finding]:
        """Run the front check over every file, so that all their faults are told at once."""
        refusals: list[Finding] = []
        total = sum(file.size_bytes for file in files.values()) or 1
        done = 0
        for split in (split for split in Split if split in files):
            file = files[split]
            try:
                self._checked[split] = check_file(
                    self._metered(file.chunks(), split, done, total),
                    split=split,
                    options=self._rules.options,
                    limits=self._rules.limits,
                    directory=self._bench.directory,
                    findings=self._findings,
                )
            except Refused as refusal:
                refusals.extend(refusal.of(split).findings)
            done += file.size_bytes
        return refusals

    def _metered(
        self, chunks: Iterable[bytes], split: Split, done: int, total: int
    ) -> Iterable[bytes]:
        for chunk in chunks:
            self._progress(f"reading {split}", _READING * min(done / total, 1))
            yield chunk
            done += len(chunk)

    def _count_tokens(self) -> int:
        """Warn of each text over the limit; return how many there are."""
        limit = self._rules.limits.max_tokens
        splits = list(Split)
        self._bench.set(bytes_limit=limit - token_lengths.SPECIAL_TOKENS)
        candidates = (
            "SELECT split, line, row, text FROM remaining "
            "WHERE strlen(text) > getvariable('bytes_limit') ORDER BY split, row"
        )
        found = 0
        for rows in self._bench.batches(candidates, _TOKEN_BATCH):
            longer = token_lengths.longer_than(limit, [text for *_, text in rows])
            for (split, line, row, text), is_longer in zip(rows, longer, strict=True):
                if is_longer:
                    found += 1
                    self._findings.add(_over_long(limit, splits[split], line, row, text))
        return found

    def _add(self, *findings: Finding) -> None:
        self._findings.extend(findings)
        self._summaries.extend(findings)

    def _files(self) -> tuple[FileReport, ...]:
        return tuple(
            FileReport(
                split=split,
                size_bytes=checked.size_bytes,
                sha256=checked.sha256,
                dialect=checked.dialect,
                row_count=checked.rows_read,
            )
            for split, checked in self._checked.items()
        )

    def _refuse(self, refusals: Iterable[Finding], report: Report | None = None) -> Verdict:
        refusals = tuple(refusals)
        self._add(*refusals)
        return self._verdict(report or Report(files=self._files()), refusals=refusals)

    def _accept(self, report: Report) -> Verdict:
        self._progress("dealing out splits", 0.85)
        dealt = deal_out(self._bench, given=self._checked.keys(), options=self._rules.options.split)
        splits = []
        for split in Split:
            self._progress(f"writing {split}", 0.9)
            splits.append(self._write(split))
        counts = {rows.split: rows.row_count for rows in splits}
        if dealt:
            self._add(self._dealt_out(counts))
        report = replace(report, splits=counts, dealt=self._rules.options.split if dealt else None)
        labels = tuple(sorted(label for label, _ in splits[0].labels))
        return self._verdict(report, splits=tuple(splits), labels=labels)

    def _dealt_out(self, counts: Mapping[Split, int]) -> Finding:
        moved = [split for split in Split if split not in self._checked]
        parts = " and ".join(f"{counts[split]} for {split}" for split in moved)
        files = "file was" if len(moved) == 1 else "files were"
        return Finding(
            code=Code.ROWS_DEALT_OUT,
            message=f"Of the training rows {parts} were set aside, because no such {files} "
            f"uploaded (seed {self._rules.options.split.seed}).",
            count=sum(counts[split] for split in moved),
        )

    def _write(self, split: Split) -> SplitRows:
        self._bench.set(wanted=staging.SPLIT_NUMBERS[split])
        path = self._bench.write(
            "SELECT text, [label] AS labels, row, line FROM final "
            "WHERE split = getvariable('wanted') ORDER BY row",
            f"{split}.parquet",
            compression="zstd",
        )
        labels = self._bench.rows(
            "SELECT label, count(*) FROM final WHERE split = getvariable('wanted') "
            "GROUP BY label ORDER BY count(*) DESC, label"
        )
        return SplitRows(
            split=split,
            path=path,
            row_count=sum(count for _, count in labels),
            labels=tuple((label, count) for label, count in labels),
        )

    def _verdict(
        self,
        report: Report,
        *,
        refusals: tuple[Finding, ...] = (),
        splits: tuple[SplitRows, ...] = (),
        labels: tuple[str, ...] = (),
    ) -> Verdict:
        self._progress("writing findings", 0.95)
        self._findings.flush()
        path = self._collect_findings()
        counts = self._bench.rows(
            "SELECT code, severity, count(*) FROM read_parquet(getvariable('collected')) "
            "GROUP BY ALL ORDER BY severity DESC, count(*) DESC, code"
        )
        warnings = sorted(
            (found for found in self._summaries if found.severity <= Severity.WARNING),
            key=lambda found: -found.severity,
        )
        return Verdict(
            report=replace(
                report,
                findings=tuple(
                    FindingCount(code=code, severity=severity, count=count)
                    for code, severity, count in counts
                ),
                warnings=tuple(found.message for found in warnings),
            ),
            findings=path,
            refusals=refusals,
            content_hash=content_hash(
                {split: checked.sha256 for split, checked in self._checked.items()}, self._rules
            ),
            splits=splits,
            labels=labels,
        )

    def _collect_findings(self) -> Path:
        """Bring the findings of all rules into one order and one file."""
        bench = self._bench
        bench.set(written=str(self._findings.path), names=[str(split) for split in Split])
        bench.run(_COLLECTED)
        for path in sorted(bench.directory.glob("*.findings.parquet")):
            bench.set(found=str(path))
            bench.run(_COLLECT_DROPPED)
        path = bench.write(_IN_ORDER, "findings.parquet", compression="zstd")
        bench.set(collected=str(path))
        return path


def _over_long(limit: int, split: Split, line: int, row: int, text: str) -> Finding:
    return Finding(
        code=Code.TOKEN_LIMIT,
        message=f"The text has more than {limit} tokens; a model reads its beginning only.",
        split=split,
        line=line,
        row=row,
        column="text",
        excerpt=text[:EXCERPT_LENGTH],
        fix="Shorten it, so that what decides the label stands in front.",
        count=1,
    )
