"""Evaluations, maps and comparisons of models that a real trainer trained."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import grpc
import psutil
import pytest

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from isogloss.v1 import model_service_pb2 as pb
from isogloss.v1.evaluation_pb2 import Evaluation
from isogloss.v1.split_pb2 import Split
from services.common import layout, manifests
from services.common.database import Database
from services.trainer.evaluating.state import State
from services.trainer.tables import EvaluationRow, ModelRow
from tests.integration.trainer.calls import Suite, request, running_trainer, watch
from tests.integration.trainer.kept_rows import read_texts
from tests.integration.trainer.published import CONTENT_HASH, publish_dataset
from tests.integration.trainer.test_creation import reason, violations

if TYPE_CHECKING:
    from isogloss.v1.model_service_pb2_grpc import ModelServiceAsyncStub

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


async def trained(trainer: ModelServiceAsyncStub, dataset: str) -> str:
    model = await trainer.CreateModel(request(dataset=dataset))
    await watch(trainer, model.name)
    return model.name


def copied(suite: Suite, name: str) -> str:
    """Make a second model of the first one's files: a training takes half a minute."""
    model, copy = name.removeprefix("models/"), "copy-aaaaaa"
    manifest = manifests.read_manifest(
        suite.store, layout.model_manifest("default", model), ModelManifest
    )
    manifest.name = f"models/{copy}"
    manifests.create_manifest(suite.store, layout.model_manifest("default", copy), manifest)
    database = Database(suite.settings().database_url)
    with database.write() as session:
        row = session.get(ModelRow, ("default", model))
        assert row is not None
        columns = {column.key: getattr(row, column.key) for column in ModelRow.__table__.columns}
        session.add(ModelRow(**{**columns, "id": copy}))
    database.close()
    return manifest.name


def left_by_a_dead_trainer(suite: Suite, model: str, dataset: str) -> str:
    """Leave an evaluation as a trainer does that is killed, its lease over."""
    now = datetime.now(UTC)
    row = EvaluationRow(
        tenant="default",
        model=model.removeprefix("models/"),
        id="aaaabbbbcccc",
        dataset=dataset.removeprefix("datasets/"),
        dataset_content_hash=CONTENT_HASH,
        split="validation",
        state=State.RUNNING,
        create_time=now,
        owner="dead",
        attempt=1,
        token=1,
        lease_until=now - timedelta(seconds=1),
    )
    name = row.name
    database = Database(suite.settings().database_url)
    with database.write() as session:
        session.add(row)
    database.close()
    return name


async def ended(trainer: ModelServiceAsyncStub, name: str) -> Evaluation:
    while True:
        found = await trainer.GetEvaluation(pb.GetEvaluationRequest(name=name))
        if found.state in (Evaluation.STATE_READY, Evaluation.STATE_FAILED):
            return found
        await asyncio.sleep(0.1)


def evaluation_processes() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(os.getpid()).children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE
        and "services.trainer.evaluating.run" in " ".join(child.cmdline())
    ]


async def kill_the_evaluation() -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := evaluation_processes():
            found[0].send_signal(signal.SIGKILL)
            return
        await asyncio.sleep(0.02)
    raise AssertionError("no evaluation began")


