"""The load generator, a process of its own: `python -m bench.inference.load`.

Requests are written ahead and answers are not parsed, so that little of the machine goes to
asking.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from bench.inference.loads import Call, Lane, Load, Outcome
from bench.inference.processes import cpu_seconds
from isogloss.connection import CHANNEL_OPTIONS
from isogloss.v1 import inference_service_pb2 as pb

if TYPE_CHECKING:
    from grpc.aio import Channel, UnaryUnaryMultiCallable

_METHOD = "/isogloss.v1.InferenceService/Embed"
_READY_SECONDS = 30.0
_MOST_OPEN = 4000
# Calls of an open lane that may be under way: a server that is so far behind has lost anyway.

_SAID = 200
_LOOK_SECONDS = 0.1
_SAMPLE_SECONDS = 0.02


class Caller:
    """One lane while it calls."""

    def __init__(self, lane: Lane, channel: Channel) -> None:
        """Write its requests."""
        self._lane = lane
        self._requests = cycle(list(_requests(lane)))
        self._call: UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)
        self._stopping = False
        self._answered = asyncio.Condition()
        self.texts = 0
        self.calls: list[Call] = []
        """`began` as the clock had it."""

    async def run(self) -> None:
        """Call until stopped, and wait for what is under way."""
        async with asyncio.TaskGroup() as group:
            if self._lane.rate:
                await self._open(group)
            else:
                for _ in range(self._lane.concurrency):
                    group.create_task(self._closed())

    def stop(self) -> None:
        """Begin no further call."""
        self._stopping = True

    async def until(self, texts: int) -> None:
        """Wait until so many texts have been answered."""
        async with self._answered:
            await self._answered.wait_for(lambda: self.texts >= texts)

    async def _closed(self) -> None:
        while not self._stopping:
            await self._once()

    async def _open(self, group: asyncio.TaskGroup) -> None:
        moments = random.Random(7)  # noqa: S311 (a benchmark, no secret)
        under_way: set[asyncio.Task[None]] = set()
        due = time.perf_counter()
        while not self._stopping:
            due += moments.expovariate(self._lane.rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if len(under_way) < _MOST_OPEN:
                task = group.create_task(self._once())
                under_way.add(task)
                task.add_done_callback(under_way.discard)

    async def _once(self) -> None:
        request, texts = next(self._requests)
        code, said = "OK", ""
        began = time.perf_counter()
        try:
            await self._call(request, timeout=self._lane.timeout)
        except grpc.aio.AioRpcError as error:
            code, said = error.code().name, (error.details() or "")[:_SAID]
        seconds = time.perf_counter() - began
        self.calls.append(Call(began=began, seconds=seconds, code=code, texts=texts, said=said))
        if code == "OK":
            async with self._answered:
                self.texts += texts
                self._answered.notify_all()
        elif not self._lane.rate:
            # A refused caller of a closed lane comes again, but not at once.
            await asyncio.sleep(0.01)


async def generate(load: Load) -> Outcome:
    """Send a load and tell what came of it."""
    async with grpc.aio.insecure_channel(load.address, options=_options(load)) as channel:
        await asyncio.wait_for(channel.channel_ready(), _READY_SECONDS)
        callers = {name: Caller(lane, channel) for name, lane in load.lanes.items()}
        first = next(iter(callers.values()))
        async with _calling(callers.values()), _sampling() as lateness:
            await asyncio.sleep(load.warm_seconds)
            await first.until(load.warm_texts)
            start, cpu_before, texts = time.perf_counter(), _cpu(load), first.texts
            await asyncio.sleep(load.seconds)
            if load.count_texts:
                await first.until(texts + load.count_texts)
            while load.until and not Path(load.until).exists():  # noqa: ASYNC110, ASYNC240 (another process makes it)
                await asyncio.sleep(_LOOK_SECONDS)
            end, cpu_after = time.perf_counter(), _cpu(load)
    return Outcome(
        start=start,
        seconds=end - start,
        cpu_seconds=cpu_after - cpu_before,
        lanes={
            name: [replace(call, began=call.began - start) for call in caller.calls]
            for name, caller in callers.items()
        },
        lateness=lateness,
    )


@asynccontextmanager
async def _sampling() -> AsyncIterator[list[float]]:
    """Note how late this process is, while the block runs."""
    lateness: list[float] = []

    async def sample() -> None:
        while True:
            due = time.perf_counter() + _SAMPLE_SECONDS
            await asyncio.sleep(_SAMPLE_SECONDS)
            lateness.append(max(0.0, time.perf_counter() - due))

    sampling = asyncio.create_task(sample())
    try:
        yield lateness
    finally:
        sampling.cancel()


@asynccontextmanager
async def _calling(callers: Iterable[Caller]) -> AsyncIterator[None]:
    """Let all lanes call, and stop them."""
    running = list(callers)
    async with asyncio.TaskGroup() as group:
        for caller in running:
            group.create_task(caller.run())
        try:
            yield
        finally:
            for caller in running:
                caller.stop()


def _requests(lane: Lane) -> Iterator[tuple[bytes, int]]:
    """Yield each request once, and how many texts it has."""
    texts: list[str] = json.loads(Path(lane.texts).read_text(encoding="utf-8"))
    endless = cycle(texts)
    for _ in range(max(1, len(texts) // lane.batch)):
        part = list(islice(endless, lane.batch))
        request = pb.EmbedRequest(model=lane.model, texts=part, **lane.options)
        yield request.SerializeToString(), len(part)


def _options(load: Load) -> list[tuple[str, str | int]]:
    if load.retries:
        return [*CHANNEL_OPTIONS, ("grpc.lb_policy_name", "round_robin")]
    return [("grpc.enable_retries", 0)]


def _cpu(load: Load) -> float:
    return cpu_seconds(load.pid) if load.pid else 0.0


def main() -> None:
    """Answer each line of JSON with one."""
    print("{}", flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        lanes = {name: Lane(**lane) for name, lane in told.pop("lanes").items()}
        outcome = asyncio.run(generate(Load(**told, lanes=lanes)))
        print(json.dumps(asdict(outcome)), flush=True)


if __name__ == "__main__":
    main()
