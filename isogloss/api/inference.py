"""The methods of the inference service, for any number of texts."""

from __future__ import annotations

import re
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from functools import cached_property, partial
from itertools import islice
from typing import Any, TypeVar, Unpack

import grpc

from isogloss import inference_convert as convert
from isogloss.aliases import Alias
from isogloss.api.bulk import in_order
from isogloss.api.resources import name_of
from isogloss.errors import IsoglossError, Violation
from isogloss.inference import Classifications, EmbeddedAndClassified, Embeddings, Tokenized
from isogloss.inference_options import (
    ClassifyOptions,
    EmbedAndClassifyOptions,
    EmbedOptions,
    InputType,
    Truncation,
)
from isogloss.models import BaseModel, Model
from isogloss.servers import ServerStatus
from isogloss.status import error_from_status
from isogloss.transport import Transport
from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1.inference_service_pb2_grpc import InferenceServiceStub

Q = TypeVar(
    "Q", pb.EmbedRequest, pb.ClassifyRequest, pb.EmbedAndClassifyRequest, pb.TokenizeRequest
)
R = TypeVar("R")
C = TypeVar("C", Embeddings, Classifications, EmbeddedAndClassified)

AnyModel = str | Model | BaseModel | Alias

MAX_TEXTS = 128
"""Texts of one call. The service takes 512; a quarter of it keeps each answer quick."""

MAX_BYTES = 2 * 1024 * 1024
"""UTF-8 bytes of the texts of one call: half of the 4 MiB that any server takes."""

STREAM_TEXTS = 32
"""Texts of one request on a stream: few enough that labels of almost any model fit into an answer,
enough that what each request costs does not count."""

