from __future__ import annotations

import uuid

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from isogloss.v1 import model_service_pb2 as pb
from isogloss.v1.cleaning_pb2 import Cleaning
from isogloss.v1.hyperparameters_pb2 import Hyperparameters
from isogloss.v1.label_mode_pb2 import LabelMode
from isogloss.v1.model_pb2 import Model
from services.common import layout, manifests
from services.common.database import Database
from services.trainer.bell import Bell
from services.trainer.catalogue import Catalogue
from services.trainer.control import Control
from services.trainer.creation import Creation, Wish
from services.trainer.models import Models, NewModel, Request
from services.trainer.tables import MIGRATIONS, ModelRow
from services.trainer.webhooks.addresses import Addresses
from services.trainer.webhooks.outbox import Outbox
from tests.integration.trainer.calls import BASE, DATASET, State, Suite, request, running_trainer
from tests.integration.trainer.published import publish_dataset


def status(error: pytest.ExceptionInfo[grpc.aio.AioRpcError]) -> status_pb2.Status:
    trailers = dict(error.value.trailing_metadata() or ())
    return status_pb2.Status.FromString(trailers["grpc-status-details-bin"])


def reason(error: pytest.ExceptionInfo[grpc.aio.AioRpcError]) -> str:
    info = error_details_pb2.ErrorInfo()
    for detail in status(error).details:
        if detail.Unpack(info):
            return str(info.reason)
    raise AssertionError("no ErrorInfo")


def violations(error: pytest.ExceptionInfo[grpc.aio.AioRpcError]) -> dict[str, str]:
    bad = error_details_pb2.BadRequest()
    for detail in status(error).details:
        if detail.Unpack(bad):
            return {entry.field: entry.description for entry in bad.field_violations}
    return {}


async def test_everything_wrong_is_told_at_once(suite: Suite) -> None:
    wrong = pb.CreateModelRequest(
        model=Model(
            display_name="x" * 101,
            base_model="small",
            dataset="models/tone-aaaaaa",
            hyperparameters=Hyperparameters(
                epochs=0, learning_rate=float("nan"), batch_size=1, seed=-1
            ),
        )
    )
    async with running_trainer(suite.settings(concurrent_runs=0)) as trainer:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await trainer.CreateModel(wrong)

    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    found = violations(refused)
    assert set(found) == {
        "model.display_name",
        "model.base_model",
        "model.dataset",
        "model.hyperparameters.epochs",
        "model.hyperparameters.learning_rate",
        "model.hyperparameters.batch_size",
        "model.hyperparameters.seed",
    }
    assert "baseModels/small" in found["model.base_model"]


@pytest.mark.parametrize(
    ("changes", "code", "expected"),
    [
        ({"dataset": "datasets/none-aaaaaa"}, "NOT_FOUND", "RESOURCE_NOT_FOUND"),
        ({"base_model": "baseModels/none"}, "NOT_FOUND", "RESOURCE_NOT_FOUND"),
        ({"base_model": "models/none-aaaaaa"}, "NOT_FOUND", "RESOURCE_NOT_FOUND"),
        ({"dataset": "datasets/raw-aaaaaa"}, "FAILED_PRECONDITION", "DATASET_NOT_READY"),
        ({"positive_label": "angry"}, "INVALID_ARGUMENT", "INVALID_FIELD"),
        (
            {"dataset": "datasets/pair-aaaaaa", "positive_label": "sad"},
            "INVALID_ARGUMENT",
            "INVALID_FIELD",
        ),
    ],
)
async def test_what_does_not_fit_has_a_code_and_a_reason(
    suite: Suite, changes: dict[str, str], code: str, expected: str
) -> None:
    suite.store.put(layout.raw_chunk("default", "raw-aaaaaa", "train", 0), b"text,label\n")
    publish_dataset(
        suite.store, suite.base.parent, dataset="pair-aaaaaa", labels=("angry", "happy")
    )
    async with running_trainer(suite.settings(concurrent_runs=0)) as trainer:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await trainer.CreateModel(request(**changes))

    assert refused.value.code().name == code
    assert reason(refused) == expected


async def test_a_dataset_that_cannot_be_learnt_from_is_refused(suite: Suite) -> None:
    folder = suite.base.parent
    unknown = Cleaning(urls=9)  # type: ignore[arg-type]  # what a newer release may declare
    newer = publish_dataset(suite.store, folder, dataset="newer-aaaaaa", cleaning=unknown)
    async with running_trainer(suite.settings(concurrent_runs=0)) as trainer:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await trainer.CreateModel(request(dataset=newer))

    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert reason(refused) == "DATASET_UNSUITABLE"
    assert "Update the trainer" in str(refused.value.details())


async def test_no_label_is_the_positive_one_where_a_text_can_have_several(suite: Suite) -> None:
    several = publish_dataset(
        suite.store,
        suite.base.parent,
        dataset="many-aaaaaa",
        labels=("angry",),
        label_mode=LabelMode.LABEL_MODE_MULTI,
    )
    async with running_trainer(suite.settings(concurrent_runs=0)) as trainer:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await trainer.CreateModel(request(dataset=several, positive_label="angry"))

    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "a text can have several" in str(refused.value.details())


