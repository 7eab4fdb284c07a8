"""A fine-tuned model as the base of another: a label is added, the others keep what was learnt."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from safetensors.numpy import load

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from isogloss.v1 import model_service_pb2 as pb
from services.common import layout, manifests
from tests.integration.trainer.calls import State, Suite, request, running_trainer, watch
from tests.integration.trainer.published import publish_dataset

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


async def test_a_label_is_added_to_a_model(suite: Suite) -> None:
    pair = publish_dataset(
        suite.store, suite.base.parent, dataset="pair-aaaaaa", labels=("angry", "happy")
    )
    async with running_trainer(suite.settings(quantize="never")) as trainer:
        first = await trainer.CreateModel(request(dataset=pair))
        with pytest.raises(grpc.aio.AioRpcError) as early:
            await trainer.CreateModel(request(base_model=first.name))
        await watch(trainer, first.name)
        further = request(base_model=first.name)
        # One step at a rate that changes nothing: what is right was right from the start.
        further.model.hyperparameters.max_steps = 1
        further.model.hyperparameters.learning_rate = 1e-6
        second = await trainer.CreateModel(further)
        await watch(trainer, second.name)
        ready = await trainer.GetModel(pb.GetModelRequest(name=second.name))
        listed = await trainer.ListModels(pb.ListModelsRequest(base_model=first.name))

    assert early.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert ready.state == State.STATE_READY, ready.error
    assert ready.base_model == first.name
    assert ready.label_count == 3
    assert [model.name for model in listed.models] == [second.name]

    old, new = (
        manifests.read_manifest(
            suite.store,
            layout.model_manifest("default", name.removeprefix("models/")),
            ModelManifest,
        )
        for name in (first.name, second.name)
    )
    assert len(old.variants) == 1
    assert new.lineage.base_model == first.name
    assert new.lineage.base_digest == old.variants[0].graph.sha256
    assert list(new.labels) == ["angry", "happy", "plain"]
    assert new.base.parameter_count == old.base.parameter_count > 0
    card = b"".join(suite.store.get(new.model_card.key)).decode()
    assert f"fine-tuned from `{first.name}`" in card
    # Up to the temperature, which divides all of it, the rows of both labels are the old ones.
    before, after = _head(suite, old), _head(suite, new)[:2]
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    assert ((before * after).sum(axis=1) / lengths).min() > 0.99999


def _head(suite: Suite, manifest: ModelManifest) -> np.ndarray:
    file = next(item.file for item in manifest.encoder if item.path == "head.safetensors")
    weight: np.ndarray = load(b"".join(suite.store.get(file.key)))["weight"]
    return weight
