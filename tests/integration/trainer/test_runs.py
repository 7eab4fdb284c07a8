"""Runs that are paused, resumed and killed: what comes of them is what would have come anyway."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from isogloss.v1 import model_service_pb2 as pb
from isogloss.v1.model_event_pb2 import ModelEvent
from isogloss.v1.model_pb2 import Model
from services.common import layout, manifests
from tests.integration.trainer.calls import (
    State,
    Suite,
    is_training,
    long_request,
    middling_request,
    request,
    run_processes,
    running_trainer,
    states,
    until,
    watch,
)
from tests.receiver import Receiver


def published(suite: Suite, name: str) -> tuple[dict[str, str], list[str]]:
    """Return the digests of all that a model publishes."""
    key = layout.model_manifest("default", name.removeprefix("models/"))
    manifest = manifests.read_manifest(suite.store, key, ModelManifest)
    files = {item.path: item.file.sha256 for item in manifest.encoder}
    return files, [variant.graph.sha256 for variant in manifest.variants]


def stored(suite: Suite, name: str) -> list[str]:
    return [item.key for item in suite.store.list(f"default/{name}/checkpoints/")]


def is_at(step: int) -> Callable[[pb.WatchModelResponse], bool]:
    return lambda response: (
        response.model.state == State.STATE_TRAINING and response.model.progress.step >= step
    )


def is_exported_by(attempt: int) -> Callable[[pb.WatchModelResponse], bool]:
    return lambda response: (
        response.model.state == State.STATE_EXPORTING and response.model.attempt == attempt
    )


def kill_the_run() -> None:
    (run,) = run_processes(os.getpid())
    run.send_signal(signal.SIGKILL)


def is_paused(response: pb.WatchModelResponse) -> bool:
    return response.model.state == State.STATE_PAUSED


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_run_that_was_paused_and_killed_learns_what_another_one_learns(
    suite: Suite,
) -> None:
    settings = suite.settings(checkpoint_seconds=0.5, retry_seconds=0)
    async with running_trainer(settings) as trainer:
        broken = await trainer.CreateModel(middling_request())
        await until(trainer, broken.name, is_training)
        asked = await trainer.PauseModel(pb.PauseModelRequest(name=broken.name))
        paused = (await until(trainer, broken.name, is_paused)).model
        kept = stored(suite, broken.name)
        # Its place is free: another model takes it, the same one and undisturbed.
        whole = await trainer.CreateModel(middling_request())
        undisturbed = states(await watch(trainer, whole.name))

        resumed = await trainer.ResumeModel(pb.ResumeModelRequest(name=broken.name))
        await until(trainer, broken.name, is_at(paused.progress.step + 20))
        kill_the_run()
        await until(trainer, broken.name, is_exported_by(2))
        kill_the_run()
        seen = await watch(trainer, broken.name)
        ready = await trainer.GetModel(pb.GetModelRequest(name=broken.name))
        lines = await trainer.ListModelEvents(
            pb.ListModelEventsRequest(parent=broken.name, kinds=[ModelEvent.KIND_LOG_LINE])
        )
        curve = await trainer.ListStepMetrics(pb.ListStepMetricsRequest(parent=broken.name))

    assert asked.state in {State.STATE_TRAINING, State.STATE_PAUSED}
    assert paused.attempt == 0
    assert kept
    assert undisturbed == ["QUEUED", "TRAINING", "EXPORTING", "READY"]
    assert resumed.state == State.STATE_QUEUED
    assert states(seen) == [
        *("QUEUED", "TRAINING", "PAUSED", "QUEUED", "TRAINING"),
        *("QUEUED", "TRAINING", "EXPORTING"),
        *("QUEUED", "TRAINING", "EXPORTING", "READY"),
    ]
    reasons = [response.event.state_change.reason for response in seen]
    assert any("killed by SIGKILL" in reason for reason in reasons)
    assert ready.attempt == 3
    files = [item.key for item in suite.store.list(f"default/{broken.name}/runs/")]
    assert len({key.split("/")[4] for key in files}) == 1
    told = [event.log_line.message for event in lines.events]
    assert sum("to go on from" in line for line in told) == 3
    assert any(line.startswith("Computing on the CPU") for line in told)
    steps = [measured.step for measured in curve.step_metrics]
    assert steps == sorted(set(steps))
    assert published(suite, broken.name) == published(suite, whole.name)
    assert stored(suite, broken.name) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_trainer_that_stops_leaves_a_checkpoint_and_a_cancel_takes_it(
    suite: Suite,
) -> None:
    async with running_trainer(suite.settings(concurrent_runs=0)) as replica:
        async with running_trainer(suite.settings()) as trainer:
            model = await trainer.CreateModel(long_request())
            await until(trainer, model.name, is_training)
        assert run_processes(os.getpid()) == []
        left = stored(suite, model.name)
        given_back = await replica.GetModel(pb.GetModelRequest(name=model.name))
        cancelled = await replica.CancelModel(pb.CancelModelRequest(name=model.name))

    assert left
    assert (given_back.state, given_back.attempt) == (State.STATE_QUEUED, 0)
    assert "shutting down" in given_back.state_reason
    assert cancelled.state == State.STATE_CANCELLED
    assert stored(suite, model.name) == []


async def test_what_waits_is_told_its_place_estimated_paused_and_found(suite: Suite) -> None:
    async with running_trainer(suite.settings(concurrent_runs=0)) as trainer:
        checked = await trainer.CreateModel(
            pb.CreateModelRequest(model=request().model, validate_only=True)
        )
        first = await trainer.CreateModel(request())
        later = pb.CreateModelRequest(model=request(display_name="Later").model, auto_start=False)
        second = await trainer.CreateModel(later)
        resumed = await trainer.ResumeModel(pb.ResumeModelRequest(name=second.name))
        paused = await trainer.PauseModel(pb.PauseModelRequest(name=first.name))
        moved = await trainer.GetModel(pb.GetModelRequest(name=second.name))
        by_state = await trainer.ListModels(pb.ListModelsRequest(states=[State.STATE_PAUSED]))
        by_name = await trainer.ListModels(pb.ListModelsRequest(query="LATE"))
        by_other = await trainer.ListModels(pb.ListModelsRequest(dataset="datasets/other-aaaaaa"))

    assert checked.estimate.total_steps > 0
    assert 0 < checked.estimate.duration.seconds < 3600
    assert first.estimate == checked.estimate
    assert (first.queue_position, second.queue_position) == (1, 0)
    assert (second.state, resumed.queue_position) == (State.STATE_PAUSED, 2)
    assert (paused.state, paused.queue_position) == (State.STATE_PAUSED, 0)
    assert moved.queue_position == 1
    assert [model.name for model in by_state.models] == [first.name]
    assert [model.name for model in by_name.models] == [second.name]
    assert list(by_other.models) == []


async def test_a_model_is_renamed_under_its_etag(suite: Suite) -> None:
    async with running_trainer(suite.settings(concurrent_runs=0)) as trainer:
        model = await trainer.CreateModel(request())
        change = pb.UpdateModelRequest(
            model=Model(name=model.name, display_name="Other", etag=model.etag)
        )
        changed = await trainer.UpdateModel(change)
        refused = []
        for wrong in (
            change,
            pb.UpdateModelRequest(model=change.model, update_mask=FieldMask(paths=["dataset"])),
            pb.UpdateModelRequest(
                model=Model(name=model.name, webhook_uri="https://169.254.169.254/")
            ),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await trainer.UpdateModel(wrong)
            refused.append((error.value.code(), str(error.value.details())))

    assert changed.display_name == "Other"
    assert changed.etag != model.etag
    assert [code for code, _ in refused] == [
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.INVALID_ARGUMENT,
    ]
    assert "'dataset' cannot be changed" in refused[1][1]
    assert "webhook_hosts" in refused[2][1]


async def test_a_tenant_is_told_when_enough_of_its_models_wait(suite: Suite) -> None:
    settings = suite.settings(concurrent_runs=0, max_queued_per_tenant=1)
    async with running_trainer(settings) as trainer:
        await trainer.CreateModel(request())
        for validate_only in (True, False):
            asked = request()
            asked.validate_only = validate_only
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await trainer.CreateModel(asked)

            assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "max_queued_per_tenant" in str(refused.value.details())


async def test_the_end_of_a_model_is_posted(suite: Suite) -> None:
    receiver = Receiver()
    try:
        settings = suite.settings(
            concurrent_runs=0,
            webhook_hosts=[receiver.uri.removeprefix("http://").rstrip("/")],
            webhook_secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",  # noqa: S106 (no secret)
        )
        async with running_trainer(settings) as trainer:
            asked = request()
            asked.model.webhook_uri = receiver.uri
            model = await trainer.CreateModel(asked)
            await trainer.CancelModel(pb.CancelModelRequest(name=model.name))
            while not receiver.got:  # noqa: ASYNC110 (another thread's)
                await asyncio.sleep(0.02)
    finally:
        receiver.stop()

    ((headers, body),) = receiver.got
    assert json.loads(body)["data"]["name"] == model.name
    assert headers["webhook-signature"].startswith("v1,")
