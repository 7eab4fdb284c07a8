from __future__ import annotations

import grpc
import pytest

from isogloss import (
    AsyncClient,
    Client,
    Hyperparameters,
    LogLine,
    ModelCancelled,
    ModelFailed,
    ModelState,
    StateChange,
    StepMetrics,
)
from tests.integration.client.answers import refusal
from tests.integration.client.scripted import MODEL, Model, Scripted, event, model
from tests.integration.client.scripted_datasets import DATASET

HISTORY = [
    event(1, state=Model.STATE_TRAINING),
    event(2, step=0),
    event(3, line="hello"),
    event(4, step=10),
    event(5, state=Model.STATE_READY, current=Model.STATE_READY),
]


def test_only_what_is_given_is_asked_for(client: Client, script: Scripted) -> None:
    created = client.models.create(
        "tone", dataset=DATASET, hyperparameters=Hyperparameters(seed=0), positive_label="x"
    )

    [request] = script.asked("CreateModel")
    assert created.state is ModelState.QUEUED
    assert request.model.base_model == "baseModels/small"
    assert request.model.hyperparameters.HasField("seed")
    assert not request.model.hyperparameters.HasField("epochs")
    assert request.model.positive_label == "x"
    assert len(request.request_id) == 36


def test_creating_twice_is_asked_with_two_ids(client: Client, script: Scripted) -> None:
    client.models.create("tone", dataset=DATASET)
    client.models.create("tone", dataset=DATASET)

    first, second = script.asked("CreateModel")
    assert first.request_id != second.request_id


@pytest.mark.parametrize("lost", [[], [2], [1, 1]])
def test_a_watch_sees_each_event_once_however_often_it_breaks(
    client: Client, script: Scripted, lost: list[int]
) -> None:
    script.events, script.lose_watch_after = HISTORY, list(lost)

    updates = list(client.models.watch(MODEL))

    assert [update.event.sequence for update in updates if update.event] == [1, 2, 3, 4, 5]
    details = [update.event.detail for update in updates if update.event]
    assert details[0] == StateChange(state=ModelState.TRAINING, reason="")
    assert isinstance(details[1], StepMetrics)
    assert details[2] == LogLine(level="info", message="hello")


async def test_asyncio_watches_as_well(async_client: AsyncClient, script: Scripted) -> None:
    script.events, script.lose_watch_after = HISTORY, [3]

    updates = [update async for update in async_client.models.watch(MODEL, after_sequence=1)]

    assert [update.event.sequence for update in updates if update.event] == [2, 3, 4, 5]


def test_history_of_a_ready_model_is_seen_to_its_end(client: Client, script: Scripted) -> None:
    script.events = [
        event(1, state=Model.STATE_TRAINING, current=Model.STATE_READY),
        event(2, step=0, current=Model.STATE_READY),
        event(3, state=Model.STATE_READY, current=Model.STATE_READY),
    ]

    assert len(list(client.models.watch(MODEL))) == 3


def test_leaving_a_watch_early_leaves_the_client_usable(client: Client, script: Scripted) -> None:
    script.events = HISTORY

    for _ in client.models.watch(MODEL):
        break

    assert client.models.get(MODEL).name == MODEL


def test_waiting_gives_the_ready_model(client: Client, script: Scripted) -> None:
    script.events = HISTORY
    seen: list[int] = []

    ready = client.models.wait(
        MODEL, progress=lambda update: seen.append(update.event.sequence if update.event else 0)
    )

    assert ready.state is ModelState.READY
    assert seen == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("state", "kind"),
    [(Model.STATE_FAILED, ModelFailed), (Model.STATE_CANCELLED, ModelCancelled)],
)
def test_waiting_for_a_run_that_ends_badly_raises(
    client: Client,
    script: Scripted,
    state: Model.State.ValueType,
    kind: type[Exception],
) -> None:
    last = event(2, state=state, current=state)
    last.model.state_reason = "out of memory"
    script.events = [event(1, state=Model.STATE_TRAINING), last]

    with pytest.raises(kind, match="out of memory"):
        client.models.wait(MODEL)


def test_the_evaluation_names_its_confusions(client: Client, script: Scripted) -> None:
    metrics = script.evaluation.metrics
    metrics.accuracy = 0.9
    metrics.labels.add(label="a", support=2)
    metrics.labels.add(label="b", support=1)
    metrics.confusion.add(actual=0, predicted=1, count=2)

    evaluation = client.models.evaluation(model_named := client.models.get(MODEL))

    assert script.asked("GetEvaluation")[0].name == f"{model_named.name}/evaluation"
    assert evaluation.metrics.confusion == {("a", "b"): 2}


def test_a_failed_model_carries_its_error(client: Client, script: Scripted) -> None:
    failed = model(Model.STATE_FAILED)
    failed.error.CopyFrom(
        refusal(grpc.StatusCode.INTERNAL, "The run failed.", reason="TRAINING_FAILED")
    )
    script.models = [failed]

    error = client.models.get(MODEL).error

    assert error is not None
    assert (error.message, error.reason) == ("The run failed.", "TRAINING_FAILED")


def test_deleting_and_listing(client: Client, script: Scripted) -> None:
    client.models.delete(MODEL)

    assert script.deleted == [MODEL]
    assert [found.name for found in client.models.list()] == [MODEL]
    assert [base.name for base in client.models.bases()] == ["baseModels/small"]
    assert client.models.cancel(MODEL).state is ModelState.CANCELLED