async def test_models_are_mapped_evaluated_further_compared_and_forgotten(  # noqa: PLR0915 (one model, seen whole)
    suite: Suite,
) -> None:
    pair, later, odd = (
        publish_dataset(suite.store, suite.base.parent, dataset=f"{name}-aaaaaa", labels=labels)
        for name, labels in (
            ("pair", ("angry", "happy")),
            ("later", ("angry", "happy")),
            ("odd", ("angry", "plain")),
        )
    )
    async with running_trainer(suite.settings()) as trainer:
        first = await trained(trainer, pair)
        second = copied(suite, first)
        own = await trainer.GetEvaluation(pb.GetEvaluationRequest(name=f"{first}/evaluation"))
        places = [
            await trainer.GetProjection(pb.GetProjectionRequest(name=f"{first}/projection"))
            for _ in range(2)
        ]
        card = await trainer.GetModelCard(pb.GetModelCardRequest(name=f"{first}/card"))
        compared = await trainer.CompareModels(pb.CompareModelsRequest(models=[first, second]))
        asked = pb.EvaluateModelRequest(
            name=first, dataset=later, request_id="5f0a6c54-5f5b-4dd1-b4c4-2f1d0d5d9c7e"
        )
        queued = await trainer.EvaluateModel(asked)
        repeated = await trainer.EvaluateModel(asked)
        await kill_the_evaluation()
        ready = await ended(trainer, queued.name)
        with pytest.raises(grpc.aio.AioRpcError) as missing:
            await trainer.CompareModels(
                pb.CompareModelsRequest(models=[first, second], dataset=later)
            )
        strange = await ended(
            trainer,
            (await trainer.EvaluateModel(pb.EvaluateModelRequest(name=first, dataset=odd))).name,
        )
        inherited = await ended(trainer, left_by_a_dead_trainer(suite, first, later))
        await trainer.DeleteEvaluation(pb.DeleteEvaluationRequest(name=inherited.name))
        listed = await trainer.ListEvaluations(pb.ListEvaluationsRequest(parent=first, page_size=1))
        rest = await trainer.ListEvaluations(
            pb.ListEvaluationsRequest(parent=first, page_size=1, page_token=listed.next_page_token)
        )
        model_id = first.removeprefix("models/")
        marked = suite.store.stat(layout.dataset_use("default", "later-aaaaaa", model_id))
        await trainer.DeleteEvaluation(pb.DeleteEvaluationRequest(name=ready.name))
        unmarked = suite.store.stat(layout.dataset_use("default", "later-aaaaaa", model_id))
        still_marked = suite.store.stat(layout.dataset_use("default", "pair-aaaaaa", model_id))
        manifest = manifests.read_manifest(
            suite.store, layout.model_manifest("default", model_id), ModelManifest
        )
        explaining = manifest.neighbours
        shown = read_texts(suite.store, manifest)
        # What a purge of the dataset does.
        for item in list(suite.store.list(layout.model_examples_prefix("default", model_id))):
            suite.store.delete(item.key)
        explained = [suite.store.stat(file.key) for file in (explaining.texts, explaining.vectors)]
        purged = await trainer.GetEvaluation(pb.GetEvaluationRequest(name=own.name))
        bare = await trainer.GetProjection(pb.GetProjectionRequest(name=f"{first}/projection"))
        await trainer.DeleteModel(pb.DeleteModelRequest(name=first))
        with pytest.raises(grpc.aio.AioRpcError) as gone:
            await trainer.GetEvaluation(pb.GetEvaluationRequest(name=strange.name))

    assert card.name == f"{first}/card"
    assert card.markdown.startswith("# ")
    assert f"`{first}`, fine-tuned from" in card.markdown
    assert own.state == Evaluation.STATE_READY
    assert (own.dataset, own.split) == ("datasets/pair-aaaaaa", Split.SPLIT_TEST)
    for metrics in (own.metrics, own.baseline, own.nearest_neighbors):
        interval = metrics.accuracy_interval
        assert interval.low <= metrics.accuracy == pytest.approx(interval.value)
        assert metrics.accuracy <= interval.high
    assert own.improvement.accuracy.value == pytest.approx(
        own.metrics.accuracy - own.baseline.accuracy, abs=1e-6
    )
    assert [point.row_count for point in own.learning_curve.points] == [20, 40, 60, 80]
    assert -1 <= own.retention <= 1
    assert own.examined_row_count == 80
    assert own.advice
    assert all(error.text.startswith("your ") for error in own.worst_errors)
    assert all(suspicion.text.startswith("my ") for suspicion in own.suspicious_labels)

    assert places[0] == places[1]
    assert len(places[0].points) == 40
    assert all(point.text.startswith("your ") for point in places[0].points)

    assert compared.row_count == 40
    assert [score.model for score in compared.scores] == [first, second]
    assert compared.scores[0].accuracy.value == pytest.approx(own.metrics.accuracy)
    (two,) = compared.pairs
    alike = two.improvement
    assert alike.both_right_count + alike.both_wrong_count == 40
    assert alike.accuracy_p_value == 1.0

    assert queued.state == Evaluation.STATE_QUEUED
    assert repeated.name == queued.name
    assert ready.state == Evaluation.STATE_READY, ready.error.message
    assert ready.row_count == 40
    assert ready.split == Split.SPLIT_TEST
    assert not ready.HasField("baseline")
    assert (inherited.state, inherited.split) == (Evaluation.STATE_READY, Split.SPLIT_VALIDATION)
    assert reason(missing) == "EVALUATION_MISSING"
    assert f"isogloss models evaluate {second}" in str(missing.value.details())
    assert {label.label: label.row_count for label in strange.unknown_labels} == {"plain": 20}
    assert strange.row_count == strange.unknown_label_row_count == 20

    assert [each.name for each in (*listed.evaluations, *rest.evaluations)] == [
        strange.name,
        ready.name,
    ]
    assert listed.evaluations[0].metrics.accuracy == strange.metrics.accuracy
    assert (len(listed.evaluations[0].metrics.labels), rest.next_page_token) == (0, "")

    assert marked is not None
    assert unmarked is None
    assert still_marked is not None
    assert all(text.startswith("my ") for text in shown.values())
    assert [item is not None for item in explained] == [False, True]
    assert purged.texts_removed
    assert purged.metrics == own.metrics
    assert {error.text for error in purged.worst_errors} <= {""}
    assert bare.texts_removed
    assert [point.after_x for point in bare.points] == [p.after_x for p in places[0].points]
    assert gone.value.code() == grpc.StatusCode.NOT_FOUND
    assert list(suite.store.list(layout.model_prefix("default", model_id))) == []
    assert suite.store.stat(layout.dataset_use("default", "odd-aaaaaa", model_id)) is None


