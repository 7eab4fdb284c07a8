"""A trainer in this process and the calls that tests make of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import psutil

from isogloss.v1 import model_service_pb2 as pb
from isogloss.v1.hyperparameters_pb2 import Hyperparameters
from isogloss.v1.model_pb2 import Model
from isogloss.v1.model_service_pb2_grpc import ModelServiceStub
from services.common.server import running_server
from services.common.storage import ObjectStore, open_store
from services.trainer.__main__ import build
from services.trainer.settings import TrainerSettings

if TYPE_CHECKING:
    # Only the stub file has it: at run time one class serves both kinds of channel.
    from isogloss.v1.model_service_pb2_grpc import ModelServiceAsyncStub

State = Model.State
DATASET = "datasets/tone-aaaaaa"
BASE = "baseModels/tiny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Where one test keeps everything."""

    directory: Path
    store: ObjectStore
    base: Path

    def settings(self, **changes: object) -> TrainerSettings:
        """Return settings for a trainer on this suite's store and database."""
        values: dict[str, object] = {
            "address": "127.0.0.1:0",
            "data_directory": self.directory,
            "bases": {"small": "", "tiny": str(self.base)},
            "run_threads": 1,
            "run_niceness": 0,
            "publish_bases": False,
            "queue_poll_seconds": 0.1,
            # A test that is not about it need not wait for it.
            "quantize": "never",
        }
        return TrainerSettings.model_validate({**values, **changes})


def open_suite(directory: Path, base: Path) -> Suite:
    """Return a suite in an empty directory."""
    return Suite(directory=directory, store=open_store(str(directory / "store")), base=base)


@asynccontextmanager
async def running_trainer(settings: TrainerSettings) -> AsyncIterator[ModelServiceAsyncStub]:
    """Run a trainer and yield a stub that calls it."""
    application = await asyncio.to_thread(build, settings)
    async with (
        running_server(application) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield ModelServiceStub(channel)


def request(
    *,
    display_name: str = "Tone",
    base_model: str = BASE,
    dataset: str = DATASET,
    positive_label: str = "",
    request_id: str = "",
) -> pb.CreateModelRequest:
    """Return a request for a model that learns for half a second."""
    model = Model(
        display_name=display_name,
        base_model=base_model,
        dataset=dataset,
        positive_label=positive_label,
        hyperparameters=Hyperparameters(epochs=3),
    )
    return pb.CreateModelRequest(model=model, request_id=request_id)


def long_request() -> pb.CreateModelRequest:
    """Return a request for a model that learns until somebody stops it: 6,000 steps."""
    asked = request()
    asked.model.hyperparameters.epochs = 100
    asked.model.hyperparameters.batch_size = 2
    return asked


def middling_request() -> pb.CreateModelRequest:
    """Return a request for a model that learns long enough to be stopped: 400 steps."""
    asked = request()
    asked.model.hyperparameters.epochs = 100
    return asked


async def watch(
    stub: ModelServiceAsyncStub, name: str, *, after: int = 0
) -> list[pb.WatchModelResponse]:
    """Return all that the server sends until it ends the stream."""
    call = stub.WatchModel(pb.WatchModelRequest(name=name, after_sequence=after))
    return [response async for response in call]


async def until(
    stub: ModelServiceAsyncStub, name: str, reached: Callable[[pb.WatchModelResponse], bool]
) -> pb.WatchModelResponse:
    """Watch until something is so, and hang up."""
    call = stub.WatchModel(pb.WatchModelRequest(name=name))
    async for response in call:
        if reached(response):
            call.cancel()
            return response
    raise AssertionError("the model ended before")


def is_training(response: pb.WatchModelResponse) -> bool:
    """Tell whether the run has begun to learn."""
    return response.model.state == State.STATE_TRAINING and response.model.progress.step > 0


def states(responses: list[pb.WatchModelResponse]) -> list[str]:
    """Return the states that were entered, in order."""
    return [
        State.Name(response.event.state_change.state).removeprefix("STATE_")
        for response in responses
        if response.event.HasField("state_change")
    ]


def run_processes(parent: int) -> list[psutil.Process]:
    """Return the processes of runs that a trainer has started and that are alive."""
    return [
        child
        for child in psutil.Process(parent).children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE
        and "services.trainer.run" in " ".join(child.cmdline())
    ]
