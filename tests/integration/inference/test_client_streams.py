"""The package's client and the service together, on streams."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from isogloss import AsyncClient, Embeddings
from services.common.storage import ObjectStore
from tests.engines import free_ports
from tests.integration.inference.serving import Running, expected_vector, serving, token_ids
from tests.tiny_model import publish_tiny_base

WORDS = ("great", "late", "refund", "order", "my", "box", "help", "money")
EXPECTED = np.stack([expected_vector(token_ids(word)) for word in WORDS])


async def test_a_server_that_is_replaced_loses_no_text(tmp_path: Path, store: ObjectStore) -> None:
    publish_tiny_base(store)
    (port,) = free_ports(1)
    changes = {"address": f"127.0.0.1:{port}", "shutdown_drain": 0.0}
    texts = [WORDS[number % 8] for number in range(20_000)]
    parts: list[Embeddings] = []
    some = asyncio.Event()

    async def embed() -> None:
        async with AsyncClient(inference=f"127.0.0.1:{port}") as client:
            async for part in client.embed_many("baseModels/tiny", texts):
                parts.append(part)
                some.set()

    for last in (False, False, True):
        some.clear()
        async with serving(tmp_path, **changes):
            if not parts:
                embedding = asyncio.create_task(embed())
            await (embedding if last else some.wait())
        if embedding.done():
            break

    await embedding
    found = Embeddings.joined(parts)
    assert found.errors == {}
    np.testing.assert_allclose(found.vectors, EXPECTED[np.arange(len(texts)) % 8], atol=1e-5)


async def test_a_text_that_fails_is_told_by_its_place_among_all(
    running: Running, store: ObjectStore
) -> None:
    publish_tiny_base(store)
    texts = ["great"] * 40
    texts[35] = ""

    async with AsyncClient(inference=running.address) as client:
        parts = [part async for part in client.embed_many("baseModels/tiny", texts)]

    found = Embeddings.joined(parts)
    assert found.errors.keys() == {35}
    assert found.errors[35].message.startswith("texts[35]: is empty")
    assert np.isnan(found.vectors).all(axis=1).tolist() == [number == 35 for number in range(40)]
