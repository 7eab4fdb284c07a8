"""Isogloss: fine-tune a text encoder on your own labels, and serve it.

    import isogloss

    with isogloss.Client() as client:
        dataset = client.datasets.upload("tone", train="train.csv")
        model = client.models.wait(client.models.create("tone", dataset=dataset))
        print(client.classify(model, "My order was late.")[0].label)
        print(client.embed(model, ["My order was late.", "Thank you!"]).vectors.shape)

`AsyncClient` has the same methods for asyncio. Whatever goes wrong is an `IsoglossError`;
`isogloss.errors` draws the family.
"""

from __future__ import annotations

import os

# gRPC reads this when it is first imported. Its notes (a handshake that failed, a server that
# went away) are raised as errors here.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from isogloss.aliases import Alias, AliasVersion
from isogloss.client import AsyncClient, Client
from isogloss.connection import ConnectionOptions
from isogloss.dataset_options import (
    Cleaning,
    DatasetOptions,
    FileFormat,
    NearDuplicates,
    Quoting,
    Replacement,
)
from isogloss.dataset_report import (
    DatasetReport,
    FileReport,
    Finding,
    FindingCount,
    LabelMode,
    Severity,
    Split,
    SplitOverlap,
    SplitRule,
    TokenBin,
    TokenStatistics,
)
from isogloss.datasets import (
    CheckResult,
    Dataset,
    DatasetDiff,
    DatasetState,
    DatasetUsage,
    DownloadProgress,
    Example,
    LabelChange,
    RelabelledExample,
    SplitPreview,
    UploadProgress,
    ValidationProgress,
)
from isogloss.errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    ConfigurationError,
    DataLoss,
    DatasetRefused,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    IsoglossError,
    MissingPackage,
    ModelCancelled,
    ModelFailed,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    ServerError,
    Unauthenticated,
    Unavailable,
    Violation,
)
from isogloss.inference import (
    Classification,
    Classifications,
    Embeddings,
    ScoredLabel,
    ServedModel,
    TextUsage,
    Truncation,
)
from isogloss.models import (
    Average,
    Averaging,
    BaseModel,
    ClassificationMetrics,
    Evaluation,
    EventKind,
    Hyperparameters,
    LabelMetrics,
    LogLine,
    Model,
    ModelEvent,
    ModelState,
    ModelUpdate,
    ModelVariant,
    Precision,
    Preset,
    Progress,
    StateChange,
    StepMetrics,
    TrainingEstimate,
)

__all__ = [
    "Aborted",
    "Alias",
    "AliasVersion",
    "AlreadyExists",
    "AsyncClient",
    "Average",
    "Averaging",
    "BaseModel",
    "Cancelled",
    "CheckResult",
    "Classification",
    "ClassificationMetrics",
    "Classifications",
    "Cleaning",
    "Client",
    "ConfigurationError",
    "ConnectionOptions",
    "DataLoss",
    "Dataset",
    "DatasetDiff",
    "DatasetOptions",
    "DatasetRefused",
    "DatasetReport",
    "DatasetState",
    "DatasetUsage",
    "DeadlineExceeded",
    "DownloadProgress",
    "Embeddings",
    "Evaluation",
    "EventKind",
    "Example",
    "FailedPrecondition",
    "FileFormat",
    "FileReport",
    "Finding",
    "FindingCount",
    "Hyperparameters",
    "InvalidArgument",
    "IsoglossError",
    "LabelChange",
    "LabelMetrics",
    "LabelMode",
    "LogLine",
    "MissingPackage",
    "Model",
    "ModelCancelled",
    "ModelEvent",
    "ModelFailed",
    "ModelState",
    "ModelUpdate",
    "ModelVariant",
    "NearDuplicates",
    "NotFound",
    "OutOfRange",
    "PermissionDenied",
    "Precision",
    "Preset",
    "Progress",
    "Quoting",
    "RelabelledExample",
    "Replacement",
    "ResourceExhausted",
    "ScoredLabel",
    "ServedModel",
    "ServerError",
    "Severity",
    "Split",
    "SplitOverlap",
    "SplitPreview",
    "SplitRule",
    "StateChange",
    "StepMetrics",
    "TextUsage",
    "TokenBin",
    "TokenStatistics",
    "TrainingEstimate",
    "Truncation",
    "Unauthenticated",
    "Unavailable",
    "UploadProgress",
    "ValidationProgress",
    "Violation",
]
