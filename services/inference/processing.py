"""One request of a `Process` stream to its answer: never an exception, always a status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar

import structlog

from isogloss.v1 import inference_service_pb2 as pb
from services.common.errors import (
    FieldViolation,
    InvalidArgument,
    IsoglossError,
    Reason,
    ResourceExhausted,
)
from services.common.status import to_status
from services.inference.answering import IN_A_STREAM, Answerer
from services.inference.convert.requests import Request
from services.inference.streaming import Bounds, in_flight

R = TypeVar("R")

_log = structlog.get_logger()

BOUNDS = Bounds(requests=256, texts=1024)
"""Of one stream: enough that no worker waits for the network, and a quarter of what may wait in
a server by default, so that one stream alone does not fill it."""

_MAX_ID = 128
"""Characters of a request's id: with every answer it comes back within the answer's 4 MiB."""


class Processor:
    """Answers the requests of streams."""

    def __init__(self, answerer: Answerer) -> None:
        """Let `answerer` answer each."""
        self._answerer = answerer

    def answers(
        self, requests: AsyncIterator[pb.ProcessRequest]
    ) -> AsyncGenerator[pb.ProcessResponse, None]:
        """Answer every request of a stream, as they are ready."""
        return in_flight(requests, self._answer, texts=_texts, bounds=BOUNDS)

    async def _answer(self, request: pb.ProcessRequest) -> pb.ProcessResponse:
        response = pb.ProcessResponse(id=request.id[:_MAX_ID])
        try:
            _check_id(request)
            await self._compute(request, response)
        except IsoglossError as error:
            response.error.CopyFrom(to_status(error))
        except Exception:  # noqa: BLE001 (a fault in one request must not end the others)
            _log.exception("request_failed", id=response.id)
            response.error.CopyFrom(to_status(_fault(response.id)))
        return response

    async def _compute(self, request: pb.ProcessRequest, response: pb.ProcessResponse) -> None:
        answerer = self._answerer
        match request.WhichOneof("request"):
            case "embed":
                vectors = await _patiently(lambda: answerer.embed(request.embed, IN_A_STREAM))
                response.embed.CopyFrom(vectors)
            case "classify":
                labels = await _patiently(lambda: answerer.classify(request.classify, IN_A_STREAM))
                response.classify.CopyFrom(labels)
            case "embed_and_classify":
                joint = request.embed_and_classify
                both = await _patiently(lambda: answerer.embed_and_classify(joint, IN_A_STREAM))
                response.embed_and_classify.CopyFrom(both)
            case _:
                raise InvalidArgument(
                    FieldViolation(
                        field="request",
                        description=(
                            "is unset, or newer than this server. Send embed, classify or "
                            "embed_and_classify."
                        ),
                    )
                )


async def _patiently(compute: Callable[[], Awaitable[R]]) -> R:
    """Wait for a place instead of refusing: the stream holds its sender up meanwhile."""
    while True:
        try:
            return await compute()
        except ResourceExhausted as full:
            if full.reason is not Reason.OVERLOADED or full.retry_after is None:
                raise
            await asyncio.sleep(full.retry_after)


def _check_id(request: pb.ProcessRequest) -> None:
    if not 0 < len(request.id) <= _MAX_ID:
        raise InvalidArgument(
            FieldViolation(
                field="id",
                description=(
                    f"has {len(request.id)} characters. Send 1 to {_MAX_ID}, by which you know "
                    "the answer again."
                ),
            )
        )


def _texts(request: pb.ProcessRequest) -> int:
    kind = request.WhichOneof("request")
    if kind is None:
        return 0
    asked: Request = getattr(request, kind)
    return len(asked.texts)


def _fault(request_id: str) -> IsoglossError:
    return IsoglossError(
        f"The server failed at this. Its log has the details under request_failed and the id "
        f"{request_id}.",
        metadata={"id": request_id},
    )
