"""Reads requests, and finds everything that is wrong with one whatever the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from isogloss.v1 import inference_service_pb2 as pb
from services.common import names
from services.common.errors import FieldViolation, InvalidArgument, Reason
from services.common.names import Collection, ResourceName
from services.inference.classification import LabelWish
from services.inference.convert.enums import (
    INPUT_TYPES,
    PRECISIONS,
    PRIORITIES,
    TRUNCATIONS,
    VECTOR_TYPES,
)
from services.inference.fewshot.examples import Examples, examples_violations
from services.inference.limits import MAX_LABEL_THRESHOLDS, text_violation, tokenize_violation
from services.inference.model import Precision
from services.inference.neighbours.explaining import MAX_EXPLAIN, NeighbourWish
from services.inference.scheduling.priority import Priority
from services.inference.tokenization import InputType, Truncation
from services.inference.vectors import VectorWish

V = TypeVar("V")

Embedding = pb.EmbedRequest | pb.EmbedAndClassifyRequest
Classifying = pb.ClassifyRequest | pb.EmbedAndClassifyRequest
Request = pb.EmbedRequest | pb.ClassifyRequest | pb.EmbedAndClassifyRequest

_COLLECTIONS = (Collection.MODELS, Collection.BASE_MODELS, Collection.ALIASES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a call asks for."""

    name: ResourceName
    texts: Sequence[str]
    truncation: Truncation
    precision: Precision
    priority: Priority | None
    """None where the caller leaves it to the method."""

    input_type: InputType | None = None
    as_list: bool = False
    vectors: VectorWish = field(default_factory=VectorWish)
    labels: LabelWish = field(default_factory=LabelWish)
    neighbours: NeighbourWish = field(default_factory=NeighbourWish)
    examples: Examples | None = None
    """What to learn labels from; None for the model's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeCall:
    """What a call that shows tokens asks for."""

    name: ResourceName
    texts: Sequence[str]
    truncation: Truncation
    input_type: InputType | None
    with_spans: bool


def call_from_proto(request: Request, *, max_texts: int, each: bool = False) -> Call:
    """Return what a request asks for.

    Args:
        request: Of any method that computes.
        max_texts: Texts in a call, at most.
        each: Whether a text that is wrong is to be told of in its own result: then none is
            looked at here.

    Raises:
        InvalidArgument: Naming everything that is wrong with it.
    """
    violations: list[FieldViolation] = []
    name = names.read(request.model, *_COLLECTIONS, field="model", violations=violations)
    texts = list(request.texts)
    violations += _text_violations(texts, max_texts, each=each)
    truncation = _chosen(request, "truncation", TRUNCATIONS, violations)
    precision = _chosen(request, "precision", PRECISIONS, violations)
    priority = _chosen(request, "priority", PRIORITIES, violations)
    input_type, vectors, labels, examples = None, VectorWish(), LabelWish(), None
    neighbours = NeighbourWish()
    if isinstance(request, pb.EmbedRequest):
        # Labels are learnt from texts as the model always reads them.
        input_type = _chosen(request, "input_type", INPUT_TYPES, violations)
    if not isinstance(request, pb.ClassifyRequest):
        vectors = _vector_wish(request, violations)
    if not isinstance(request, pb.EmbedRequest):
        labels = _label_wish(request, violations)
        neighbours = _neighbour_wish(request, violations)
    if isinstance(request, pb.ClassifyRequest) and request.examples:
        examples = Examples(
            texts=[example.text for example in request.examples],
            labels=[example.label for example in request.examples],
        )
        violations += examples_violations(examples)
        violations += _scope_violations(neighbours)
    if violations or name is None:
        raise InvalidArgument(violations)
    return Call(
        name=name,
        texts=texts,
        truncation=truncation,
        precision=precision,
        priority=priority,
        input_type=input_type,
        as_list=not isinstance(request, pb.ClassifyRequest) and request.as_list,
        vectors=vectors,
        labels=labels,
        neighbours=neighbours,
        examples=examples,
    )


def tokenize_call_from_proto(request: pb.TokenizeRequest, *, max_texts: int) -> TokenizeCall:
    """Return what a request of `Tokenize` asks for.

    Raises:
        InvalidArgument: Naming everything that is wrong with it.
    """
    violations: list[FieldViolation] = []
    name = names.read(request.model, *_COLLECTIONS, field="model", violations=violations)
    texts = list(request.texts)
    violations += _text_violations(texts, max_texts, each=False)
    if (violation := tokenize_violation(texts)) is not None:
        violations.append(violation)
    truncation = _chosen(request, "truncation", TRUNCATIONS, violations)
    input_type = _chosen(request, "input_type", INPUT_TYPES, violations)
    if violations or name is None:
        raise InvalidArgument(violations)
    return TokenizeCall(
        name=name,
        texts=texts,
        truncation=truncation,
        input_type=input_type,
        with_spans=request.with_spans,
    )


def _vector_wish(request: Embedding, violations: list[FieldViolation]) -> VectorWish:
    vector_type = _chosen(request, "vector_type", VECTOR_TYPES, violations)
    if request.dimensions < 0:
        violations.append(
            FieldViolation(
                field="dimensions",
                description=f"{request.dimensions} is negative. Send 0 for all, or how many.",
            )
        )
    return VectorWish(
        vector_type=vector_type,
        dimensions=request.dimensions,
        force=request.force_dimensions,
        normalize=request.normalize or not request.HasField("normalize"),
    )


def _label_wish(request: Classifying, violations: list[FieldViolation]) -> LabelWish:
    if request.top_k < 0:
        violations.append(
            FieldViolation(
                field="top_k",
                description=f"{request.top_k} is negative. Send 0 for all labels, or how many.",
            )
        )
    if len(request.label_thresholds) > MAX_LABEL_THRESHOLDS:
        violations.append(
            FieldViolation(
                field="label_thresholds",
                description=(
                    f"has {len(request.label_thresholds)} labels. Send at most "
                    f"{MAX_LABEL_THRESHOLDS}, and threshold for the others."
                ),
            )
        )
        return LabelWish()
    wish = LabelWish(
        top_k=request.top_k,
        threshold=request.threshold if request.HasField("threshold") else None,
        label_thresholds=dict(request.label_thresholds),
        abstain_below=request.abstain_below if request.HasField("abstain_below") else None,
        raw_scores=request.raw_scores,
    )
    violations += (
        FieldViolation(field=path, description=f"is {value}. Send a confidence, 0 to 1.")
        for path, value in _confidences(wish)
        # Written so that what is no number is refused as well.
        if not 0.0 <= value <= 1.0
    )
    return wish


def _neighbour_wish(request: Classifying, violations: list[FieldViolation]) -> NeighbourWish:
    if not 0 <= request.explain <= MAX_EXPLAIN:
        violations.append(
            FieldViolation(
                field="explain",
                description=(
                    f"is {request.explain}. Send how many neighbours to tell of each text, 0 to "
                    f"{MAX_EXPLAIN}."
                ),
            )
        )
    return NeighbourWish(explain=request.explain, out_of_scope=request.out_of_scope)


def _scope_violations(wish: NeighbourWish) -> Iterator[FieldViolation]:
    if wish.out_of_scope:
        yield FieldViolation(
            field="out_of_scope",
            description=(
                "cannot be told by examples: it takes texts that nothing was learnt from. Leave "
                "it out; the similarities that explain tells come closest."
            ),
        )


def _confidences(wish: LabelWish) -> Iterator[tuple[str, float]]:
    if wish.threshold is not None:
        yield "threshold", wish.threshold
    if wish.abstain_below is not None:
        yield "abstain_below", wish.abstain_below
    for label, threshold in sorted(wish.label_thresholds.items()):
        yield f"label_thresholds[{label}]", threshold


def _text_violations(texts: Sequence[str], max_texts: int, *, each: bool) -> list[FieldViolation]:
    if not texts:
        return [FieldViolation(field="texts", description="is empty. Send at least one text.")]
    if len(texts) > max_texts:
        # What else is wrong with so many is told when they come in calls that fit.
        return [
            FieldViolation(
                field="texts",
                description=(
                    f"has {len(texts)} texts, this server takes {max_texts} in one call. Send "
                    "them in several calls."
                ),
                reason=Reason.LIMIT_EXCEEDED,
            )
        ]
    if each:
        return []
    found = (text_violation(position, text) for position, text in enumerate(texts))
    return [violation for violation in found if violation is not None]


def _chosen(
    request: Request | pb.TokenizeRequest,
    name: str,
    known: Mapping[int, V],
    violations: list[FieldViolation],
) -> V:
    """Return what an enum field stands for; of an unknown number note so, and take the default."""
    number = getattr(request, name)
    if number not in known:
        enum = request.DESCRIPTOR.fields_by_name[name].enum_type
        words = ", ".join(enum.values_by_name) if enum is not None else ""
        violations.append(
            FieldViolation(
                field=name,
                description=f"{number} is no value that this server knows. Send one of {words}.",
            )
        )
    return known.get(number, known[0])
