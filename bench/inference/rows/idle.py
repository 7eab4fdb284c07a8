"""What a call costs beyond computing, on a machine that does nothing else."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc

from bench.echo import METHOD
from bench.inference.figures import Figure, at_most
from bench.inference.peers import MODEL as PEER_MODEL
from bench.inference.place import MODEL, Place
from bench.inference.processes import module
from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1.inference_service_pb2_grpc import InferenceServiceStub

if TYPE_CHECKING:
    from grpc.aio import UnaryUnaryMultiCallable

# 16 tokens of all-MiniLM-L6-v2, special tokens included; checked below.
TEXT = "My order was late again, and nobody answered when I called support."
TOKENS = 16

_TURNS = 400
_PEER_CALLS = 100
_TIMEOUT = 60.0

Call = Callable[[], Awaitable[float]]


def overhead(place: Place) -> Iterator[Figure]:
    """One text, one call at a time, beside the same work in process and an empty call.

    The turns change with every call, so that each way finds the processor's caches as the others
    left them: in rows of its own the bare graph finds its weights there, which no server that
    waits for calls does.
    """
    with _echo() as port:
        seconds = asyncio.run(_turns(place, port, max(20, int(place.scaled(_TURNS)))))
    embed, bare, echo = (statistics.median(seconds[way]) for way in ("embed", "bare", "echo"))
    yield at_most(
        "one idle text: what Embed adds, in empty calls",
        (embed - bare) / echo,
        2.0,
        **{"embed ms": 1e3 * embed, "in process ms": 1e3 * bare, "empty call ms": 1e3 * echo},
    )


def against_infinity(place: Place) -> Iterator[Figure]:
    """The median of one text beside infinity-emb's."""
    asked = {
        "url": place.infinity.url,
        "model": PEER_MODEL,
        "texts": str(place.texts("short")),
        "batch": 1,
        "concurrency": 1,
        "warm": 5,
        "count": max(10, place.scaled(_PEER_CALLS)),
    }
    theirs = statistics.median(place.http_generator.ask(asked)["calls"])
    ours = statistics.median(asyncio.run(_short(place)))
    yield at_most(
        "one idle text: median, of infinity-emb's",
        ours / theirs,
        0.5,
        **{"ours ms": 1e3 * ours, "infinity ms": 1e3 * theirs},
    )


async def _short(place: Place) -> list[float]:
    """Return the seconds of single short texts, as they come in the mix."""
    texts = place.read("short")
    async with grpc.aio.insecure_channel(place.server.address) as channel:
        stub = InferenceServiceStub(channel)
        seconds = []
        for text in [*texts[:5], *texts[: max(10, int(place.scaled(_PEER_CALLS)))]]:
            began = time.perf_counter()
            await stub.Embed(pb.EmbedRequest(model=MODEL, texts=[text]), timeout=_TIMEOUT)
            seconds.append(time.perf_counter() - began)
    return seconds[5:]


async def _turns(place: Place, echo_port: int, count: int) -> Mapping[str, list[float]]:
    async with (
        grpc.aio.insecure_channel(place.server.address) as channel,
        grpc.aio.insecure_channel(f"127.0.0.1:{echo_port}") as echo_channel,
    ):
        stub = InferenceServiceStub(channel)
        request = pb.EmbedRequest(model=MODEL, texts=[TEXT])
        response = await stub.Embed(request, timeout=_TIMEOUT)
        if (found := response.results[0].usage.token_count) != TOKENS:
            raise AssertionError(f"the text has {found} tokens")
        empty: UnaryUnaryMultiCallable[bytes, bytes] = echo_channel.unary_unary(METHOD)
        bare = {"form": "apart", "text": TEXT, "count": 1}

        async def alone() -> float:
            seconds: list[float] = place.bare.ask(bare)["seconds"]
            return seconds[0]

        ways: Mapping[str, Call] = {
            "echo": lambda: _timed(lambda: empty(b"")),
            "bare": alone,
            "embed": lambda: _timed(lambda: stub.Embed(request, timeout=_TIMEOUT)),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(-10, count):
            for way, call in ways.items():
                one = await call()
                if turn >= 0:
                    seconds[way].append(one)
    return seconds


async def _timed(call: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await call()
    return time.perf_counter() - began


@contextmanager
def _echo() -> Iterator[int]:
    """Run the emptiest server; yield its port."""
    process = subprocess.Popen(module("bench.echo"), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None  # noqa: S101 (a pipe by construction)
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.communicate()
