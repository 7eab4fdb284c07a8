"""The methods of the inference service, for any number of texts."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from isogloss import convert
from isogloss.aliases import Alias
from isogloss.api.resources import name_of
from isogloss.errors import IsoglossError, Violation
from isogloss.inference import Classifications, Embeddings, ServedModel, Truncation
from isogloss.models import BaseModel, Model, Precision
from isogloss.status import error_from_status
from isogloss.transport import Transport
from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1.inference_service_pb2_grpc import InferenceServiceStub

R = TypeVar("R")

MAX_TEXTS = 128
"""Texts of one call. The service takes 512; a quarter of it keeps each answer quick."""

MAX_BYTES = 2 * 1024 * 1024
"""UTF-8 bytes of the texts of one call: half of the 4 MiB that any server takes."""

LOAD_SECONDS = 120.0
"""Default time of a call: the first one also loads the model."""


class AsyncInference:
    """Embed and Classify over lists of any length, cut into calls in order."""

    def __init__(self, transport: Transport) -> None:
        """Take what reaches the service."""
        self._transport = transport

    @cached_property
    def _stub(self) -> InferenceServiceStub:
        return InferenceServiceStub(self._transport.channel("inference"))

    async def embed(
        self,
        model: str | Model | BaseModel | Alias,
        texts: str | Iterable[str],
        *,
        truncation: Truncation | str = Truncation.END,
        precision: Precision | str = Precision.EXACT,
        timeout: float | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Embeddings:
        """See `AsyncClient.embed`."""
        name, cut = name_of(model), convert.truncation_to_proto(truncation)
        how = convert.precision_to_proto(precision)

        async def call(part: Sequence[str]) -> pb.EmbedResponse:
            request = pb.EmbedRequest(model=name, texts=part, truncation=cut, precision=how)
            return await self._transport.unary(
                self._stub.Embed, request, LOAD_SECONDS if timeout is None else timeout
            )

        replies = [reply async for reply in in_parts(listed(texts), call, progress)]
        results = [(result, r.dimension) for r in replies for result in r.results]
        return Embeddings(
            vectors=np.stack([convert.vector(result, dimension) for result, dimension in results]),
            usage=tuple(convert.usage(result.usage) for result, _ in results),
            errors={
                index: error_from_status(result.error)
                for index, (result, _) in enumerate(results)
                if result.HasField("error")
            },
            served_by=_served_by(replies),
        )

    async def classify(
        self,
        model: str | Model | Alias,
        texts: str | Iterable[str],
        *,
        top_k: int = 0,
        truncation: Truncation | str = Truncation.END,
        precision: Precision | str = Precision.EXACT,
        timeout: float | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Classifications:
        """See `AsyncClient.classify`."""
        name, cut = name_of(model), convert.truncation_to_proto(truncation)
        how = convert.precision_to_proto(precision)

        async def call(part: Sequence[str]) -> pb.ClassifyResponse:
            request = pb.ClassifyRequest(
                model=name, texts=part, truncation=cut, precision=how, top_k=top_k
            )
            return await self._transport.unary(
                self._stub.Classify, request, LOAD_SECONDS if timeout is None else timeout
            )

        replies = [reply async for reply in in_parts(listed(texts), call, progress)]
        return Classifications(
            results=tuple(
                convert.classification(result) for reply in replies for result in reply.results
            ),
            label_mode=convert.label_mode(replies[0]),
            served_by=_served_by(replies),
        )


def listed(texts: str | Iterable[str]) -> list[str]:
    """Take one text or many."""
    return [texts] if isinstance(texts, str) else list(texts)


async def in_parts(
    texts: Sequence[str],
    call: Callable[[Sequence[str]], Coroutine[Any, Any, R]],
    progress: Callable[[int], None] | None,
) -> AsyncIterator[R]:
    """Call with one part of the texts after the other, in order.

    A part whose answer would be too large (a model of very many labels) is halved. No texts
    at all are sent as they are: what to answer to that is the service's to say.

    Args:
        texts: The texts.
        call: Asks the service.
        progress: Is told the number of texts that are done.

    Raises:
        IsoglossError: The service refused; its `texts[i]` count in all texts, not in a part.
    """
    start, most = 0, MAX_TEXTS
    while start < len(texts) or not start:
        part = part_of(texts[start : start + most])
        try:
            reply = await call(part)
        except IsoglossError as error:
            if error.reason == "LIMIT_EXCEEDED" and len(part) > 1:
                most = len(part) // 2
                continue
            raise shifted(error, start) from error
        yield reply
        start += len(part)
        if progress is not None:
            progress(start)
        if not part:
            return


def part_of(texts: Sequence[str]) -> Sequence[str]:
    """Give the beginning of the texts that one message can hold, at least one text."""
    size = 0
    for index, text in enumerate(texts):
        size += len(text.encode())
        if index and size > MAX_BYTES:
            return texts[:index]
    return texts


def shifted(error: IsoglossError, start: int) -> IsoglossError:
    """Count an error's `texts[i]` from the first of all texts instead of a part's first."""

    def shift(text: str) -> str:
        return re.sub(r"texts\[(\d+)\]", lambda m: f"texts[{int(m[1]) + start}]", text)

    return type(error)(
        shift(error.message),
        code=error.code,
        reason=error.reason,
        metadata=error.metadata,
        violations=[
            Violation(field=shift(v.field), description=shift(v.description), reason=v.reason)
            for v in error.violations
        ],
        retry_after=error.retry_after,
        request_id=error.request_id,
    )


def _served_by(replies: Sequence[pb.EmbedResponse | pb.ClassifyResponse]) -> ServedModel:
    return convert.served_model(replies[0].served_by)