TOKENIZE_BYTES = 1024 * 1024
"""UTF-8 bytes of the texts whose tokens are shown in one call, as the service has it."""

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
        model: AnyModel,
        texts: str | Iterable[str],
        *,
        timeout: float | None = None,
        progress: Callable[[int], None] | None = None,
        **options: Unpack[EmbedOptions],
    ) -> Embeddings:
        """See `AsyncClient.embed`."""
        first = pb.EmbedRequest(model=name_of(model))
        call = partial(self._unary, self._stub.Embed, _written(first, options), timeout)
        replies = [reply async for reply in in_parts(listed(texts), call, progress)]
        return Embeddings.joined([convert.embeddings(reply) for reply in replies])

    async def classify(
        self,
        model: AnyModel,
        texts: str | Iterable[str],
        *,
        timeout: float | None = None,
        progress: Callable[[int], None] | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> Classifications:
        """See `AsyncClient.classify`."""
        first = pb.ClassifyRequest(model=name_of(model))
        call = partial(self._unary, self._stub.Classify, _written(first, options), timeout)
        replies = [reply async for reply in in_parts(listed(texts), call, progress)]
        return Classifications.joined([convert.classifications(reply) for reply in replies])

    async def embed_and_classify(
        self,
        model: AnyModel,
        texts: str | Iterable[str],
        *,
        timeout: float | None = None,
        progress: Callable[[int], None] | None = None,
        **options: Unpack[EmbedAndClassifyOptions],
    ) -> EmbeddedAndClassified:
        """See `AsyncClient.embed_and_classify`."""
        first = pb.EmbedAndClassifyRequest(model=name_of(model))
        call = partial(self._unary, self._stub.EmbedAndClassify, _written(first, options), timeout)
        replies = [reply async for reply in in_parts(listed(texts), call, progress)]
        return EmbeddedAndClassified.joined(
            [convert.embedded_and_classified(reply) for reply in replies]
        )

    def embed_many(
        self,
        model: AnyModel,
        texts: Iterable[str],
        *,
        timeout: float | None = None,
        progress: Callable[[int], None] | None = None,
        **options: Unpack[EmbedOptions],
    ) -> AsyncGenerator[Embeddings]:
        """See `AsyncClient.embed_many`."""
        first = _written(pb.EmbedRequest(model=name_of(model)), options)
        requests = (pb.ProcessRequest(embed=part) for part in _requests(first, texts))
        return self._process(
            requests, lambda response: convert.embeddings(response.embed), timeout, progress
        )

    def classify_many(
        self,
        model: AnyModel,
        texts: Iterable[str],
        *,
        timeout: float | None = None,
        progress: Callable[[int], None] | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> AsyncGenerator[Classifications]:
        """See `AsyncClient.classify_many`."""
        first = _written(pb.ClassifyRequest(model=name_of(model)), options)
        requests = (pb.ProcessRequest(classify=part) for part in _requests(first, texts))
        return self._process(
            requests, lambda response: convert.classifications(response.classify), timeout, progress
        )

    def embed_and_classify_many(
        self,
        model: AnyModel,
        texts: Iterable[str],
        *,
        timeout: float | None = None,
        progress: Callable[[int], None] | None = None,
        **options: Unpack[EmbedAndClassifyOptions],
    ) -> AsyncGenerator[EmbeddedAndClassified]:
        """See `AsyncClient.embed_and_classify_many`."""
        first = _written(pb.EmbedAndClassifyRequest(model=name_of(model)), options)
        requests = (pb.ProcessRequest(embed_and_classify=part) for part in _requests(first, texts))
        return self._process(
            requests,
            lambda response: convert.embedded_and_classified(response.embed_and_classify),
            timeout,
            progress,
        )

    async def tokenize(
        self,
        model: AnyModel,
        texts: str | Iterable[str],
        *,
        truncation: Truncation | str = Truncation.END,
        input_type: InputType | str | None = None,
        with_spans: bool = False,
        timeout: float | None = None,
    ) -> Tokenized:
        """See `AsyncClient.tokenize`."""
        options = {"truncation": truncation, "input_type": input_type, "with_spans": with_spans}
        first = pb.TokenizeRequest(model=name_of(model))
        call = partial(self._unary, self._stub.Tokenize, _written(first, options), timeout)
        parts = in_parts(listed(texts), call, None, most_bytes=TOKENIZE_BYTES)
        return Tokenized.joined([convert.tokenized(reply) async for reply in parts])

    async def server_status(self, *, timeout: float | None = None) -> ServerStatus:
        """See `AsyncClient.server_status`."""
        request = pb.GetServerStatusRequest()
        message = await self._transport.unary(self._stub.GetServerStatus, request, timeout)
        return convert.server_status(message)

    async def _unary(
        self,
        call: grpc.UnaryUnaryMultiCallable[Q, R],
        first: Q,
        timeout: float | None,
        texts: Sequence[str],
    ) -> R:
        seconds = LOAD_SECONDS if timeout is None else timeout
        return await self._transport.unary(call, _with(first, texts), seconds)

    async def _process(
        self,
        requests: Iterator[pb.ProcessRequest],
        read: Callable[[pb.ProcessResponse], C],
        timeout: float | None,
        progress: Callable[[int], None] | None,
    ) -> AsyncGenerator[C]:
        done = 0
        answers = in_order(self._transport, self._stub.Process, requests, timeout)
        async with aclosing(answers):
            async for response in answers:
                if response.HasField("error"):
                    raise shifted(error_from_status(response.error), done)
                found = read(response)
                yield found
                done += len(found)
                if progress is not None:
                    progress(done)


def listed(texts: str | Iterable[str]) -> list[str]:
    """Take one text or many."""
    return [texts] if isinstance(texts, str) else list(texts)


def _written(first: Q, options: Mapping[str, object]) -> Q:
    convert.write_options(first, options)
    return first


def _with(first: Q, texts: Sequence[str]) -> Q:
    request = type(first)()
    request.CopyFrom(first)
    request.texts.extend(texts)
    return request


def _requests(first: Q, texts: str | Iterable[str]) -> Iterator[Q]:
    """Give requests with a few texts each, read from the source as they are wanted."""
    source: Iterator[str] = iter([texts] if isinstance(texts, str) else texts)
    held: list[str] = []
    while held := [*held, *islice(source, STREAM_TEXTS - len(held))]:
        part = part_of(held)
        yield _with(first, part)
        held = held[len(part) :]


async def in_parts(
    texts: Sequence[str],
    call: Callable[[Sequence[str]], Coroutine[Any, Any, R]],
    progress: Callable[[int], None] | None,
    *,
    most_bytes: int = MAX_BYTES,
) -> AsyncIterator[R]:
    """Call with one part of the texts after the other, in order.

    A part whose answer would be too large (a model of very many labels) is halved. No texts
    at all are sent as they are: what to answer to that is the service's to say.

    Args:
        texts: The texts.
        call: Asks the service.
        progress: Is told the number of texts that are done.
        most_bytes: UTF-8 bytes of a part, unless it is one text.

    Raises:
        IsoglossError: The service refused; its `texts[i]` count in all texts, not in a part.
    """
    start, most = 0, MAX_TEXTS
    while start < len(texts) or not start:
        part = part_of(texts[start : start + most], most_bytes)
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


def part_of(texts: Sequence[str], most_bytes: int = MAX_BYTES) -> Sequence[str]:
    """Give the beginning of the texts that one message can hold, at least one text."""
    size = 0
    for index, text in enumerate(texts):
        size += len(text.encode())
        if index and size > most_bytes:
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
