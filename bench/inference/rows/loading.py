"""Models that are loaded while another one serves."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

from bench.inference.figures import Figure, at_most
from bench.inference.loads import Call, Lane, Load, Outcome, latency
from bench.inference.place import BASE, MODEL, Place
from bench.inference.processes import Server, serving
from bench.inference.rows.idle import TEXT
from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1.inference_service_pb2_grpc import InferenceServiceStub

_MEMORY = 16 * 1024**3
_RATE = 30.0
_SECONDS = 20.0
_LOADS = 8
_STEADY = 20
_TIMEOUT = 120.0


def hot(place: Place) -> Iterator[Figure]:
    """Single texts at random moments, alone and while others are loaded one after another."""
    names = _names(place)
    lane = Lane(texts=str(place.texts("short")), model=MODEL, rate=_RATE)
    with serving(place.directory, model_memory_bytes=_MEMORY) as server:
        alone = _send(place, server, lane)
        with ThreadPoolExecutor(1) as beside:
            sending = beside.submit(_send, place, server, lane)
            time.sleep(place.seconds(_SECONDS) / 4)
            loads = [load(server, name) for name in names]
            disturbed = sending.result()
    calls = [call for load in loads for call in _overlapping(disturbed, *load)]
    before, during = latency(alone.begun("a"), 0.99), latency(calls, 0.99)
    yield at_most(
        "while other models are loaded: p99, of the p99 before",
        during / before,
        1.2,
        **{
            "p99 ms": 1e3 * during,
            "before ms": 1e3 * before,
            "calls": len(calls),
            "seconds of a load": statistics.median(ended - began for began, ended in loads),
        },
    )


def first(place: Place) -> Iterator[Figure]:
    """The first call that a loaded model answers, beside those after it."""
    ratios, firsts = [], []
    with serving(place.directory, model_memory_bytes=_MEMORY) as server:
        for name in _names(place):
            load(server, name)
            seconds = _embed(server, name, _STEADY + 1)
            firsts.append(seconds[0])
            ratios.append(seconds[0] / statistics.median(seconds[1:]))
    yield at_most(
        "first call after a model is ready, of the median after it",
        statistics.median(ratios),
        1.2,
        **{"first ms": 1e3 * statistics.median(firsts), "worst": max(ratios)},
    )


def _names(place: Place) -> list[str]:
    return place.copies(BASE, max(2, int(place.scaled(_LOADS))))


def _send(place: Place, server: Server, lane: Lane) -> Outcome:
    return place.send(
        Load(
            address=server.address,
            lanes={"a": lane},
            warm_seconds=place.seconds(4.0),
            seconds=place.seconds(_SECONDS),
        )
    )


def load(server: Server, name: str) -> tuple[float, float]:
    """Have a model loaded without having it compute; return when that began and ended."""
    began = time.perf_counter()
    with grpc.insecure_channel(server.address) as channel:
        request = pb.TokenizeRequest(model=name, texts=[TEXT])
        InferenceServiceStub(channel).Tokenize(request, timeout=_TIMEOUT)
    return began, time.perf_counter()


def _embed(server: Server, name: str, count: int) -> list[float]:
    """Return the seconds of calls of one text."""
    seconds = []
    with grpc.insecure_channel(server.address) as channel:
        stub = InferenceServiceStub(channel)
        # So that the first call is not charged for the connection.
        stub.Tokenize(pb.TokenizeRequest(model=name, texts=[TEXT]), timeout=_TIMEOUT)
        for _ in range(count):
            began = time.perf_counter()
            stub.Embed(pb.EmbedRequest(model=name, texts=[TEXT]), timeout=_TIMEOUT)
            seconds.append(time.perf_counter() - began)
    return seconds


def _overlapping(outcome: Outcome, began: float, ended: float) -> list[Call]:
    return [
        call
        for call in outcome.begun("a")
        if call.began < ended - outcome.start and call.ended > began - outcome.start
    ]
