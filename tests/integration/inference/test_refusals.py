from __future__ import annotations

import hashlib
from pathlib import Path

import grpc
from google.rpc import error_details_pb2

from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1 import precision_pb2
from isogloss.v1.cleaning_pb2 import Cleaning
from services.common import layout
from services.common.storage import ObjectStore
from tests.integration.inference.serving import (
    LONG,
    Running,
    refused,
    serving,
    token_ids,
)
from tests.tiny_model import (
    MAX_TOKENS,
    publish_tiny_base,
    publish_tiny_model,
)


async def test_with_truncation_none_every_long_text_is_named(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_base(store)
    request = pb.EmbedRequest(
        model="baseModels/tiny",
        texts=[LONG, "great", LONG],
        truncation=pb.TRUNCATION_NONE,
    )

    refusal = await refused(running.stub.Embed(request))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "TEXT_TOO_LONG"
    assert refusal.fields == ["texts[0]", "texts[2]"]
    assert f"has {len(token_ids(LONG))} tokens" in refusal.message
    assert f"takes {MAX_TOKENS}" in refusal.message


async def test_huge_texts_are_refused_without_being_counted_to_their_end(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_base(store)
    huge = "order late " * 11_000
    request = pb.EmbedRequest(
        model="baseModels/tiny", texts=[huge] * 4, truncation=pb.TRUNCATION_NONE
    )

    refusal = await refused(running.stub.Embed(request))

    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in refusal.status.details)
    descriptions = [violation.description for violation in bad.field_violations]
    assert [text.startswith("has 22002 tokens") for text in descriptions] == [1, 1, 0, 0]
    assert all(text.startswith("has more than") for text in descriptions[2:])


async def test_texts_of_which_cleaning_leaves_nothing_are_named(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_model(store, "default", "tone", cleaning=Cleaning(strip_html=True))
    request = pb.EmbedRequest(
        model="models/tone",
        texts=["<br>", "great", "<p>&nbsp;</p>", LONG],
        truncation=pb.TRUNCATION_NONE,
    )

    refusal = await refused(running.stub.Embed(request))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == ["texts[0]", "texts[2]", "texts[3]"]
    assert "is empty once it is cleaned" in refusal.message


async def test_a_model_that_cleans_in_an_unknown_way_is_not_served(
    running: Running, store: ObjectStore
) -> None:
    unknown = Cleaning(emails=9)  # type: ignore[arg-type]  # what a newer trainer may write
    publish_tiny_model(store, "default", "tone", cleaning=unknown)

    refusal = await refused(running.stub.Embed(pb.EmbedRequest(model="models/tone", texts=["x"])))

    assert refusal.code is grpc.StatusCode.DATA_LOSS
    assert "Update the inference service" in refusal.message


async def test_everything_wrong_with_a_request_is_told_at_once(running: Running) -> None:
    request = pb.ClassifyRequest(
        model="tone",
        texts=["fine", "", "x" * (128 * 1024 + 1)],
        truncation=77,  # type: ignore[arg-type] # what a newer client may send
        top_k=-2,
    )

    refusal = await refused(running.stub.Classify(request))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == ["model", "texts[1]", "texts[2]", "truncation", "top_k"]
    assert "models/tone" in refusal.message


async def test_ten_thousand_texts_are_refused(running: Running) -> None:
    request = pb.EmbedRequest(model="models/tone", texts=["great"] * 10_000)

    refusal = await refused(running.stub.Embed(request))

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "LIMIT_EXCEEDED",
    )
    assert "takes 512" in refusal.message


async def test_an_answer_over_four_mebibytes_is_refused_before_it_is_computed(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_model(store, "default", "wide", labels=[f"label {n:04}" for n in range(1000)])
    request = pb.ClassifyRequest(model="models/wide", texts=["great"] * 512)

    refusal = await refused(running.stub.Classify(request))

    assert refusal.reason == "LIMIT_EXCEEDED"
    assert "at most" in refusal.message
    request.top_k = 100
    assert len((await running.stub.Classify(request)).results) == 512


async def test_an_unknown_model_is_not_found(running: Running) -> None:
    refusal = await refused(
        running.stub.Embed(pb.EmbedRequest(model="models/none", texts=["great"]))
    )

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert "isogloss models list" in refusal.message


async def test_a_model_that_trains_is_not_ready(running: Running, store: ObjectStore) -> None:
    store.put(layout.model_pending("default", "tone"), b"{}")

    refusal = await refused(
        running.stub.Classify(pb.ClassifyRequest(model="models/tone", texts=["great"]))
    )

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "MODEL_NOT_READY",
    )
    assert "isogloss models show models/tone" in refusal.message


async def test_a_base_does_not_classify(running: Running, store: ObjectStore) -> None:
    publish_tiny_base(store)

    refusal = await refused(
        running.stub.Classify(pb.ClassifyRequest(model="baseModels/tiny", texts=["great"]))
    )

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "MODEL_HAS_NO_HEAD",
    )


async def test_a_precision_that_is_not_there_is_refused(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_base(store)

    refusal = await refused(
        running.stub.Embed(
            pb.EmbedRequest(
                model="baseModels/tiny",
                texts=["great"],
                precision=precision_pb2.PRECISION_QUANTIZED,
            )
        )
    )

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "PRECISION_UNAVAILABLE",
    )


async def test_a_damaged_file_is_data_loss(running: Running, store: ObjectStore) -> None:
    graph = publish_tiny_base(store).variants[0].graph
    whole = b"".join(store.get(graph.key))
    store.put(graph.key, whole[:-1] + b"\xff")

    refusal = await refused(
        running.stub.Embed(pb.EmbedRequest(model="baseModels/tiny", texts=["great"]))
    )

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.DATA_LOSS, "ARTIFACT_CORRUPT")


async def test_tenants_see_their_own_models_only(tmp_path: Path, store: ObjectStore) -> None:
    publish_tiny_model(store, "acme", "tone")
    publish_tiny_base(store)
    keys = tmp_path / "keys.toml"
    keys.write_text(
        "\n".join(
            f'[[keys]]\nsha256 = "{hashlib.sha256(tenant.encode()).hexdigest()}"\n'
            f'tenant = "{tenant}"\nrole = "read"\nname = "{tenant}"'
            for tenant in ("acme", "rival")
        )
    )
    request = pb.EmbedRequest(model="models/tone", texts=["great"])
    base_request = pb.EmbedRequest(model="baseModels/tiny", texts=["great"])

    async with serving(tmp_path, api_keys_file=keys) as running:
        acme = (("authorization", "Bearer acme"),)
        rival = (("authorization", "Bearer rival"),)
        assert len((await running.stub.Embed(request, metadata=acme)).results) == 1
        refusal = await refused(running.stub.Embed(request, metadata=rival))
        assert refusal.code is grpc.StatusCode.NOT_FOUND
        assert len((await running.stub.Embed(base_request, metadata=rival)).results) == 1
        refusal = await refused(running.stub.Embed(request))
        assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
