"""The methods of the inference service, for any number of texts."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from functools import cached_property, partial
from itertools import islice
from typing import TypeVar, Unpack

import grpc

from isogloss import inference_convert as convert
from isogloss.aliases import Alias
from isogloss.api.bulk import in_order
from isogloss.api.parts import in_parts, listed, part_of
from isogloss.api.resources import name_of
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
from isogloss.status import error_from_status, shifted
from isogloss.transport import Transport
from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1.inference_service_pb2_grpc import InferenceServiceStub

Q = TypeVar(
    "Q", pb.EmbedRequest, pb.ClassifyRequest, pb.EmbedAndClassifyRequest, pb.TokenizeRequest
)
R = TypeVar("R")
C = TypeVar("C", Embeddings, Classifications, EmbeddedAndClassified)

AnyModel = str | Model | BaseModel | Alias

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
            requests,
            lambda response, start: convert.embeddings(response.embed, start),
            timeout,
            progress,
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
            requests,
            lambda response, start: convert.classifications(response.classify, start),
            timeout,
            progress,
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
            lambda response, start: convert.embedded_and_classified(
                response.embed_and_classify, start
            ),
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
        read: Callable[[pb.ProcessResponse, int], C],
        timeout: float | None,
        progress: Callable[[int], None] | None,
    ) -> AsyncGenerator[C]:
        done = 0
        answers = in_order(self._transport, self._stub.Process, requests, timeout)
        async with aclosing(answers):
            async for response in answers:
                if response.HasField("error"):
                    raise shifted(error_from_status(response.error), done)
                found = read(response, done)
                yield found
                done += len(found)
                if progress is not None:
                    progress(done)


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
