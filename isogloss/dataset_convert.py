"""Messages of the dataset service to the values of this package, and back."""

from __future__ import annotations

from collections.abc import Iterable

from isogloss import dataset_options as declared
from isogloss import dataset_report as reports
from isogloss import datasets
from isogloss.status import error_from_status
from isogloss.v1 import cleaning_pb2, dataset_pb2, example_pb2, finding_pb2, split_pb2
from isogloss.v1 import dataset_service_pb2 as pb
from isogloss.wire import chosen, maybe, member, number, optional_member, time

_OPTIONS = dataset_pb2.DatasetOptions


def split_to_proto(split: reports.Split | str) -> split_pb2.Split.ValueType:
    """Name a split on the wire.

    Raises:
        InvalidArgument: There is no such split.
    """
    return number(split_pb2.Split.Value, "SPLIT", chosen(reports.Split, "split", split))


def format_to_proto(
    file_format: declared.FileFormat | str | None,
) -> dataset_pb2.FileFormat.ValueType:
    """Name a format on the wire; None is unset.

    Raises:
        InvalidArgument: There is no such format.
    """
    choice = chosen(declared.FileFormat, "format", file_format)
    return number(dataset_pb2.FileFormat.Value, "FILE_FORMAT", choice)


def severity_to_proto(severity: reports.Severity | str) -> finding_pb2.Finding.Severity.ValueType:
    """Name a severity on the wire.

    Raises:
        InvalidArgument: There is no such severity.
    """
    choice = chosen(reports.Severity, "min_severity", severity)
    return number(finding_pb2.Finding.Severity.Value, "SEVERITY", choice)


def states_to_proto(
    states: Iterable[datasets.DatasetState | str],
) -> list[dataset_pb2.Dataset.State.ValueType]:
    """Name states on the wire.

    Raises:
        InvalidArgument: There is no such state.
    """
    choices = [chosen(datasets.DatasetState, "states", state) for state in states]
    return [number(dataset_pb2.Dataset.State.Value, "STATE", choice) for choice in choices]


def options_to_proto(options: declared.DatasetOptions) -> dataset_pb2.DatasetOptions:
    """Leave out what the server is to choose.

    Raises:
        InvalidArgument: A word is none of those that the field knows.
    """
    quoting = chosen(declared.Quoting, "quoting", options.quoting)
    near = chosen(declared.NearDuplicates, "near_duplicates", options.near_duplicates)
    return dataset_pb2.DatasetOptions(
        has_header=options.has_header,
        delimiter=options.delimiter,
        profile=options.profile,
        split=dataset_pb2.SplitOptions(
            validation_share=options.validation_share,
            test_share=options.test_share,
            seed=options.seed,
            column=options.split_column,
        ),
        format=format_to_proto(options.format),
        encoding=options.encoding,
        quoting=number(_OPTIONS.Quoting.Value, "QUOTING", quoting),
        text_column=options.text_column,
        label_column=options.label_column,
        keep_columns=options.keep_columns,
        label_separator=options.label_separator,
        cleaning=_cleaning_to_proto(options.cleaning),
        near_duplicates=number(_OPTIONS.NearDuplicates.Value, "NEAR_DUPLICATES", near),
        keep_raw=options.keep_raw,
    )


def _cleaning_to_proto(cleaning: declared.Cleaning) -> cleaning_pb2.Cleaning:
    return cleaning_pb2.Cleaning(
        fix_text=cleaning.fix_text,
        strip_html=cleaning.strip_html,
        urls=_replacement("urls", cleaning.urls),
        emails=_replacement("emails", cleaning.emails),
        user_names=_replacement("user_names", cleaning.user_names),
        remove_symbols=cleaning.remove_symbols,
    )


def _replacement(
    field: str, given: declared.Replacement | str | None
) -> cleaning_pb2.Cleaning.Replacement.ValueType:
    choice = chosen(declared.Replacement, field, given)
    return number(cleaning_pb2.Cleaning.Replacement.Value, "REPLACEMENT", choice)


