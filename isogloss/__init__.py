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

from isogloss.client import AsyncClient, Client
from isogloss.connection import ConnectionOptions
from isogloss.datasets import (
    Dataset,
    DatasetOptions,
    DatasetReport,
    DatasetState,
    Example,
    FileReport,
    Finding,
    FindingCount,
    Severity,
    Split,
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
    LabelMode,
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
    Hyperparameters,
    LabelMetrics,
    LogLine,
    Model,
    ModelEvent,
    ModelState,
    ModelUpdate,
    ModelVariant,
    Precision,
    Progress,
    StateChange,
    StepMetrics,
)

__all__ = [
    "Aborted",
    "AlreadyExists",
    "AsyncClient",
    "Average",
    "Averaging",
    "BaseModel",
    "Cancelled",
    "Classification",
    "ClassificationMetrics",
    "Classifications",
    "Client",
    "ConfigurationError",
    "ConnectionOptions",
    "DataLoss",
    "Dataset",
    "DatasetOptions",
    "DatasetRefused",
    "DatasetReport",
    "DatasetState",
    "DeadlineExceeded",
    "Embeddings",
    "Evaluation",
    "Example",
    "FailedPrecondition",
    "FileReport",
    "Finding",
    "FindingCount",
    "Hyperparameters",
    "InvalidArgument",
    "IsoglossError",
    "LabelMetrics",
    "LabelMode",
    "LogLine",
    "Model",
    "ModelCancelled",
    "ModelEvent",
    "ModelFailed",
    "ModelState",
    "ModelUpdate",
    "ModelVariant",
    "NotFound",
    "OutOfRange",
    "PermissionDenied",
    "Precision",
    "Progress",
    "ResourceExhausted",
    "ScoredLabel",
    "ServedModel",
    "ServerError",
    "Severity",
    "Split",
    "SplitPreview",
    "StateChange",
    "StepMetrics",
    "TextUsage",
    "Truncation",
    "Unauthenticated",
    "Unavailable",
    "UploadProgress",
    "ValidationProgress",
    "Violation",
]
