"""Whether a server's memory stays what it is."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from bench.inference.figures import Figure, at_most
from bench.inference.loads import Lane, Load
from bench.inference.place import BASE, MAX_TOKENS, MODEL, Place
from bench.inference.processes import Server, serving
from bench.inference.rows.idle import TEXT
from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1.inference_service_pb2_grpc import InferenceServiceStub
from services.common import layout
from tests.tiny_base import write_tiny_base

_TINY = "tiny-512"
_FIRST_TEXTS = 10_000
_TEXTS = 100_000
_SOAK_TEXTS = {f"baseModels/{_TINY}": 1_000_000, MODEL: 20_000}
_BATCH = 128
_LOADS = 100
_ROOM = 230_000_000
"""For two models of 103 MB, so that every load but the first two drops another."""

_TIMEOUT = 120.0


def texts(place: Place) -> Iterator[Figure]:
    """After many texts of all lengths, beside after some."""
    if place.store.stat(layout.base_model_manifest(_TINY)) is None:
        folder = write_tiny_base(place.directory / _TINY, max_tokens=MAX_TOKENS)
        place.publish(_TINY, folder)
    some = int(place.scaled(_FIRST_TEXTS))
    soak = _SOAK_TEXTS if place.options.soak else {f"baseModels/{_TINY}": _TEXTS}
    for model, many in soak.items():
        with serving(place.directory) as server:
            _send(place, server, model, some)
            before = server.memory()
            _send(place, server, model, int(place.scaled(many)) - some)
            after = server.memory()
        yield at_most(
            f"memory after {int(place.scaled(many)):,} mixed texts, {model}: of after {some:,}",
            after / before,
            1.05,
            MB=after / 1e6,
            before=before / 1e6,
        )


def loads(place: Place) -> Iterator[Figure]:
    """After many loads and evictions, beside after the first ones."""
    names = place.copies(BASE, 4)
    count = max(8, int(place.scaled(_LOADS)))
    with serving(place.directory, model_memory_bytes=_ROOM) as server:
        _load(server, names)
        before = server.memory()
        _load(server, [names[number % len(names)] for number in range(count)])
        after = server.memory()
    yield at_most(
        f"memory after {count} loads and evictions: of after the first {len(names)}",
        after / before,
        1.10,
        MB=after / 1e6,
        before=before / 1e6,
    )


def _send(place: Place, server: Server, model: str, count: int) -> None:
    lane = Lane(texts=str(place.texts("mixed")), model=model, batch=_BATCH, concurrency=2)
    place.send(Load(address=server.address, lanes={"all": lane}, count_texts=count))


def _load(server: Server, names: list[str]) -> None:
    """Call models in turn: where few fit, each call loads."""
    with grpc.insecure_channel(server.address) as channel:
        stub = InferenceServiceStub(channel)
        for name in names:
            stub.Embed(pb.EmbedRequest(model=name, texts=[TEXT]), timeout=_TIMEOUT)
