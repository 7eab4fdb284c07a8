from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from isogloss.v1 import model_service_pb2 as pb
from services.common import layout, manifests
from services.common.storage import ObjectStore, open_store
from services.trainer.settings import TrainerSettings
from tests.integration.trainer.calls import State, running_trainer
from tests.integration.trainer.test_aliases import refused
from tests.whole_model import TEXT, publish_whole_model

if TYPE_CHECKING:
    from isogloss.v1.model_service_pb2_grpc import ModelServiceAsyncStub

NAME = "models/tone"


@pytest.fixture
def settings(tmp_path: Path) -> TrainerSettings:
    return TrainerSettings(
        address="127.0.0.1:0",
        data_directory=tmp_path / "data",
        bases={"small": ""},
        concurrent_runs=0,
        publish_bases=False,
    )


@pytest.fixture
def store(settings: TrainerSettings, tmp_path: Path) -> ObjectStore:
    store = open_store(settings.store_url)
    publish_whole_model(store, tmp_path, "tone")
    return store


@pytest.fixture
async def trainer(
    settings: TrainerSettings,
    store: ObjectStore,  # noqa: ARG001 (what it finds)
) -> AsyncIterator[ModelServiceAsyncStub]:
    async with running_trainer(settings) as trainer:
        yield trainer


async def exported(trainer: ModelServiceAsyncStub, *, examples: bool = False) -> bytes:
    call = trainer.ExportModel(pb.ExportModelRequest(name=NAME, include_examples=examples))
    responses = [response async for response in call]
    content = b"".join(response.data for response in responses)
    assert [response.size_bytes for response in responses if response.size_bytes] == [len(content)]
    return content


def pieces(
    bundle: bytes, *, display_name: str = "", request_id: str = "", size: int = 100_000
) -> Iterator[pb.ImportModelRequest]:
    yield pb.ImportModelRequest(display_name=display_name, request_id=request_id)
    for start in range(0, len(bundle), size):
        yield pb.ImportModelRequest(data=bundle[start : start + size])


async def test_a_model_goes_out_and_comes_back_under_a_new_name(
    trainer: ModelServiceAsyncStub, store: ObjectStore
) -> None:
    bundle = await exported(trainer)
    model = await trainer.ImportModel(pieces(bundle, display_name="A copy"))
    listed = await trainer.ListModels(pb.ListModelsRequest())
    evaluation = await trainer.GetEvaluation(
        pb.GetEvaluationRequest(name=f"{model.name}/evaluation")
    )
    manifest = manifests.read_manifest(
        store,
        layout.model_manifest("default", model.name.removeprefix("models/")),
        ModelManifest,
    )
    await trainer.DeleteModel(pb.DeleteModelRequest(name=model.name))

    assert model.name.startswith("models/a-copy-")
    assert model.state == State.STATE_READY
    assert model.display_name == "A copy"
    assert (model.base_model, model.dataset) == ("baseModels/small", "datasets/tone-aaaaaa")
    assert model.variants[0].digest == manifest.variants[0].graph.sha256
    assert [found.name for found in listed.models] == [model.name]
    assert evaluation.name == f"{model.name}/evaluation"
    assert evaluation.metrics.accuracy == 0.75
    assert TEXT.encode() not in bundle
    assert list(store.list(f"default/{model.name}/")) == []


async def test_texts_travel_where_they_are_asked_for(trainer: ModelServiceAsyncStub) -> None:
    assert TEXT.encode() in await exported(trainer, examples=True)


async def test_a_repeated_import_answers_the_same_model(trainer: ModelServiceAsyncStub) -> None:
    bundle = await exported(trainer)

    first = await trainer.ImportModel(pieces(bundle, request_id="r-1"))
    again = await trainer.ImportModel(pieces(bundle, request_id="r-1", size=65_536))
    other = await refused(
        trainer.ImportModel(pieces(bundle, request_id="r-1", display_name="Another"))
    )

    assert again == first
    assert other[:2] == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


async def test_what_is_sent_wrongly_is_refused(
    trainer: ModelServiceAsyncStub, settings: TrainerSettings
) -> None:
    nothing = await refused(trainer.ImportModel(iter(())))
    rubbish = await refused(trainer.ImportModel(pieces(b"rubbish" * 100)))
    huge = await refused(trainer.ImportModel(pieces(b"x" * 2_000_000, size=2_000_000)))
    name = await refused(trainer.ImportModel(pieces(b"", display_name="x" * 101)))
    id_ = await refused(trainer.ImportModel(pieces(b"", request_id="x" * 65)))
    twice = await refused(
        trainer.ImportModel(iter([pb.ImportModelRequest(display_name=name) for name in "ab"]))
    )

    answers = (nothing, rubbish, huge, name, id_, twice)
    assert {answer[0] for answer in answers} == {"INVALID_ARGUMENT"}
    assert "first message only" in twice[2]
    assert "nothing came" in nothing[2]
    assert "no tar archive" in rubbish[2]
    assert huge[1] == "LIMIT_EXCEEDED"
    assert list(settings.scratch.iterdir()) == []


async def test_a_bundle_is_bounded(settings: TrainerSettings, store: ObjectStore) -> None:
    small = settings.model_copy(update={"import_max_bytes": 50_000})
    async with running_trainer(small) as trainer:
        bundle = await exported(trainer)
        answer = await refused(trainer.ImportModel(pieces(bundle)))

    assert answer[:2] == ("INVALID_ARGUMENT", "LIMIT_EXCEEDED")
    assert "ISOGLOSS_TRAINER_IMPORT_MAX_BYTES" in answer[2]
    assert {item.key.split("/")[2] for item in store.list("default/models/")} == {"tone"}


async def test_only_a_ready_model_is_exported(
    trainer: ModelServiceAsyncStub, store: ObjectStore
) -> None:
    store.put(layout.model_pending("default", "young"), b"{}")

    answers = {}
    for name in ("young", "none"):
        call = trainer.ExportModel(pb.ExportModelRequest(name=f"models/{name}"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(aiter(call))
        answers[name] = caught.value.code().name

    assert answers == {"young": "FAILED_PRECONDITION", "none": "NOT_FOUND"}


async def test_the_same_model_is_exported_to_the_same_bytes(
    trainer: ModelServiceAsyncStub,
) -> None:
    bundles = [await exported(trainer) for _ in range(2)]

    assert len({hashlib.sha256(bundle).hexdigest() for bundle in bundles}) == 1
