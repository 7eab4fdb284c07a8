"""What a call of Embed costs beyond computing: `python -m bench.inference [--json]`.

One text of 16 tokens, three ways, in turns, from this process as the load generator: Embed
over loopback, the same tokenizer and graph in this process, and an empty call of the emptiest
gRPC server. Embed less the second, over the third, is what the service makes of gRPC's price.

The turns change with every call, so that each way finds the processor's caches as the others
left them. In rows of its own (`--calls 25`) the second way finds all of its weights there,
which no server that waits for calls does, and Embed is charged for the difference.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from bench.echo import METHOD
from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1.inference_service_pb2_grpc import InferenceServiceStub
from services.common import layout
from services.common.logs import configure_logging
from services.common.names import Collection, ResourceName
from services.common.storage import ObjectStore, open_store
from services.inference.devices import Device
from services.inference.engine import Output
from services.inference.file_cache import FileCache
from services.inference.model import Model, Precision
from services.inference.models import ModelKey, Models
from services.inference.opening import Opener
from services.inference.tokenization import Truncation

if TYPE_CHECKING:
    from grpc.aio import UnaryUnaryMultiCallable

# 16 tokens of the base `small`, special tokens included; checked below.
TEXT = "My order was late again, and nobody answered when I called support."
TOKENS = 16
BASE = ResourceName(collection=Collection.BASE_MODELS, id="small")
TARGET = 3.0

START_SECONDS = 60.0
_WARM_CALLS = 20

Call = Callable[[], Awaitable[object]]


def main() -> None:
    """Measure and print."""
    options = _options()
    configure_logging(level="warning", format="console", service="bench")
    directory = options.data_directory.absolute()
    store = open_store(str(directory / "store"))
    if store.stat(layout.base_model_manifest(BASE.id)) is None:
        _publish(directory)
    port = _free_port()
    with (
        _process("bench.echo") as echo,
        _process(
            "services.inference",
            *("--data-directory", str(directory)),
            *("--address", f"127.0.0.1:{port}", "--device", "cpu"),
            output=subprocess.DEVNULL,
        ),
    ):
        assert echo.stdout is not None  # noqa: S101 (a pipe by construction)
        echo_port = int(echo.stdout.readline())
        model = _open(store, directory)
        samples = asyncio.run(_measure(port, echo_port, model, options.rounds, options.calls))
    _report(samples, as_json=options.json)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m bench.inference")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--data-directory",
        type=Path,
        default=Path("build/bench"),
        help="data directory of the suite; the base `small` is published into it where missing",
    )
    parser.add_argument("--rounds", type=int, default=500, help="turns of the three ways")
    parser.add_argument("--calls", type=int, default=1, help="calls of each way in a turn")
    return parser.parse_args()


async def _measure(
    port: int, echo_port: int, model: Model, rounds: int, calls: int
) -> dict[str, list[list[float]]]:
    """Return seconds of each call, by way and round."""
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        grpc.aio.insecure_channel(f"127.0.0.1:{echo_port}") as echo_channel,
    ):
        await asyncio.wait_for(channel.channel_ready(), START_SECONDS)
        stub = InferenceServiceStub(channel)
        request = pb.EmbedRequest(model=str(BASE), texts=[TEXT])
        response = await stub.Embed(request, timeout=START_SECONDS)
        if response.results[0].usage.token_count != TOKENS:
            raise SystemExit(f"the text has {response.results[0].usage.token_count} tokens")
        echo: UnaryUnaryMultiCallable[bytes, bytes] = echo_channel.unary_unary(METHOD)

        async def in_process() -> object:
            read = model.reader.read(TEXT, Truncation.END)
            return model.engine.run([read.ids], (Output.EMBEDDING,))[0]

        ways: dict[str, Call] = {
            "echo": lambda: echo(b""),
            "in_process": in_process,
            "embed": lambda: stub.Embed(request, timeout=START_SECONDS),
        }
        for call in ways.values():
            await _timed(call, _WARM_CALLS)
        return await _turns(ways, rounds, calls)


async def _turns(ways: dict[str, Call], rounds: int, calls: int) -> dict[str, list[list[float]]]:
    samples: dict[str, list[list[float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, call in ways.items():
            samples[way].append(await _timed(call, calls))
    return samples


async def _timed(call: Call, calls: int) -> list[float]:
    seconds = []
    for _ in range(calls):
        started = time.perf_counter()
        await call()
        seconds.append(time.perf_counter() - started)
    return seconds


def _report(samples: dict[str, list[list[float]]], *, as_json: bool) -> None:
    milliseconds = {
        way: statistics.median(second for turn in turns for second in turn) * 1e3
        for way, turns in samples.items()
    }
    overhead = milliseconds["embed"] - milliseconds["in_process"]
    ratio = overhead / milliseconds["echo"]
    # Each turn by itself as well: on a machine that others use, turns differ, and what lies
    # between their quartiles says how far to trust the figure.
    by_turn = [
        (statistics.median(embed) - statistics.median(bare)) / statistics.median(echo)
        for embed, bare, echo in zip(
            samples["embed"], samples["in_process"], samples["echo"], strict=True
        )
    ]
    quartiles = statistics.quantiles(by_turn, n=4)
    if as_json:
        result: dict[str, object] = {
            f"{way}_ms": round(value, 3) for way, value in milliseconds.items()
        }
        result["overhead_ms"] = round(overhead, 3)
        result["overhead_in_echoes"] = round(ratio, 3)
        result["quartiles"] = [round(quartile, 3) for quartile in quartiles]
        result["target"] = TARGET
        result["load_average"] = os.getloadavg()[0]
        print(json.dumps(result))
        return
    print(f"one text of {TOKENS} tokens, base `{BASE.id}`, loopback, one call at a time")
    print(f"  Embed                          {milliseconds['embed']:8.3f} ms median")
    print(f"  tokenise and run in process    {milliseconds['in_process']:8.3f} ms")
    print(f"  empty call of a bare server    {milliseconds['echo']:8.3f} ms")
    print(f"  what Embed adds                {overhead:8.3f} ms = {ratio:.2f} empty calls")
    print(f"  by turn, quartiles             {', '.join(f'{q:.2f}' for q in quartiles)}")
    print(f"  target                         {TARGET:.1f} empty calls at most")


def _open(store: ObjectStore, directory: Path) -> Model:
    """Open the model as the server does."""
    opener = Opener(
        store=store,
        cache=FileCache(directory / "cache" / "models", max_bytes=10**10),
        device=Device.CPU,
        threads_per_run=1,
    )
    models = Models(store, opener, max_bytes=10**10)
    try:
        return models.request(ModelKey.of("default", BASE, Precision.EXACT)).result()
    finally:
        models.close()


def _publish(directory: Path) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "services.trainer.publish_base"),
            *(BASE.id, f"package:{BASE.id}", "--data-directory", str(directory)),
        ],
        check=True,
        stdout=sys.stderr,
    )


@contextmanager
def _process(
    module: str, *arguments: str, output: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=output, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
