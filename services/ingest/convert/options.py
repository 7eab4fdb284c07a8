"""`DatasetOptions` between the wire (and the manifests) and the domain. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from isogloss.v1 import dataset_pb2
from services.common.cleaning_proto import (
    cleaning_from_proto,
    cleaning_to_proto,
    unknown_replacements,
)
from services.common.errors import FieldViolation, InvalidArgument
from services.ingest.convert.enums import (
    FORMATS,
    FORMATS_BACK,
    NEAR_DUPLICATES,
    NEAR_DUPLICATES_BACK,
    QUOTINGS,
    QUOTINGS_BACK,
)
from services.ingest.dataset import DatasetOptions, SplitOptions


def options_from_proto(
    message: dataset_pb2.DatasetOptions, *, field: str = "dataset.options"
) -> DatasetOptions:
    """Fill in the defaults that the contract names.

    Args:
        message: What was sent, or what a manifest says.
        field: Path of the message in the request.

    Raises:
        InvalidArgument: Naming each number that is no value of its enumeration.
    """
    unknown = [*_unknown(message, field)]
    if unknown:
        raise InvalidArgument(unknown)
    default = DatasetOptions()
    return DatasetOptions(
        has_header=message.has_header if message.HasField("has_header") else None,
        delimiter=message.delimiter,
        profile=message.profile or default.profile,
        split=split_options_from_proto(message.split),
        format=FORMATS_BACK[message.format],
        encoding=message.encoding,
        quoting=QUOTINGS_BACK[message.quoting],
        text_column=message.text_column,
        label_column=message.label_column,
        keep_columns=tuple(message.keep_columns),
        label_separator=message.label_separator,
        cleaning=cleaning_from_proto(message.cleaning),
        near_duplicates=NEAR_DUPLICATES_BACK[message.near_duplicates],
        keep_raw=message.keep_raw,
    )


def options_to_proto(options: DatasetOptions) -> dataset_pb2.DatasetOptions:
    """Return the options, defaults included."""
    return dataset_pb2.DatasetOptions(
        has_header=options.has_header,
        delimiter=options.delimiter,
        profile=options.profile,
        split=split_options_to_proto(options.split),
        format=FORMATS[options.format],
        encoding=options.encoding,
        quoting=QUOTINGS[options.quoting],
        text_column=options.text_column,
        label_column=options.label_column,
        keep_columns=options.keep_columns,
        label_separator=options.label_separator,
        cleaning=cleaning_to_proto(options.cleaning),
        near_duplicates=NEAR_DUPLICATES[options.near_duplicates],
        keep_raw=options.keep_raw,
    )


def split_options_from_proto(message: dataset_pb2.SplitOptions) -> SplitOptions:
    """Fill in the defaults that the contract names."""
    default = SplitOptions()
    return SplitOptions(
        validation_share=message.validation_share
        if message.HasField("validation_share")
        else default.validation_share,
        test_share=message.test_share if message.HasField("test_share") else default.test_share,
        seed=message.seed if message.HasField("seed") else default.seed,
        column=message.column,
    )


def split_options_to_proto(options: SplitOptions) -> dataset_pb2.SplitOptions:
    """Return how rows are dealt out, defaults included."""
    return dataset_pb2.SplitOptions(
        validation_share=options.validation_share,
        test_share=options.test_share,
        seed=options.seed,
        column=options.column,
    )


def _unknown(message: dataset_pb2.DatasetOptions, field: str) -> Iterator[FieldViolation]:
    for name, number, known, values in (
        ("format", message.format, FORMATS_BACK, dataset_pb2.FileFormat),
        ("quoting", message.quoting, QUOTINGS_BACK, message.Quoting),
        (
            "near_duplicates",
            message.near_duplicates,
            NEAR_DUPLICATES_BACK,
            message.NearDuplicates,
        ),
    ):
        if number not in known:
            yield FieldViolation(
                field=f"{field}.{name}",
                description=f"{number} is unknown: send one of {', '.join(values.keys())}.",
            )
    yield from unknown_replacements(message.cleaning, field=f"{field}.cleaning")
