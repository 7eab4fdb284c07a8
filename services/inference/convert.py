"""Between the wire and the domain. Pure; finds everything that is wrong with a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1 import label_mode_pb2, precision_pb2, vector_pb2
from services.common import names
from services.common.errors import FieldViolation, InvalidArgument, Reason
from services.common.names import Collection, ResourceName
from services.inference.classification import classify
from services.inference.engine import Output
from services.inference.limits import MAX_TEXT_BYTES
from services.inference.model import Computed, LabelMode, Model, Precision
from services.inference.tokenization import TokenisedText, Truncation

# UTF-8 takes at most 4 bytes for a character: shorter texts need not be encoded to be sure.
_SURELY_SHORT = MAX_TEXT_BYTES // 4

_COLLECTIONS = (Collection.MODELS, Collection.BASE_MODELS, Collection.ALIASES)

_TRUNCATIONS: Mapping[int, Truncation] = {
    pb.TRUNCATION_UNSPECIFIED: Truncation.END,
    pb.TRUNCATION_NONE: Truncation.NONE,
    pb.TRUNCATION_START: Truncation.START,
    pb.TRUNCATION_END: Truncation.END,
}

_PRECISIONS: Mapping[int, Precision] = {
    precision_pb2.PRECISION_UNSPECIFIED: Precision.EXACT,
    precision_pb2.PRECISION_EXACT: Precision.EXACT,
    precision_pb2.PRECISION_QUANTIZED: Precision.QUANTIZED,
}

_VECTOR_TYPES = {vector_pb2.VECTOR_TYPE_UNSPECIFIED, vector_pb2.VECTOR_TYPE_FLOAT32}

_PRECISIONS_OUT = {
    Precision.EXACT: precision_pb2.PRECISION_EXACT,
    Precision.QUANTIZED: precision_pb2.PRECISION_QUANTIZED,
}

_LABEL_MODES_OUT = {
    LabelMode.SINGLE: label_mode_pb2.LABEL_MODE_SINGLE,
    LabelMode.MULTI: label_mode_pb2.LABEL_MODE_MULTI,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What every call asks for."""

    name: ResourceName
    texts: Sequence[str]
    truncation: Truncation
    precision: Precision


def call_from_proto(request: pb.EmbedRequest | pb.ClassifyRequest, *, max_texts: int) -> Call:
    """Return what a request asks for.

    Raises:
        InvalidArgument: Naming everything that is wrong with it.
    """
    violations: list[FieldViolation] = []
    name = names.read(request.model, *_COLLECTIONS, field="model", violations=violations)
    texts = list(request.texts)
    violations += _text_violations(texts, max_texts)
    truncation = _TRUNCATIONS.get(request.truncation)
    if truncation is None:
        violations.append(_unknown("truncation", request.truncation, pb.Truncation.keys()))
    precision = _PRECISIONS.get(request.precision)
    if precision is None:
        violations.append(_unknown("precision", request.precision, precision_pb2.Precision.keys()))
    if isinstance(request, pb.EmbedRequest):
        if request.vector_type not in _VECTOR_TYPES:
            violations.append(
                _unknown("vector_type", request.vector_type, vector_pb2.VectorType.keys())
            )
    elif request.top_k < 0:
        violations.append(
            FieldViolation(
                field="top_k",
                description=f"{request.top_k} is negative. Send 0 for all labels, or how many.",
            )
        )
    if violations or name is None or truncation is None or precision is None:
        raise InvalidArgument(violations)
    return Call(name=name, texts=texts, truncation=truncation, precision=precision)


def embed_response(model: Model, computed: Computed, *, as_list: bool) -> pb.EmbedResponse:
    """Return the answer of `Embed`."""
    response = pb.EmbedResponse(
        dimension=model.dimension,
        vector_type=vector_pb2.VECTOR_TYPE_FLOAT32,
        served_by=_served_by(model),
    )
    add = response.results.add
    # Little-endian is the wire's order, whatever this machine's is.
    rows = computed.rows[Output.EMBEDDING].astype("<f4", copy=False)
    for row, text in zip(rows, computed.texts, strict=True):
        result = add()
        if as_list:
            result.vector.floats.values.extend(row.tolist())
        else:
            result.vector.packed = row.tobytes()
        _set_usage(result.usage, text)
    return response


def classify_response(model: Model, computed: Computed, *, top_k: int) -> pb.ClassifyResponse:
    """Return the answer of `Classify`."""
    response = pb.ClassifyResponse(
        label_mode=_LABEL_MODES_OUT[model.label_mode], served_by=_served_by(model)
    )
    classifications = classify(
        computed.rows[Output.LOGITS],
        labels=model.labels,
        mode=model.label_mode,
        thresholds=model.thresholds,
        top_k=top_k,
    )
    for found, text in zip(classifications, computed.texts, strict=True):
        result = response.results.add()
        for scored in found.predictions:
            result.classification.predictions.add(label=scored.label, confidence=scored.confidence)
        for scored in found.labels:
            result.classification.labels.add(label=scored.label, confidence=scored.confidence)
        # Set even where nothing is predicted and nothing told.
        result.classification.SetInParent()
        _set_usage(result.usage, text)
    return response


def _served_by(model: Model) -> pb.ServedModel:
    return pb.ServedModel(
        model=model.name, precision=_PRECISIONS_OUT[model.precision], digest=model.digest
    )


def _set_usage(usage: pb.TextUsage, text: TokenisedText | None) -> None:
    if text is None:
        return
    usage.token_count = len(text.ids)
    usage.truncated = text.truncated


def _text_violations(texts: Sequence[str], max_texts: int) -> list[FieldViolation]:
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
    violations = []
    for position, text in enumerate(texts):
        if not text or text.isspace():
            violations.append(
                FieldViolation(
                    field=f"texts[{position}]",
                    description="is empty. Leave it out, or send what it should say.",
                )
            )
        elif len(text) > _SURELY_SHORT and (size := len(text.encode())) > MAX_TEXT_BYTES:
            violations.append(
                FieldViolation(
                    field=f"texts[{position}]",
                    description=(
                        f"has {size} bytes in UTF-8, {MAX_TEXT_BYTES} are taken at most. "
                        "Send a part of it, or several parts as texts of their own."
                    ),
                    reason=Reason.LIMIT_EXCEEDED,
                )
            )
    return violations


def _unknown(field: str, value: int, known: Sequence[str]) -> FieldViolation:
    return FieldViolation(
        field=field,
        description=f"{value} is no value that this server knows. Send one of {', '.join(known)}.",
    )
