"""`DatasetReport` between the wire (and the manifests) and the domain. Pure."""

from __future__ import annotations

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from isogloss.v1 import dataset_pb2, finding_pb2
from isogloss.v1.label_mode_pb2 import LABEL_MODE_MULTI, LABEL_MODE_SINGLE
from services.ingest.convert.enums import (
    FORMATS,
    FORMATS_BACK,
    QUOTINGS,
    QUOTINGS_BACK,
    SPLITS,
    SPLITS_BACK,
)
from services.ingest.convert.options import split_options_from_proto, split_options_to_proto
from services.ingest.dataset import (
    Dialect,
    FileReport,
    FindingCount,
    Overlap,
    Report,
    TokenStatistics,
)

_MAX_IGNORED_NAMED = 100
"""Columns of a file that a report names as left out."""


def report_to_proto(report: Report) -> dataset_pb2.DatasetReport:
    """Return what a dataset holds."""
    return dataset_pb2.DatasetReport(
        files=[_file_to_proto(file) for file in report.files],
        splits=[
            dataset_pb2.SplitSize(split=SPLITS[split], row_count=count)
            for split, count in report.splits.items()
        ],
        label_count=report.label_count,
        removed_labels=report.removed_labels,
        imbalance=report.imbalance,
        over_long_texts=report.over_long_texts,
        findings=[count_to_proto(count) for count in report.findings],
        warnings=report.warnings,
        split=split_options_to_proto(report.dealt) if report.dealt else None,
        readable=report.readable,
        trainable=report.trainable,
        label_mode=LABEL_MODE_MULTI if report.multi_label else LABEL_MODE_SINGLE,
        tokens=_tokens_to_proto(report.tokens) if report.tokens else None,
        languages=[
            dataset_pb2.LanguageShare(language=language, share=share)
            for language, share in report.languages
        ],
        overlaps=[
            dataset_pb2.SplitOverlap(
                first=SPLITS[overlap.first],
                second=SPLITS[overlap.second],
                exact=overlap.exact,
                near=overlap.near,
            )
            for overlap in report.overlaps
        ],
        training_time=None
        if report.training_time is None
        else _duration_to_proto(report.training_time),
        advice=report.advice,
        dropped_rows=report.dropped_rows,
    )


def report_from_proto(message: dataset_pb2.DatasetReport) -> Report:
    """Read the report of a manifest; of a file's dialect it holds what the contract tells."""
    return Report(
        files=tuple(_file_from_proto(file) for file in message.files),
        splits={SPLITS_BACK[size.split]: size.row_count for size in message.splits},
        label_count=message.label_count,
        removed_labels=tuple(message.removed_labels),
        imbalance=message.imbalance,
        over_long_texts=message.over_long_texts,
        findings=tuple(
            FindingCount(code=found.code, severity=found.severity, count=found.count)
            for found in message.findings
        ),
        warnings=tuple(message.warnings),
        dealt=split_options_from_proto(message.split) if message.HasField("split") else None,
        readable=message.readable,
        trainable=message.trainable,
        multi_label=message.label_mode == LABEL_MODE_MULTI,
        tokens=_tokens_from_proto(message.tokens) if message.HasField("tokens") else None,
        languages=tuple((guess.language, guess.share) for guess in message.languages),
        overlaps=tuple(
            Overlap(
                first=SPLITS_BACK[overlap.first],
                second=SPLITS_BACK[overlap.second],
                exact=overlap.exact,
                near=overlap.near,
            )
            for overlap in message.overlaps
        ),
        training_time=message.training_time.ToTimedelta()
        if message.HasField("training_time")
        else None,
        advice=tuple(message.advice),
        dropped_rows=message.dropped_rows,
    )


def count_to_proto(count: FindingCount) -> finding_pb2.FindingCount:
    """Return how often a code was found."""
    return finding_pb2.FindingCount(
        code=count.code,
        severity=finding_pb2.Finding.Severity.ValueType(count.severity),
        count=count.count,
    )


def _file_to_proto(file: FileReport) -> dataset_pb2.FileReport:
    dialect = file.dialect
    return dataset_pb2.FileReport(
        split=SPLITS[file.split],
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        delimiter=dialect.delimiter,
        has_header=dialect.has_header,
        text_column=dialect.text_column,
        label_column=dialect.label_column,
        encoding=dialect.encoding,
        row_count=file.row_count,
        malformed_count=file.malformed_count,
        format=FORMATS[dialect.format],
        compression=dialect.compression,
        quoting=QUOTINGS[dialect.quoting],
        kept_columns=dialect.kept_columns,
        ignored_columns=dialect.ignored_columns[:_MAX_IGNORED_NAMED],
        assumed=dialect.assumed,
    )


def _file_from_proto(message: dataset_pb2.FileReport) -> FileReport:
    return FileReport(
        split=SPLITS_BACK[message.split],
        size_bytes=message.size_bytes,
        sha256=message.sha256,
        dialect=Dialect(
            format=FORMATS_BACK[message.format],
            compression=message.compression,
            encoding=message.encoding,
            delimiter=message.delimiter,
            quoting=QUOTINGS_BACK[message.quoting],
            has_header=message.has_header,
            text_column=message.text_column,
            label_column=message.label_column,
            kept_columns=tuple(message.kept_columns),
            ignored_columns=tuple(message.ignored_columns),
            assumed=tuple(message.assumed),
        ),
        row_count=message.row_count,
        malformed_count=message.malformed_count,
    )


def _tokens_to_proto(tokens: TokenStatistics) -> dataset_pb2.TokenStatistics:
    return dataset_pb2.TokenStatistics(
        p50=tokens.p50,
        p95=tokens.p95,
        max=tokens.max,
        histogram=[
            dataset_pb2.TokenBin(max_tokens=most, text_count=count)
            for most, count in tokens.histogram
        ],
        counted_texts=tokens.counted_texts,
        sampled=tokens.sampled,
        truncated_share=tokens.truncated_share,
        unknown_share=tokens.unknown_share,
    )


def _tokens_from_proto(message: dataset_pb2.TokenStatistics) -> TokenStatistics:
    return TokenStatistics(
        p50=message.p50,
        p95=message.p95,
        max=message.max,
        histogram=tuple((item.max_tokens, item.text_count) for item in message.histogram),
        counted_texts=message.counted_texts,
        sampled=message.sampled,
        truncated_share=message.truncated_share,
        unknown_share=message.unknown_share,
    )


def _duration_to_proto(time: timedelta) -> Duration:
    duration = Duration()
    duration.FromTimedelta(time)
    return duration
