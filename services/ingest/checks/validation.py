"""From uploaded bytes to a verdict: what the dataset holds, or why it was refused.

Runs in one scratch directory; knows neither the store nor the database. It only
says what happens in which order: each step is a module of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from services.ingest.cancellation import Cancellation, Cancelled
from services.ingest.checks import (
    advice,
    cleaning_rows,
    explained,
    labels,
    near_duplicates,
    rules,
    statistics,
)
from services.ingest.checks.lanes import Lanes
from services.ingest.checks.outlet import Nowhere, Outlet
from services.ingest.checks.rulebook import Parent, Rulebook, content_hash
from services.ingest.checks.splits import deal_out, dealt_out, is_scored
from services.ingest.checks.stages import Stages
from services.ingest.checks.staging import Stage, open_staged
from services.ingest.checks.time_limit import TimeLimit
from services.ingest.checks.verdict import judge
from services.ingest.checks.written import RowWriter, SplitRows
from services.ingest.dataset import (
    Checked,
    FileReport,
    NearDuplicates,
    Overlap,
    Records,
    Report,
    Split,
    UploadedFile,
)
from services.ingest.finding import Finding, FindingWriter, Refused, Severity
from services.ingest.reading.front_check import check_file
from services.ingest.workbench import Interrupted, Workbench

# How far each step gets, measured on 1 GB.
_READ = 0.5
_STAGED = 0.55
_COMPARED = 0.6
_SKETCHED = 0.7
_DEALT = 0.75
_MEASURED = 0.85
_WRITTEN = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What validation found."""

    report: Report
    findings: Path
    """Parquet with the fields of a finding, by split and line."""

    refusals: tuple[Finding, ...]
    """Why the dataset was refused; empty where it was accepted."""

    content_hash: str
    multi_label: bool = False
    splits: tuple[SplitRows, ...] = ()
    """Empty where it was refused."""

    labels: tuple[str, ...] = ()
    """Labels of the training rows, in code point order."""


def validate(
    files: Mapping[Split, UploadedFile],
    *,
    rulebook: Rulebook,
    directory: Path,
    parent: Parent | None = None,
    progress: Callable[[str, float], None] = lambda _phase, _fraction: None,
    outlet: Outlet | None = None,
    cancellation: Cancellation | None = None,
) -> Verdict:
    """Validate the uploaded files.

    Args:
        files: The uploaded files.
        rulebook: What is demanded.
        directory: Scratch that is empty but for the parent's files; the verdict's files lie there.
        parent: A dataset whose rows come first and stay as they are.
        progress: Told the phase in words and the share of all work that is done, 0 to 1;
            what it raises ends the validation.
        outlet: Told of each of the verdict's files when it is begun and when it is whole.
        cancellation: Ends it from another thread.

    Raises:
        Cancelled: Where it was told to stop.
    """
    cancellation = cancellation or Cancellation()
    with (
        Workbench(directory, rulebook.engine) as bench,
        FindingWriter(bench.directory / "findings.csv") as findings,
        TimeLimit(rulebook.limits.max_seconds, bench.interrupt) as limit,
    ):
        cancellation.attach(bench.interrupt)

        def told(phase: str, fraction: float) -> None:
            limit.check()
            progress(phase, fraction)

        validation = _Validation(
            bench, findings, rulebook, parent, progress=told, outlet=outlet or Nowhere()
        )
        try:
            return validation.run(files)
        except Refused as refusal:
            return validation.refuse(refusal.findings)
        except Interrupted:
            if cancellation.is_cancelled or not limit.is_over:
                raise Cancelled from None
            return validation.refuse(limit.refusal().findings)
        finally:
            cancellation.attach(None)


