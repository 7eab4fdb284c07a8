"""A running inference service and what tests expect of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2

from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1.inference_service_pb2_grpc import InferenceServiceStub
from services.common.server import Application, running_server
from services.inference.__main__ import build
from services.inference.answering import Answerer
from services.inference.devices import DeviceWish
from services.inference.dispatcher import Dispatcher
from services.inference.engine import FloatArray
from services.inference.models import Models
from services.inference.settings import InferenceSettings
from tests.tiny_model import (
    tiny_tokenizer,
    tiny_weights,
)

if TYPE_CHECKING:
    from isogloss.v1.inference_service_pb2_grpc import InferenceServiceAsyncStub

Result = Any  # of any method that computes; what two of them share is compared
Timed = TypeVar("Timed", pb.EmbedResponse, pb.ClassifyResponse, pb.EmbedAndClassifyResponse)

TIMEOUT = 30.0
TOKENIZER = tiny_tokenizer()
TOKENIZER.no_padding()
TOKENIZER.no_truncation()

LONG = "order late again and again my refund never arrived why do you charge me twice for it"


class Ended:
    """The calls that ended, from the server's side."""

    def __init__(self) -> None:
        self.codes: list[grpc.StatusCode] = []

    def observe(self, *, method: str, code: grpc.StatusCode, seconds: float) -> None:  # noqa: ARG002 (the Protocol's)
        self.codes.append(code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    address: str
    stub: InferenceServiceAsyncStub
    app: Application
    ended: Ended

    @property
    def models(self) -> Models:
        models: Models = self._answerer._resolver._models
        return models

    @property
    def dispatcher(self) -> Dispatcher:
        dispatcher: Dispatcher = self._answerer._dispatcher
        return dispatcher

    @property
    def _answerer(self) -> Answerer:
        answerer: Answerer = self.app.services[0].servicer._answerer
        return answerer


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    code: grpc.StatusCode
    message: str
    reason: str
    fields: list[str]
    status: status_pb2.Status
    pushback: str | None
    """Milliseconds after which gRPC itself may try again."""


@asynccontextmanager
async def serving(tmp_path: Path, **changes: object) -> AsyncIterator[Running]:
    settings = InferenceSettings.model_validate(
        {
            "address": "127.0.0.1:0",
            "data_directory": tmp_path,
            "device": DeviceWish.CPU,
            "workers": 2,
            **changes,
        }
    )
    ended = Ended()
    app = replace(build(settings), observers=[ended])
    async with (
        running_server(app) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        stub = InferenceServiceStub(channel)
        yield Running(address=server.address, stub=stub, app=app, ended=ended)


async def refused(call: Awaitable[object]) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailers = dict(caught.value.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(bad)
    assert info.domain == "isogloss"
    return Refusal(
        code=caught.value.code(),
        message=caught.value.details() or "",
        reason=info.reason,
        fields=[violation.field for violation in bad.field_violations],
        status=status,
        pushback=trailers.get("grpc-retry-pushback-ms"),
    )


def expected_vector(ids: list[int], seed: int = 0) -> FloatArray:
    vectors = tiny_weights(labels=0, seed=seed)["vectors"][ids].astype(np.float64)
    total = vectors.sum(axis=0)
    unit: FloatArray = (total / np.linalg.norm(total)).astype(np.float32)
    return unit


def token_ids(text: str) -> list[int]:
    ids: list[int] = TOKENIZER.encode(text).ids
    return ids


def untimed(response: Timed) -> Timed:
    """Return an answer without the times that it took, to compare it with another."""
    copy = type(response)()
    copy.CopyFrom(response)
    copy.ClearField("timings")
    return copy


def assert_alike(left: Iterable[Result], right: Iterable[Result]) -> None:
    """See that two answers are the same but for last bits, which depend on what ran together."""
    for one, other in zip(left, right, strict=True):
        assert one.usage == other.usage
        if not isinstance(one, pb.ClassifyResult):
            np.testing.assert_allclose(unpacked(one), unpacked(other), atol=1e-6)
        if not isinstance(one, pb.EmbedResult):
            found, expected = one.classification, other.classification
            assert [s.label for s in found.labels] == [s.label for s in expected.labels]
            assert len(found.predictions) == len(expected.predictions)
            np.testing.assert_allclose(
                [scored.confidence for scored in found.labels],
                [scored.confidence for scored in expected.labels],
                atol=1e-6,
            )


def unpacked(result: pb.EmbedResult | pb.EmbedAndClassifyResult) -> FloatArray:
    return np.frombuffer(result.vector.packed, "<f4")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110 (the server's state has no event to wait for)
            await asyncio.sleep(0.01)