def dataset(message: dataset_pb2.Dataset) -> datasets.Dataset:
    """Read a dataset."""
    progress = message.validation_progress
    return datasets.Dataset(
        name=message.name,
        display_name=message.display_name,
        state=member(datasets.DatasetState, "state", message),
        options=_options(message.options),
        error=error_from_status(message.error) if message.HasField("error") else None,
        uploads={_split(upload): upload.committed_size for upload in message.uploads},
        validation_progress=(
            datasets.ValidationProgress(phase=progress.phase, fraction=progress.fraction)
            if message.HasField("validation_progress")
            else None
        ),
        report=report(message.report) if message.HasField("report") else None,
        content_hash=message.content_hash,
        create_time=time(message, "create_time"),
        update_time=time(message, "update_time"),
        validate_time=time(message, "validate_time"),
        expire_time=time(message, "expire_time"),
        parent_dataset=message.parent_dataset,
        etag=message.etag,
    )


def _options(message: dataset_pb2.DatasetOptions) -> declared.DatasetOptions:
    return declared.DatasetOptions(
        has_header=message.has_header if message.HasField("has_header") else None,
        delimiter=message.delimiter,
        profile=message.profile,
        validation_share=maybe(message.split, "validation_share"),
        test_share=maybe(message.split, "test_share"),
        seed=message.split.seed if message.split.HasField("seed") else None,
        split_column=message.split.column,
        format=optional_member(declared.FileFormat, "format", message),
        encoding=message.encoding,
        quoting=optional_member(declared.Quoting, "quoting", message),
        text_column=message.text_column,
        label_column=message.label_column,
        keep_columns=tuple(message.keep_columns),
        label_separator=message.label_separator,
        cleaning=_cleaning(message.cleaning),
        near_duplicates=optional_member(declared.NearDuplicates, "near_duplicates", message),
        keep_raw=message.keep_raw,
    )


def _cleaning(message: cleaning_pb2.Cleaning) -> declared.Cleaning:
    return declared.Cleaning(
        fix_text=message.fix_text,
        strip_html=message.strip_html,
        urls=optional_member(declared.Replacement, "urls", message),
        emails=optional_member(declared.Replacement, "emails", message),
        user_names=optional_member(declared.Replacement, "user_names", message),
        remove_symbols=message.remove_symbols,
    )


def _split(
    message: dataset_pb2.Upload | dataset_pb2.FileReport | dataset_pb2.SplitSize,
) -> reports.Split:
    return member(reports.Split, "split", message)


def report(message: dataset_pb2.DatasetReport) -> reports.DatasetReport:
    """Read what validation tells."""
    return reports.DatasetReport(
        readable=message.readable,
        trainable=message.trainable,
        files=tuple(_file(file) for file in message.files),
        rows={_split(size): size.row_count for size in message.splits},
        dropped_rows=message.dropped_rows,
        label_mode=member(reports.LabelMode, "label_mode", message),
        label_count=message.label_count,
        removed_labels=tuple(message.removed_labels),
        imbalance=message.imbalance,
        over_long_texts=message.over_long_texts,
        tokens=_tokens(message.tokens) if message.HasField("tokens") else None,
        languages={found.language: found.share for found in message.languages},
        overlaps=tuple(_overlap(overlap) for overlap in message.overlaps),
        split=_rule(message.split) if message.HasField("split") else None,
        training_time=(
            message.training_time.ToTimedelta() if message.HasField("training_time") else None
        ),
        findings=tuple(
            reports.FindingCount(
                code=found.code,
                severity=member(reports.Severity, "severity", found),
                count=found.count,
            )
            for found in message.findings
        ),
        warnings=tuple(message.warnings),
        advice=tuple(message.advice),
    )


