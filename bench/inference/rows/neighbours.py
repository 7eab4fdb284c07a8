"""The same text beside any others, on any replica."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
from numpy.typing import NDArray

from bench.inference.figures import Figure, at_least
from bench.inference.place import Place
from bench.inference.processes import Server, serving
from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1.inference_service_pb2_grpc import InferenceServiceStub
from isogloss.v1.precision_pb2 import PRECISION_EXACT, PRECISION_QUANTIZED, Precision

_PROBES = 24
"""Of each mix."""

_CALLS = 16
_BATCH = 12
_AT_ONCE = 4
_TIMEOUT = 120.0


def invariance(place: Place) -> Iterator[Figure]:
    """Each text alone, and in calls of random others while further calls run."""
    found = place.trained
    precisions = [PRECISION_EXACT, *([PRECISION_QUANTIZED] if found.quantized else [])]
    count = int(place.scaled(_PROBES)) + 1
    probes = place.read("mixed")[:count] + place.read("short")[:count]
    calls = int(place.scaled(_CALLS)) + 1
    # Another replica: one run at a time of two threads, so that sums are formed otherwise.
    with serving(place.directory, workers=1, threads_per_run=2) as other:
        for precision in precisions:
            alone = np.concatenate(
                [_embed(place.server, found.model, precision, [text]) for text in probes]
            )
            least = min(
                _least(server, found.model, precision, probes, alone, calls=calls)
                for server in (place.server, other)
            )
            yield at_least(
                f"the same text beside any, on any replica, {Precision.Name(precision)}: cosine",
                least,
                0.99999,
                **{"1 - cosine": 1 - least, "texts": len(probes)},
            )


def _least(
    server: Server,
    model: str,
    precision: Precision.ValueType,
    probes: Sequence[str],
    alone: NDArray[np.float32],
    *,
    calls: int,
) -> float:
    """Return the least cosine of a text's vector among others with its vector alone."""
    random = np.random.default_rng(7)
    drawn = [random.integers(0, len(probes), _BATCH) for _ in range(calls)]

    def beside(rows: NDArray[np.int64]) -> float:
        vectors = _embed(server, model, precision, [probes[row] for row in rows])
        return float((vectors * alone[rows]).sum(axis=1).min())

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return min(pool.map(beside, drawn))


def _embed(
    server: Server, model: str, precision: Precision.ValueType, texts: Sequence[str]
) -> NDArray[np.float32]:
    """Return vectors of length 1."""
    request = pb.EmbedRequest(model=model, texts=texts, precision=precision)
    with grpc.insecure_channel(server.address) as channel:
        response = InferenceServiceStub(channel).Embed(request, timeout=_TIMEOUT)
    packed = b"".join(result.vector.packed for result in response.results)
    vectors = np.frombuffer(packed, "<f4").reshape(len(texts), -1)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
