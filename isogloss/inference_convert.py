"""Messages of inference to the values of this package, and back where a call sends one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from google.protobuf.duration_pb2 import Duration
from numpy.typing import NDArray

from isogloss.dataset_report import LabelMode
from isogloss.errors import IsoglossError
from isogloss.inference import (
    Classification,
    Classifications,
    EmbeddedAndClassified,
    Embeddings,
    Neighbour,
    OutOfScope,
    ScoredLabel,
    ServedModel,
    TextUsage,
    Timings,
    Tokenized,
    TokenizedText,
)
from isogloss.inference_options import InputType, Priority, Truncation, VectorType
from isogloss.models import Precision
from isogloss.servers import Backlog, ResidentModel, ServerLimits, ServerStatus
from isogloss.status import error_from_status, shifted
from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1 import server_status_pb2
from isogloss.v1.input_type_pb2 import InputType as InputTypeProto
from isogloss.v1.precision_pb2 import Precision as PrecisionProto
from isogloss.v1.vector_pb2 import VectorType as VectorTypeProto
from isogloss.wire import chosen, maybe, member, number, time

DTYPES: Mapping[VectorType, str] = {
    VectorType.FLOAT32: "<f4",
    VectorType.FLOAT16: "<f2",
    VectorType.INT8: "i1",
    VectorType.UINT8: "u1",
    VectorType.BINARY: "i1",
    VectorType.UBINARY: "u1",
}
"""How numpy calls the numbers of each type."""

_BITS = {VectorType.BINARY, VectorType.UBINARY}

Request = pb.EmbedRequest | pb.ClassifyRequest | pb.EmbedAndClassifyRequest | pb.TokenizeRequest
_Vectors = pb.EmbedResponse | pb.EmbedAndClassifyResponse
_Embedded = pb.EmbedResult | pb.EmbedAndClassifyResult
_Labels = pb.ClassifyResponse | pb.EmbedAndClassifyResponse

_CHOICES: Mapping[str, Callable[[Any], int]] = {
    "truncation": lambda given: number(
        pb.Truncation.Value, "TRUNCATION", chosen(Truncation, "truncation", given)
    ),
    "precision": lambda given: number(
        PrecisionProto.Value, "PRECISION", chosen(Precision, "precision", given)
    ),
    "priority": lambda given: number(
        pb.Priority.Value, "PRIORITY", chosen(Priority, "priority", given)
    ),
    "vector_type": lambda given: number(
        VectorTypeProto.Value, "VECTOR_TYPE", chosen(VectorType, "vector_type", given)
    ),
    "input_type": lambda given: number(
        InputTypeProto.Value, "INPUT_TYPE", chosen(InputType, "input_type", given)
    ),
}


def write_options(request: Request, options: Mapping[str, Any]) -> None:
    """Write what a caller said into a request; what is None is left to the server.

    Raises:
        InvalidArgument: Something is none of its choices.
        TypeError: The request takes no such thing.
    """
    for name, value in options.items():
        if name not in request.DESCRIPTOR.fields_by_name:
            raise TypeError(f"{name!r} is nothing that {type(request).__name__} takes.")
        if value is None:
            continue
        if name == "examples":
            pairs = (pb.LabelledText(text=text, label=label) for text, label in value)
            getattr(request, name).extend(pairs)
        elif isinstance(value, Mapping):
            getattr(request, name).update(value)
        else:
            setattr(request, name, _CHOICES[name](value) if name in _CHOICES else value)


def embeddings(response: _Vectors, start: int = 0) -> Embeddings:
    """Read the vectors of one call; errors count its texts from `start`."""
    vector_type = _vector_type(response.vector_type)
    width = -(-response.dimension // 8) if vector_type in _BITS else response.dimension
    return Embeddings(
        vectors=_vectors(response.results, DTYPES[vector_type], width),
        vector_type=vector_type,
        dimension=response.dimension,
        step=response.step,
        usage=tuple(_usage(result.usage) for result in response.results),
        errors=_errors(response.results, start),
        served_by=_served_model(response.served_by),
        timings=_timings(response.timings),
    )


def classifications(response: _Labels, start: int = 0) -> Classifications:
    """Read the labels of one call; as above."""
    return Classifications(
        results=tuple(_classification(result, start) for result in response.results),
        label_mode=member(LabelMode, "label_mode", response),
        served_by=_served_model(response.served_by),
        timings=_timings(response.timings),
        dataset=response.dataset,
    )


def embedded_and_classified(
    response: pb.EmbedAndClassifyResponse, start: int = 0
) -> EmbeddedAndClassified:
    """Read vectors and labels of one call; as above."""
    return EmbeddedAndClassified(
        embeddings=embeddings(response, start),
        classifications=classifications(response, start),
    )


def tokenized(response: pb.TokenizeResponse) -> Tokenized:
    """Read the tokens of one call."""
    return Tokenized(
        results=tuple(
            TokenizedText(
                ids=tuple(result.ids),
                tokens=tuple(result.tokens),
                spans=tuple((span.start, span.end) for span in result.spans),
                text=result.text,
                token_count=result.token_count,
                truncated=result.truncated,
            )
            for result in response.results
        ),
        model=response.model,
        max_tokens=response.max_tokens,
    )


def server_status(message: server_status_pb2.ServerStatus) -> ServerStatus:
    """Read how a server is doing."""
    return ServerStatus(
        version=message.version,
        start_time=time(message, "start_time"),
        device=message.device,
        engine_count=message.engine_count,
        worker_count=message.worker_count,
        busy_worker_count=message.busy_worker_count,
        threads_per_run=message.threads_per_run,
        limits=ServerLimits(
            max_texts=message.limits.max_texts,
            max_text_bytes=message.limits.max_text_bytes,
            max_message_bytes=message.limits.max_message_bytes,
            queue_tokens=message.limits.queue_tokens,
            queue_bytes=message.limits.queue_bytes,
            model_memory_bytes=message.limits.model_memory_bytes,
        ),
        models=tuple(_resident(model) for model in message.models),
        model_count=message.model_count,
        model_bytes=message.model_bytes,
        loading_count=message.loading_count,
        interactive=_backlog(message.interactive),
        bulk=_backlog(message.bulk),
        store_reachable=message.store_reachable,
        store_outage=(_seconds(message.store_outage) if message.HasField("store_outage") else None),
    )


def _errors(results: Iterable[_Embedded], start: int) -> dict[int, IsoglossError]:
    return {
        index: shifted(error_from_status(result.error), start)
        for index, result in enumerate(results)
        if result.HasField("error")
    }


def _vectors(results: Iterable[_Embedded], dtype: str, width: int) -> NDArray[Any]:
    """Return the vectors, (texts, width); where one failed NaN, or zeros in types without."""
    nothing = np.full(width, np.nan if "f" in dtype else 0, dtype)
    rows = []
    for result in results:
        match result.vector.WhichOneof("values"):
            case "packed":
                rows.append(np.frombuffer(result.vector.packed, dtype))
            case "floats":
                rows.append(np.array(result.vector.floats.values, dtype))
            case "integers":
                rows.append(np.array(result.vector.integers.values, dtype))
            case _:
                rows.append(nothing)
    return np.stack(rows)


def _vector_type(given: int) -> VectorType:
    # A server that is older than the types sends none, and float32.
    spoken = VectorTypeProto.Name(given) if given else "VECTOR_TYPE_FLOAT32"  # type: ignore[arg-type] # an enum's number
    return VectorType[spoken.removeprefix("VECTOR_TYPE_")]


def _classification(
    message: pb.ClassifyResult | pb.EmbedAndClassifyResult, start: int
) -> Classification:
    found = message.classification
    return Classification(
        predictions=tuple(_scored(label) for label in found.predictions),
        labels=tuple(_scored(label) for label in found.labels),
        abstained=found.abstained,
        usage=_usage(message.usage),
        error=(
            shifted(error_from_status(message.error), start) if message.HasField("error") else None
        ),
        neighbours=tuple(
            Neighbour(
                row=near.row,
                labels=tuple(near.labels),
                text=near.text,
                similarity=near.similarity,
            )
            for near in found.neighbours
        ),
        out_of_scope=(
            OutOfScope(score=found.out_of_scope.score, similarity=found.out_of_scope.similarity)
            if found.HasField("out_of_scope")
            else None
        ),
    )


def _scored(message: pb.ScoredLabel) -> ScoredLabel:
    return ScoredLabel(
        label=message.label, confidence=message.confidence, raw_score=maybe(message, "raw_score")
    )


def _usage(message: pb.TextUsage) -> TextUsage:
    return TextUsage(token_count=message.token_count, truncated=message.truncated)


def _served_model(message: pb.ServedModel) -> ServedModel:
    precision: Precision = member(Precision, "precision", message)
    return ServedModel(model=message.model, precision=precision, digest=message.digest)


def _timings(message: pb.Timings) -> Timings:
    return Timings(
        queue=_seconds(message.queue),
        tokenize=_seconds(message.tokenize),
        infer=_seconds(message.infer),
        load=_seconds(message.load),
        learn=_seconds(message.learn),
    )


def _seconds(message: Duration) -> float:
    return message.seconds + message.nanos / 1e9


def _resident(message: server_status_pb2.ResidentModel) -> ResidentModel:
    precision: Precision = member(Precision, "precision", message)
    return ResidentModel(
        model=message.model,
        precision=precision,
        digest=message.digest,
        size_bytes=message.size_bytes,
        load_time=time(message, "load_time"),
        last_use_time=time(message, "last_use_time"),
        call_count=message.call_count,
        preloaded=message.preloaded,
    )


def _backlog(message: server_status_pb2.Backlog) -> Backlog:
    return Backlog(
        text_count=message.text_count,
        token_count=message.token_count,
        work=_seconds(message.work),
    )