async def test_a_length_that_the_prefix_of_the_base_fills_is_refused(suite: Suite) -> None:
    key = layout.base_model_manifest("tiny")
    base = manifests.read_manifest(suite.store, key, ModelManifest)
    asked = request()
    asked.model.hyperparameters.max_tokens = 8
    asked.validate_only = True
    async with running_trainer(suite.settings(concurrent_runs=0)) as trainer:
        base.input.prefix = "order "
        manifests.replace_manifest(suite.store, key, base)
        fits = await trainer.CreateModel(asked)
        base.input.prefix = "where is my order now and when is it here "
        manifests.replace_manifest(suite.store, key, base)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await trainer.CreateModel(asked)

    assert fits.hyperparameters.max_tokens == 8
    found = violations(refused)
    assert set(found) == {"model.hyperparameters.max_tokens"}
    assert "leave no room for a text" in found["model.hyperparameters.max_tokens"]


async def test_every_wrong_hyperparameter_is_named(suite: Suite) -> None:
    asked = request()
    asked.model.hyperparameters.CopyFrom(
        Hyperparameters(
            preset=77,  # type: ignore[arg-type]  # what a newer client may ask for
            epochs=0,
            dropout=0.9,
            layer_decay=float("nan"),
            matryoshka_dimensions=[16, 4, 16],
        )
    )
    async with running_trainer(suite.settings(concurrent_runs=0)) as trainer:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await trainer.CreateModel(asked)

    found = violations(refused)
    told = {name.removeprefix("model.hyperparameters."): why for name, why in found.items()}
    assert "ascending" in told.pop("matryoshka_dimensions")
    assert told == {
        "preset": "77 is none of fast, balanced, thorough. Leave it unset to have it chosen.",
        "epochs": "0 is out of range: 1 to 100. Leave it unset to have it chosen.",
        "dropout": "0.9 is out of range: 0 to 0.5. Leave it unset to have it chosen.",
        "layer_decay": "nan is out of range: 0.1 to 1. Leave it unset to have it chosen.",
    }


async def test_embeddings_are_cut_to_fewer_numbers_than_the_base_has(suite: Suite) -> None:
    asked = request()
    asked.validate_only = True
    async with running_trainer(suite.settings(concurrent_runs=0)) as trainer:
        asked.model.hyperparameters.matryoshka_dimensions[:] = [8, 16]
        fits = await trainer.CreateModel(asked)
        asked.model.hyperparameters.matryoshka_dimensions[:] = [8, 32]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await trainer.CreateModel(asked)

    assert list(fits.hyperparameters.matryoshka_dimensions) == [8, 16]
    assert "have 32 numbers" in violations(refused)["model.hyperparameters.matryoshka_dimensions"]


async def test_validate_only_creates_nothing(suite: Suite) -> None:
    async with running_trainer(suite.settings(concurrent_runs=0)) as trainer:
        asked = request()
        asked.validate_only = True
        checked = await trainer.CreateModel(asked)
        listed = await trainer.ListModels(pb.ListModelsRequest())

    assert checked.name == ""
    assert checked.hyperparameters.epochs == 3
    assert checked.label_count == 3
    assert list(listed.models) == []
    assert list(suite.store.list("default/models/")) == []


async def test_a_request_id_makes_one_model(suite: Suite) -> None:
    request_id = str(uuid.uuid4())
    async with running_trainer(suite.settings(concurrent_runs=0)) as trainer:
        first = await trainer.CreateModel(request(request_id=request_id))
        again = await trainer.CreateModel(request(request_id=request_id))
        with pytest.raises(grpc.aio.AioRpcError) as other:
            await trainer.CreateModel(request(request_id=request_id, display_name="Other"))
        listed = await trainer.ListModels(pb.ListModelsRequest())

    assert again == first
    assert [model.name for model in listed.models] == [first.name]
    assert other.value.code() == grpc.StatusCode.ALREADY_EXISTS
    assert reason(other) == "REQUEST_ID_REUSED"


async def test_a_request_is_answered_again_although_its_dataset_is_gone(suite: Suite) -> None:
    request_id = str(uuid.uuid4())
    async with running_trainer(suite.settings(concurrent_runs=0)) as trainer:
        first = await trainer.CreateModel(request(request_id=request_id))
        suite.store.delete(layout.dataset_manifest("default", "tone-aaaaaa"))
        again = await trainer.CreateModel(request(request_id=request_id))

    assert again == first


