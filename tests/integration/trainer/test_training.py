from __future__ import annotations

import asyncio
import os

import grpc
import numpy as np
import onnxruntime
import psutil
import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from isogloss.v1 import model_service_pb2 as pb
from isogloss.v1.cleaning_pb2 import Cleaning
from isogloss.v1.evaluation_pb2 import ClassificationMetrics
from isogloss.v1.hyperparameters_pb2 import Hyperparameters
from isogloss.v1.label_mode_pb2 import LabelMode
from isogloss.v1.precision_pb2 import Precision
from isogloss.v1.split_pb2 import Split
from services.common import layout, manifests
from services.common.neighbours import HELD_OUT_STEPS
from tests.integration.trainer.calls import (
    State,
    Suite,
    is_training,
    long_request,
    request,
    run_processes,
    running_trainer,
    states,
    until,
    watch,
)
from tests.integration.trainer.kept_rows import embedded, labels_of, read_rows, read_texts
from tests.integration.trainer.published import publish_dataset, rows, several

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def no_run_is_left() -> None:
    """Wait until the processes of all runs have ended."""
    psutil.wait_procs(run_processes(os.getpid()))


async def test_a_model_is_trained_watched_scored_and_deleted(  # noqa: PLR0915 (one run, seen whole)
    suite: Suite,
) -> None:
    async with (
        running_trainer(suite.settings(quantize="auto")) as trainer,
        running_trainer(suite.settings(concurrent_runs=0)) as replica,
    ):
        queued = await trainer.CreateModel(request())
        # Another replica on the same database tells the same, live.
        seen = await watch(replica, queued.name)
        model = await trainer.GetModel(pb.GetModelRequest(name=queued.name))
        evaluation = await replica.GetEvaluation(
            pb.GetEvaluationRequest(name=f"{queued.name}/evaluation")
        )
        later = await watch(trainer, queued.name, after=seen[-2].event.sequence)
        bases = await replica.ListBaseModels(pb.ListBaseModelsRequest())
        listed = await replica.ListModels(pb.ListModelsRequest())
        tenant_id = ("default", queued.name.removeprefix("models/"))
        manifest = manifests.read_manifest(
            suite.store, layout.model_manifest(*tenant_id), ModelManifest
        )
        # It is READY before what it no longer needs is gone; this goes last.
        while suite.store.stat(layout.model_pending(*tenant_id)) is not None:  # noqa: ASYNC110 (of a store)
            await asyncio.sleep(0.05)
        files = {item.key for item in suite.store.list(layout.model_prefix(*tenant_id))}
        used = suite.store.stat(layout.dataset_use("default", "tone-aaaaaa", tenant_id[1]))
        graph = onnxruntime.InferenceSession(
            b"".join(suite.store.get(manifest.variants[0].graph.key)),
            providers=["CPUExecutionProvider"],
        )
        kept, texts = read_rows(suite.store, manifest), read_texts(suite.store, manifest)
        vector = embedded(suite.store, manifest, graph, texts[77])
        await trainer.DeleteModel(pb.DeleteModelRequest(name=queued.name))
        with pytest.raises(grpc.aio.AioRpcError) as gone:
            await replica.GetModel(pb.GetModelRequest(name=queued.name))

    assert queued.state == State.STATE_QUEUED
    assert queued.hyperparameters.epochs == 3
    assert not queued.hyperparameters.HasField("learning_rate")
    assert states(seen) == ["QUEUED", "TRAINING", "EXPORTING", "READY"]
    events = [response.event for response in seen if response.HasField("event")]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert seen[-1].event.state_change.state == State.STATE_READY
    measured = [event.step_metrics for event in events if event.HasField("step_metrics")]
    assert len(measured) >= 10
    assert measured[0].step == 0
    assert [metrics.step for metrics in measured] == sorted(m.step for m in measured)
    fractions = [response.model.progress.fraction for response in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert [response.event.sequence for response in later] == [events[-1].sequence]

    assert model.state == State.STATE_READY
    assert model.attempt == 1
    assert (model.dimension, model.max_tokens, model.label_count) == (32, 64, 3)
    assert model.hyperparameters.learning_rate > 0
    assert model.start_time.ToDatetime() <= model.end_time.ToDatetime()
    assert [variant.digest for variant in model.variants] == [
        variant.graph.sha256 for variant in manifest.variants
    ]
    assert model.variants[0].precision == Precision.PRECISION_EXACT
    # Whether integers win on a graph this small is the machine's to say; it says so either way.
    warnings = [event.log_line for event in events if event.log_line.level == "warning"]
    assert len(model.variants) + len(warnings) == 2
    assert all("no QUANTIZED variant" in line.message for line in warnings)
    assert [base.name for base in bases.base_models] == ["baseModels/tiny"]
    assert bases.base_models[0].digest == manifest.lineage.base_digest
    assert [entry.name for entry in listed.models] == [queued.name]

    assert evaluation.split == Split.SPLIT_TEST
    assert evaluation.row_count == 60
    assert evaluation.metrics.headline == ClassificationMetrics.AVERAGING_MACRO
    assert sum(cell.count for cell in evaluation.metrics.confusion) == 60
    assert 0 < evaluation.neighbor_agreement <= 1
    assert 0 < evaluation.baseline_neighbor_agreement <= 1

    assert used is not None
    named = {variant.graph.key for variant in manifest.variants} | {manifest.evaluation.key}
    named |= {manifest.predictions.key, manifest.projection.key, manifest.examples.key}
    named |= {manifest.model_card.key}
    named |= {manifest.neighbours.vectors.key, manifest.neighbours.texts.key}
    named |= {item.file.key for item in manifest.encoder} | {layout.model_manifest(*tenant_id)}
    assert files == named
    assert manifest.examples.key.startswith(layout.model_examples_prefix(*tenant_id))
    assert manifest.input.cleaning == Cleaning(strip_html=True)
    assert 0.0 < manifest.vector_range < 1.0
    assert [output.name for output in graph.get_outputs()] == ["sentence_embedding", "logits"]

    # Few as they are, the model learnt from all rows, and keeps all.
    training = rows(("angry", "happy", "plain"), prefix="my")
    assert kept.rows.tolist() == list(range(len(training)))
    assert texts == {row: text for row, (text, _) in enumerate(training)}
    assert labels_of(kept, manifest) == [[label] for _, label in training]
    assert kept.vectors[77].astype(np.float32) == pytest.approx(vector, abs=1e-3)
    assert manifest.neighbours.texts.key.startswith(layout.model_examples_prefix(*tenant_id))
    assert manifest.neighbours.nearest == 1
    cosines = list(manifest.neighbours.held_out_cosines)
    assert len(cosines) == HELD_OUT_STEPS
    assert cosines == sorted(cosines)
    assert cosines[0] < 1 - 1e-3

    assert gone.value.code() == grpc.StatusCode.NOT_FOUND
    assert list(suite.store.list(layout.model_prefix(*tenant_id))) == []
    assert list(suite.store.list(layout.dataset_uses_prefix("default", "tone-aaaaaa"))) == []
    assert list((suite.directory / "scratch").iterdir()) == []


async def test_two_labels_with_a_positive_one_and_no_test_rows(suite: Suite) -> None:
    dataset = publish_dataset(
        suite.store, suite.base.parent, dataset="pair-aaaaaa", labels=("angry", "happy"), test=False
    )
    async with running_trainer(suite.settings()) as trainer:
        asked = request(dataset=dataset, positive_label="angry")
        asked.model.hyperparameters.preset = Hyperparameters.PRESET_FAST
        model = await trainer.CreateModel(asked)
        await watch(trainer, model.name)
        ready = await trainer.GetModel(pb.GetModelRequest(name=model.name))
        evaluation = await trainer.GetEvaluation(
            pb.GetEvaluationRequest(name=f"{model.name}/evaluation")
        )

    assert model.hyperparameters.preset == Hyperparameters.PRESET_FAST
    assert (ready.hyperparameters.preset, ready.hyperparameters.frozen_layers) == (
        Hyperparameters.PRESET_FAST,
        1,
    )
    assert evaluation.split == Split.SPLIT_VALIDATION
    assert evaluation.positive_label == "angry"
    assert evaluation.metrics.headline == ClassificationMetrics.AVERAGING_BINARY
    angry = next(entry for entry in evaluation.metrics.labels if entry.label == "angry")
    assert evaluation.metrics.f1 == angry.f1


async def test_texts_with_several_labels(suite: Suite) -> None:
    dataset = publish_dataset(
        suite.store,
        suite.base.parent,
        dataset="many-aaaaaa",
        label_mode=LabelMode.LABEL_MODE_MULTI,
    )
    async with running_trainer(suite.settings()) as trainer:
        model = await trainer.CreateModel(request(dataset=dataset))
        await watch(trainer, model.name)
        ready = await trainer.GetModel(pb.GetModelRequest(name=model.name))
        evaluation = await trainer.GetEvaluation(
            pb.GetEvaluationRequest(name=f"{model.name}/evaluation")
        )
        manifest = manifests.read_manifest(
            suite.store,
            layout.model_manifest("default", model.name.removeprefix("models/")),
            ModelManifest,
        )
        kept = read_rows(suite.store, manifest)

    assert ready.state == State.STATE_READY, ready.error.message
    assert ready.hyperparameters.preset == Hyperparameters.PRESET_BALANCED
    assert manifest.label_mode == LabelMode.LABEL_MODE_MULTI
    assert list(manifest.labels) == ["angry", "happy", "post"]
    assert len(manifest.thresholds) == 3
    assert all(0.05 <= threshold <= 0.95 for threshold in manifest.thresholds)
    assert list(evaluation.metrics.confusion) == []
    assert [entry.label for entry in evaluation.metrics.labels] == ["angry", "happy", "post"]
    training = several(rows(("angry", "happy", "plain"), prefix="my"))
    assert labels_of(kept, manifest) == [labels for _, labels in training]
    assert len(manifest.neighbours.held_out_cosines) == HELD_OUT_STEPS


async def test_a_cancel_ends_the_process_and_leaves_nothing(suite: Suite) -> None:
    async with running_trainer(suite.settings()) as trainer:
        model = await trainer.CreateModel(long_request())
        await until(trainer, model.name, is_training)
        cancelled = await trainer.CancelModel(pb.CancelModelRequest(name=model.name))
        seen = await watch(trainer, model.name)
        await asyncio.to_thread(no_run_is_left)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await trainer.GetEvaluation(pb.GetEvaluationRequest(name=f"{model.name}/evaluation"))

    assert cancelled.state == State.STATE_CANCELLED
    assert cancelled.state_reason.startswith("Cancelled by")
    assert states(seen)[-1] == "CANCELLED"
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    left = [item.key for item in suite.store.list(f"default/{model.name}/")]
    assert left == [f"default/{model.name}/pending.json"]
    assert list((suite.directory / "scratch").iterdir()) == []


async def test_a_deleted_run_ends_and_leaves_nothing(suite: Suite) -> None:
    async with running_trainer(suite.settings()) as trainer:
        model = await trainer.CreateModel(long_request())
        await until(trainer, model.name, is_training)
        await trainer.DeleteModel(pb.DeleteModelRequest(name=model.name))
        await asyncio.to_thread(no_run_is_left)

    assert list(suite.store.list(f"default/{model.name}/")) == []
    assert list(suite.store.list(layout.dataset_uses_prefix("default", "tone-aaaaaa"))) == []


async def test_a_broken_dataset_fails_the_run_at_once_and_says_so(suite: Suite) -> None:
    (key,) = (
        item.key
        for item in suite.store.list(layout.dataset_prefix("default", "tone-aaaaaa"))
        if item.key.endswith("train.parquet")
    )
    suite.store.put(key, b"not the rows that were validated")
    async with running_trainer(suite.settings()) as trainer:
        model = await trainer.CreateModel(request())
        seen = await watch(trainer, model.name)
        failed = await trainer.GetModel(pb.GetModelRequest(name=model.name))

    assert states(seen) == ["QUEUED", "TRAINING", "FAILED"]
    assert failed.state == State.STATE_FAILED
    assert "train.parquet" in failed.error.message
    assert failed.state_reason == failed.error.message
    assert failed.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    info = ErrorInfo()
    assert failed.error.details[0].Unpack(info)
    assert info.reason == "TRAINING_FAILED"
    assert failed.attempt == 1