def _file(message: dataset_pb2.FileReport) -> reports.FileReport:
    return reports.FileReport(
        split=_split(message),
        size_bytes=message.size_bytes,
        sha256=message.sha256,
        format=member(declared.FileFormat, "format", message),
        compression=message.compression,
        encoding=message.encoding,
        delimiter=message.delimiter,
        quoting=member(declared.Quoting, "quoting", message),
        has_header=message.has_header,
        text_column=message.text_column,
        label_column=message.label_column,
        kept_columns=tuple(message.kept_columns),
        ignored_columns=tuple(message.ignored_columns),
        assumed=tuple(message.assumed),
        row_count=message.row_count,
        malformed_count=message.malformed_count,
    )


def _tokens(message: dataset_pb2.TokenStatistics) -> reports.TokenStatistics:
    return reports.TokenStatistics(
        p50=message.p50,
        p95=message.p95,
        max=message.max,
        histogram=tuple(
            reports.TokenBin(max_tokens=found.max_tokens, text_count=found.text_count)
            for found in message.histogram
        ),
        counted_texts=message.counted_texts,
        sampled=message.sampled,
        truncated_share=message.truncated_share,
        unknown_share=message.unknown_share,
    )


def _overlap(message: dataset_pb2.SplitOverlap) -> reports.SplitOverlap:
    return reports.SplitOverlap(
        first=member(reports.Split, "first", message),
        second=member(reports.Split, "second", message),
        exact=message.exact,
        near=message.near,
    )


def _rule(message: dataset_pb2.SplitOptions) -> reports.SplitRule:
    return reports.SplitRule(
        validation_share=maybe(message, "validation_share"),
        test_share=maybe(message, "test_share"),
        seed=message.seed,
        column=message.column,
    )


def _example(message: example_pb2.Example) -> datasets.Example:
    return datasets.Example(
        text=message.text,
        labels=tuple(message.labels),
        split=member(reports.Split, "split", message),
        line=message.line,
        row=message.row,
    )


def preview(message: pb.SplitPreview) -> datasets.SplitPreview:
    """Read the beginning of one split."""
    return datasets.SplitPreview(
        split=member(reports.Split, "split", message),
        examples=tuple(_example(example) for example in message.examples),
        labels={label.label: label.count for label in message.labels},
        row_count=message.row_count,
    )


def finding(message: finding_pb2.Finding) -> reports.Finding:
    """Read a finding."""
    return reports.Finding(
        split=member(reports.Split, "split", message),
        line=message.line,
        row=message.row,
        column=message.column,
        code=message.code,
        severity=member(reports.Severity, "severity", message),
        message=message.message,
        excerpt=message.excerpt,
        fix=message.fix,
        count=message.count,
    )


def check_result(message: pb.CheckDatasetResponse) -> datasets.CheckResult:
    """Read the answer of a check."""
    return datasets.CheckResult(
        report=report(message.report),
        errors=tuple(finding(found) for found in message.errors),
        findings=tuple(finding(found) for found in message.findings),
        splits=tuple(preview(split) for split in message.splits),
        content_hash=message.content_hash,
    )


def diff(message: pb.DiffDatasetsResponse) -> datasets.DatasetDiff:
    """Read how two datasets differ."""
    return datasets.DatasetDiff(
        added_count=message.added_count,
        removed_count=message.removed_count,
        relabelled_count=message.relabelled_count,
        moved_count=message.moved_count,
        unchanged_count=message.unchanged_count,
        labels=tuple(
            datasets.LabelChange(
                label=change.label, base_count=change.base_count, other_count=change.other_count
            )
            for change in message.labels
        ),
        added=tuple(_example(example) for example in message.added),
        removed=tuple(_example(example) for example in message.removed),
        relabelled=tuple(
            datasets.RelabelledExample(
                example=_example(found.example), base_labels=tuple(found.base_labels)
            )
            for found in message.relabelled
        ),
        same_content=message.same_content,
    )


def usage(message: pb.Usage) -> datasets.DatasetUsage:
    """Read what a tenant stores."""
    return datasets.DatasetUsage(
        dataset_count=message.dataset_count,
        upload_count=message.upload_count,
        stored_bytes=message.stored_bytes,
        row_count=message.row_count,
        max_upload_count=message.max_upload_count,
        max_stored_bytes=message.max_stored_bytes,
    )