@pytest.mark.parametrize("validate_only", [False, True])
async def test_a_bad_request_id_is_refused_even_where_nothing_is_created(
    suite: Suite, *, validate_only: bool
) -> None:
    asked = request(request_id="x" * 65)
    asked.validate_only = validate_only
    async with running_trainer(suite.settings(concurrent_runs=0)) as trainer:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await trainer.CreateModel(asked)

    assert set(violations(refused)) == {"request_id"}


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        ("datasets/none-aaaaaa", "nothing was uploaded to it yet: `isogloss datasets list`"),
        ("datasets/raw-aaaaaa", "`isogloss datasets show datasets/raw-aaaaaa` tells which"),
    ],
)
async def test_a_dataset_that_does_not_do_says_what_to_do(
    suite: Suite, dataset: str, says: str
) -> None:
    suite.store.put(layout.raw_chunk("default", "raw-aaaaaa", "train", 0), b"text,label\n")
    async with running_trainer(suite.settings(concurrent_runs=0)) as trainer:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await trainer.CreateModel(request(dataset=dataset))

    assert says in str(refused.value.details())


async def test_a_queued_model_leaves_its_marks_and_a_deletion_takes_them(suite: Suite) -> None:
    async with running_trainer(suite.settings(concurrent_runs=0)) as trainer:
        model = await trainer.CreateModel(request())
        id_ = model.name.removeprefix("models/")
        pending = suite.store.stat(layout.model_pending("default", id_))
        use = suite.store.stat(layout.dataset_use("default", "tone-aaaaaa", id_))
        cancelled = await trainer.CancelModel(pb.CancelModelRequest(name=model.name))
        again = await trainer.CancelModel(pb.CancelModelRequest(name=model.name))
        await trainer.DeleteModel(pb.DeleteModelRequest(name=model.name))
        with pytest.raises(grpc.aio.AioRpcError) as gone:
            await trainer.DeleteModel(pb.DeleteModelRequest(name=model.name))

    assert pending is not None
    assert use is not None
    assert cancelled.state == again.state == State.STATE_CANCELLED
    assert gone.value.code() == grpc.StatusCode.NOT_FOUND
    assert list(suite.store.list("default/models/")) == []
    assert suite.store.stat(layout.dataset_use("default", "tone-aaaaaa", id_)) is None


class DeletedAtOnce(Models):
    """Rows that somebody deletes as soon as they are there."""

    control: Control

    def add(self, new: NewModel, request: Request) -> ModelRow:
        """Add the row, and delete it."""
        row = super().add(new, request)
        self.control.forget(row.tenant, row.id)
        return row


def test_a_creation_that_a_deletion_overtook_leaves_no_marks(suite: Suite) -> None:
    database = Database(suite.settings().database_url)
    database.upgrade(MIGRATIONS)
    catalogue = Catalogue(suite.store, {"tiny": str(suite.base)})
    models = DeletedAtOnce(database, Bell())
    models.control = Control(database, Bell(), addresses=Addresses(), outbox=Outbox())
    creation = Creation(
        models, models.control, catalogue, suite.store, addresses=Addresses(), threads=1
    )
    wish = Wish(
        tenant="default",
        display_name="Tone",
        base_model=BASE,
        dataset=DATASET,
        hyperparameters={},
        positive_label="",
    )

    creation.create(wish, Request(actor="anna", request_id="", fingerprint=b""))

    assert list(suite.store.list("default/models/")) == []
    assert list(suite.store.list("default/datasets/tone-aaaaaa/uses/")) == []
    database.close()


@pytest.mark.parametrize(
    "name", ["", "tone-aaaaaa", "models/x", "models/x/y", "models//evaluation"]
)
async def test_the_name_of_an_evaluation_has_one_form(suite: Suite, name: str) -> None:
    async with running_trainer(suite.settings(concurrent_runs=0)) as trainer:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await trainer.GetEvaluation(pb.GetEvaluationRequest(name=name))

    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "models/ID/evaluation" in violations(refused)["name"]


async def test_bases_that_are_configured_are_listed_before_they_are_published(suite: Suite) -> None:
    settings = suite.settings(concurrent_runs=0, bases={"tiny": str(suite.base)})
    async with running_trainer(settings) as trainer:
        first = await trainer.ListBaseModels(pb.ListBaseModelsRequest(page_size=1))
        second = await trainer.ListBaseModels(
            pb.ListBaseModelsRequest(page_size=1, page_token=first.next_page_token)
        )

    assert [base.name for base in first.base_models] == ["baseModels/small"]
    assert first.base_models[0].display_name == "all-MiniLM-L6-v2"
    assert first.base_models[0].license == "Apache-2.0"
    assert first.base_models[0].parameter_count // 100_000 == 227
    assert first.base_models[0].digest == ""
    assert [base.name for base in second.base_models] == [BASE]
    assert second.next_page_token == ""


async def test_a_watch_ends_when_the_caller_hangs_up(suite: Suite) -> None:
    async with running_trainer(suite.settings(concurrent_runs=0)) as trainer:
        model = await trainer.CreateModel(request(dataset=DATASET))
        call = trainer.WatchModel(pb.WatchModelRequest(name=model.name))
        first = await anext(aiter(call))
        call.cancel()

        assert first.event.sequence == 1
        assert await call.code() == grpc.StatusCode.CANCELLED