async def test_what_cannot_be_evaluated_or_compared_is_told(suite: Suite) -> None:
    async with running_trainer(suite.settings(concurrent_runs=0)) as trainer:
        model = await trainer.CreateModel(request())
        calls: dict[str, Awaitable[object]] = {
            "not ready": trainer.EvaluateModel(
                pb.EvaluateModelRequest(name=model.name, dataset="datasets/tone-aaaaaa")
            ),
            "no map yet": trainer.GetProjection(
                pb.GetProjectionRequest(name=f"{model.name}/projection")
            ),
            "never was": trainer.GetEvaluation(
                pb.GetEvaluationRequest(name=f"{model.name}/evaluations/aaaabbbbcccc")
            ),
            "the run's": trainer.DeleteEvaluation(
                pb.DeleteEvaluationRequest(name=f"{model.name}/evaluation")
            ),
            "one model": trainer.CompareModels(pb.CompareModelsRequest(models=[model.name])),
            "twice": trainer.CompareModels(pb.CompareModelsRequest(models=[model.name] * 2)),
            "names": trainer.EvaluateModel(
                pb.EvaluateModelRequest(name="tone", dataset="d", request_id="x" * 65)
            ),
        }
        refused = {}
        for what, call in calls.items():
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call
            refused[what] = error

    assert {what: reason(error) for what, error in refused.items()} == {
        "not ready": "MODEL_NOT_READY",
        "no map yet": "MODEL_NOT_READY",
        "never was": "RESOURCE_NOT_FOUND",
        "the run's": "INVALID_FIELD",
        "one model": "INVALID_FIELD",
        "twice": "INVALID_FIELD",
        "names": "INVALID_FIELD",
    }
    assert set(violations(refused["names"])) == {"name", "dataset", "request_id"}
