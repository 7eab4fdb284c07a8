"""The enumerations of the domain and their numbers on the wire."""

from __future__ import annotations

from isogloss.v1 import dataset_pb2
from isogloss.v1.dataset_pb2 import FileFormat as FormatMessage
from isogloss.v1.split_pb2 import SPLIT_TEST, SPLIT_TRAIN, SPLIT_VALIDATION
from isogloss.v1.split_pb2 import Split as SplitMessage
from services.ingest.dataset import Format, NearDuplicates, Quoting, Split, State

_Options = dataset_pb2.DatasetOptions

SPLITS: dict[Split, SplitMessage.ValueType] = {
    Split.TRAIN: SPLIT_TRAIN,
    Split.VALIDATION: SPLIT_VALIDATION,
    Split.TEST: SPLIT_TEST,
}
SPLITS_BACK = {number: split for split, number in SPLITS.items()}

STATES = {
    State.UPLOADING: dataset_pb2.Dataset.STATE_UPLOADING,
    State.VALIDATING: dataset_pb2.Dataset.STATE_VALIDATING,
    State.READY: dataset_pb2.Dataset.STATE_READY,
    State.FAILED: dataset_pb2.Dataset.STATE_FAILED,
}

FORMATS: dict[Format, FormatMessage.ValueType] = {
    Format.DETECT: dataset_pb2.FILE_FORMAT_UNSPECIFIED,
    Format.CSV: dataset_pb2.FILE_FORMAT_CSV,
    Format.JSONL: dataset_pb2.FILE_FORMAT_JSONL,
    Format.PARQUET: dataset_pb2.FILE_FORMAT_PARQUET,
}
FORMATS_BACK = {number: format_ for format_, number in FORMATS.items()}

QUOTINGS: dict[Quoting, _Options.Quoting.ValueType] = {
    Quoting.DETECT: _Options.QUOTING_UNSPECIFIED,
    Quoting.DOUBLED: _Options.QUOTING_DOUBLED,
    Quoting.BACKSLASH: _Options.QUOTING_BACKSLASH,
    Quoting.NONE: _Options.QUOTING_NONE,
}
QUOTINGS_BACK = {number: quoting for quoting, number in QUOTINGS.items()}

NEAR_DUPLICATES: dict[NearDuplicates, _Options.NearDuplicates.ValueType] = {
    NearDuplicates.OFF: _Options.NEAR_DUPLICATES_OFF,
    NearDuplicates.REPORT: _Options.NEAR_DUPLICATES_REPORT,
    NearDuplicates.DROP: _Options.NEAR_DUPLICATES_DROP,
}
NEAR_DUPLICATES_BACK = {
    _Options.NEAR_DUPLICATES_UNSPECIFIED: NearDuplicates.REPORT,
    **{number: choice for choice, number in NEAR_DUPLICATES.items()},
}