class _Validation:
    def __init__(
        self,
        bench: Workbench,
        findings: FindingWriter,
        rulebook: Rulebook,
        parent: Parent | None,
        *,
        progress: Callable[[str, float], None],
        outlet: Outlet,
    ) -> None:
        self._bench = bench
        self._findings = findings
        self._rules = rulebook
        self._parent = parent
        self._progress = progress
        self._outlet = outlet
        self._checked: dict[Split, Checked] = {}
        self._summaries: list[Finding] = []
        """Findings about a file or the dataset, which become the report's warnings."""

        self._report = Report()
        self._multi_label = parent is not None and parent.multi_label

    def run(self, files: Mapping[Split, UploadedFile]) -> Verdict:
        threads = self._rules.engine.threads
        prepare = partial(cleaning_rows.prepare, cleaning=self._rules.options.cleaning)
        with Lanes(self._bench, threads, prepare) as lanes:
            stages = Stages(lanes, self._rules.limits, most_waiting=threads + 1)
            refusals = self._read(files, stages)
            self._report = Report(files=self._files())
            staged = () if refusals else self._stage(stages)
        if refusals:
            return self.refuse(refusals)
        overlaps = self._compare(staged)
        judgement = judge(
            self._bench,
            profile=self._rules.profile,
            profile_name=self._rules.options.profile,
            limits=self._rules.limits,
            checked=self._checked,
            multi_label=self._multi_label,
        )
        self._add(*labels.variants(self._bench), *judgement.findings)
        self._report = replace(
            judgement.report,
            files=self._report.files,
            multi_label=self._multi_label,
            overlaps=overlaps,
        )
        if judgement.refusals:
            self._measure()
            return self.refuse(judgement.refusals)
        return self._accept(staged)

    def refuse(self, refusals: Iterable[Finding]) -> Verdict:
        """Return what is known of a dataset that cannot be used."""
        refusals = tuple(refusals)
        self._add(*refusals)
        return self._verdict(refusals=refusals)

    def _read(self, files: Mapping[Split, UploadedFile], stages: Stages) -> list[Finding]:
        """Read and stage every file, so that all their faults are told at once."""
        if self._parent:
            for split, path in self._parent.splits.items():
                stages.add_parent(split, path)
        refusals: list[Finding] = []
        total = sum(file.size_bytes for file in files.values()) or 1
        done = 0
        for split in (split for split in Split if split in files):
            file = files[split]
            read = done + file.size_bytes
            try:
                self._checked[split] = check_file(
                    replace(file, chunks=self._metered(file, split, done, total)),
                    split=split,
                    options=self._rules.options,
                    limits=self._rules.limits,
                    directory=self._bench.directory,
                    take=partial(self._take, stages),
                    forget=partial(stages.forget, split),
                    findings=self._findings,
                    check=partial(self._progress, f"reading {split}", _READ * min(read / total, 1)),
                )
            except Refused as refusal:
                refusals.extend(refusal.of(split).findings)
            done = read
        return refusals

    def _metered(
        self, file: UploadedFile, split: Split, done: int, total: int
    ) -> Callable[[], Iterable[bytes]]:
        def chunks() -> Iterable[bytes]:
            read = done
            for chunk in file.chunks():
                self._progress(f"reading {split}", _READ * min(read / total, 1))
                yield chunk
                read += len(chunk)

        return chunks

    def _take(self, stages: Stages, records: Records) -> None:
        self._multi_label |= bool(records.layout.label_separator)
        stages.add(records)

    def _stage(self, stages: Stages) -> tuple[Stage, ...]:
        """Wait until all rows are staged, and look at them."""
        self._progress("checking rows", _READ)
        staged = stages.finish()
        bench = self._bench
        open_staged(bench, staged)
        if self._parent:
            bench.set(parent_name=self._parent.name)
        bench.write(cleaning_rows.findings_query(), "cleaned.findings.parquet")
        self._findings.extend(cleaning_rows.summaries(bench))
        return staged

    def _compare(self, staged: Sequence[Stage]) -> tuple[Overlap, ...]:
        """Apply what rows mean to each other; each rule sees what the one before has left."""
        bench = self._bench
        self._progress("comparing rows", _STAGED)
        rules.prepare(bench)
        overlaps = rules.drop_copies(bench)
        self._progress("looking for near duplicates", _COMPARED)
        overlaps = near_duplicates.merged(overlaps, self._compare_closely(staged))
        labels.drop_rare(
            bench,
            min_per_label=self._rules.profile.min_per_label,
            multi_label=self._multi_label,
        )
        explained.explain(bench, staged, self._rules.limits)
        return overlaps

    def _compare_closely(self, staged: Sequence[Stage]) -> tuple[Overlap, ...]:
        mode = self._rules.options.near_duplicates
        if mode is NearDuplicates.OFF:
            near_duplicates.find_none(self._bench)
            return ()
        near_duplicates.find(
            self._bench,
            staged,
            threads=self._rules.engine.threads,
            check=lambda: self._progress("looking for near duplicates", _COMPARED),
        )
        return near_duplicates.judge(self._bench, drop=mode is NearDuplicates.DROP)

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
                row_count=checked.rows_kept,
                malformed_count=checked.rows_read - checked.rows_kept,
            )
            for split, checked in self._checked.items()
        )

    def _accept(self, staged: Sequence[Stage]) -> Verdict:
        self._progress("dealing out splits", _SKETCHED)
        options = self._rules.options.split
        given = self._given()
        dealt = deal_out(self._bench, given=given, options=options)
        splits = self._write(RowWriter(self._bench, staged, multi_label=self._multi_label))
        self._progress("writing findings", _WRITTEN)
        counts = {part.split: part.row_count for part in splits}
        if dealt:
            self._add(*dealt_out(counts, given=given, options=options))
        self._report = replace(
            self._report,
            splits=counts,
            dealt=options.but_for(given) if dealt else None,
            trainable=is_scored(counts),
        )
        return self._verdict(splits=splits)

    def _write(self, writer: RowWriter) -> tuple[SplitRows, ...]:
        """Write all splits, and measure texts beside the largest, which is the first mostly."""
        with Lanes(self._bench, self._rules.engine.threads, writer.prepare) as lanes:

            def begin(split: Split) -> Future[SplitRows]:
                self._outlet.begin(writer.path(split), self._content_hash())
                return lanes.submit(partial(writer.write, split=split))

            first, *others = Split
            writing = [begin(first)]
            self._measure()
            writing += map(begin, others)
            self._progress("writing rows", _MEASURED)
            for one in as_completed(writing):
                self._outlet.finish(one.result().path)
        return tuple(one.result() for one in writing)

    def _measure(self) -> None:
        self._progress("measuring texts", _DEALT)
        measured = statistics.measure(
            self._bench, limits=self._rules.limits, findings=self._findings
        )
        self._add(*measured.findings)
        self._report = replace(
            self._report,
            tokens=measured.tokens,
            languages=measured.languages,
            over_long_texts=measured.over_long,
        )

    def _given(self) -> set[Split]:
        """Return the splits that have rows of their own, by a file or by a column."""
        given = set(self._checked)
        if self._rules.options.split.column:
            homes = self._bench.rows("SELECT DISTINCT home FROM remaining WHERE split <= 2")
            given |= {list(Split)[home] for (home,) in homes}
        if self._parent:
            given |= self._parent.given
        return given

    def _verdict(
        self,
        *,
        refusals: tuple[Finding, ...] = (),
        splits: tuple[SplitRows, ...] = (),
    ) -> Verdict:
        path, counts = explained.collect(self._bench, self._findings)
        self._outlet.begin(path, self._content_hash())
        self._outlet.finish(path)
        warnings = sorted(
            (found for found in self._summaries if found.severity <= Severity.WARNING),
            key=lambda found: -found.severity,
        )
        of_training = splits[0].labels if splits else ()
        report = replace(
            self._report,
            findings=counts,
            warnings=tuple(found.message for found in warnings),
            dropped_rows=sum(
                found.count for found in counts if found.severity == Severity.ROW_DROPPED
            ),
        )
        return Verdict(
            report=advice.advised(report, labels=of_training),
            findings=path,
            refusals=refusals,
            content_hash=self._content_hash(),
            multi_label=self._multi_label,
            splits=splits,
            labels=tuple(sorted(label for label, _ in of_training)),
        )

    def _content_hash(self) -> str:
        sums = {split: checked.sha256 for split, checked in self._checked.items()}
        return content_hash(sums, self._rules, self._parent)
