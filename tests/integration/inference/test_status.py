from __future__ import annotations

import hashlib
from pathlib import Path

from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1 import precision_pb2
from services.common.storage import ObjectStore
from tests.integration.inference.serving import Running, serving
from tests.tiny_model import publish_tiny_base, publish_tiny_model

ASK = pb.GetServerStatusRequest()


async def test_a_server_tells_what_it_is_and_what_it_takes(tmp_path: Path) -> None:
    async with serving(tmp_path, max_texts=7, queue_tokens=1000) as running:
        status = await running.stub.GetServerStatus(ASK)

    assert status.version
    assert status.start_time.seconds > 0
    assert (status.device, status.engine_count, status.worker_count) == ("cpu", 0, 2)
    assert (status.limits.max_texts, status.limits.queue_tokens) == (7, 1000)
    assert status.limits.max_text_bytes == 128 * 1024
    assert status.limits.model_memory_bytes > 0
    assert status.store_reachable
    assert not status.HasField("store_outage")
    assert (status.interactive.text_count, status.bulk.text_count) == (0, 0)


async def test_models_are_told_with_their_use_the_last_one_first(
    running: Running, store: ObjectStore
) -> None:
    manifest = publish_tiny_model(store, "default", "tone")
    publish_tiny_base(store)
    for name in ("models/tone", "baseModels/tiny", "models/tone"):
        await running.stub.Embed(pb.EmbedRequest(model=name, texts=["great"]))

    status = await running.stub.GetServerStatus(ASK)

    assert [model.model for model in status.models] == ["models/tone", "baseModels/tiny"]
    tone = status.models[0]
    assert tone.precision == precision_pb2.PRECISION_EXACT
    assert tone.digest == manifest.variants[0].graph.sha256
    assert tone.load_time.ToNanoseconds() <= tone.last_use_time.ToNanoseconds()
    assert tone.call_count == 1
    assert not tone.preloaded
    assert status.model_count == 2
    assert status.model_bytes == sum(model.size_bytes for model in status.models) > 0


async def test_models_of_others_are_counted_and_not_named(
    tmp_path: Path, store: ObjectStore
) -> None:
    publish_tiny_model(store, "acme", "tone")
    publish_tiny_model(store, "rival", "secret")
    publish_tiny_base(store)
    keys = tmp_path / "keys.toml"
    keys.write_text(
        "\n".join(
            f'[[keys]]\nsha256 = "{hashlib.sha256(tenant.encode()).hexdigest()}"\n'
            f'tenant = "{tenant}"\nrole = "admin"\nname = "{tenant}"'
            for tenant in ("acme", "rival")
        )
    )
    acme, rival = ((("authorization", f"Bearer {tenant}"),) for tenant in ("acme", "rival"))
    asked = ((acme, "models/tone"), (rival, "models/secret"), (rival, "baseModels/tiny"))

    async with serving(tmp_path, api_keys_file=keys) as running:
        for caller, name in asked:
            request = pb.EmbedRequest(model=name, texts=["great"])
            await running.stub.Embed(request, metadata=caller)
        status = await running.stub.GetServerStatus(ASK, metadata=acme)

    assert [model.model for model in status.models] == ["baseModels/tiny", "models/tone"]
    assert status.model_count == 3
