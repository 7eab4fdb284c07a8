"""What callers want of evaluations, and what a row tells them, between wire and domain. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf import json_format

from isogloss.v1.evaluation_pb2 import Evaluation
from isogloss.v1.model_service_pb2 import CompareModelsRequest, EvaluateModelRequest
from isogloss.v1.split_pb2 import Split
from services.common import names
from services.common.errors import FailedPrecondition, FieldViolation, InvalidArgument, Reason
from services.common.names import Collection
from services.common.requests import check_request_id
from services.common.status import to_status
from services.trainer import convert
from services.trainer.tables import EvaluationRow

_SPLITS: dict[int, str | None] = {
    Split.SPLIT_UNSPECIFIED: None,
    Split.SPLIT_TRAIN: "train",
    Split.SPLIT_VALIDATION: "validation",
    Split.SPLIT_TEST: "test",
}
_LEAST_MODELS, _MOST_MODELS = 2, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """An evaluation as a caller asks for it."""

    model: str
    """Bare id, like `dataset`."""

    dataset: str
    split: str | None
    """None: the last of `train`, `validation` and `test` that there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonWish:
    """A comparison as a caller asks for it."""

    models: tuple[str, ...]
    """Two to ten bare ids, no two the same."""

    dataset: str | None
    """Bare id; None: that which the first model was trained with."""

    split: str | None
    """None: that which the first model's latest evaluation of it scored."""


def wish(request: EvaluateModelRequest) -> Wish:
    """Return what a caller wants scored.

    Raises:
        InvalidArgument: Naming every field that is wrong.
    """
    violations = check_request_id(request.request_id)
    found = Wish(
        model=names.read_id(request.name, Collection.MODELS, field="name", violations=violations),
        dataset=names.read_id(
            request.dataset, Collection.DATASETS, field="dataset", violations=violations
        ),
        split=_split(request.split, violations),
    )
    if violations:
        raise InvalidArgument(violations)
    return found


def comparison_wish(request: CompareModelsRequest) -> ComparisonWish:
    """Return what a caller wants compared.

    Raises:
        InvalidArgument: Naming every field that is wrong.
    """
    violations: list[FieldViolation] = []
    asked, distinct = len(request.models), len(set(request.models))
    if not _LEAST_MODELS <= asked <= _MOST_MODELS or distinct < asked:
        description = (
            f"has {asked} names, {distinct} of them different: give {_LEAST_MODELS} to "
            f"{_MOST_MODELS} different ones."
        )
        raise InvalidArgument(FieldViolation(field="models", description=description))
    found = ComparisonWish(
        models=tuple(
            names.read_id(
                name, Collection.MODELS, field=f"models[{position}]", violations=violations
            )
            for position, name in enumerate(request.models)
        ),
        dataset=(
            names.read_id(
                request.dataset, Collection.DATASETS, field="dataset", violations=violations
            )
            if request.dataset
            else None
        ),
        split=_split(request.split, violations),
    )
    if violations:
        raise InvalidArgument(violations)
    return found


def summary(row: EvaluationRow) -> Evaluation:
    """Return an evaluation in short, from its row alone."""
    message = Evaluation()
    if row.result is not None:
        json_format.ParseDict(row.result["summary"], message, ignore_unknown_fields=True)
    message.name = row.name
    message.state = Evaluation.State.Value(f"STATE_{row.state}")
    message.dataset = f"datasets/{row.dataset}"
    message.dataset_content_hash = row.dataset_content_hash
    message.split = Split.Value(f"SPLIT_{row.split.upper()}")
    message.create_time.CopyFrom(convert.timestamp(row.create_time))
    if row.error is not None:
        error = FailedPrecondition(row.error, reason=Reason.EVALUATION_FAILED)
        message.error.CopyFrom(to_status(error))
    return message


def _split(number: int, violations: list[FieldViolation]) -> str | None:
    if number not in _SPLITS:
        description = f"{number} is none of SPLIT_TRAIN, SPLIT_VALIDATION and SPLIT_TEST."
        violations.append(FieldViolation(field="split", description=description))
        return None
    return _SPLITS[number]
