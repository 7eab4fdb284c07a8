"""The load generator for servers that speak OpenAI's embeddings, in the peers' environment.

`python peer_http.py` answers lines of JSON. Imports nothing of this project.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx  # type: ignore[import-not-found]


async def generate(asked: dict[str, Any]) -> dict[str, Any]:
    """Send calls until `count` texts were answered after `warm`; tell how long that took."""
    bodies = cycle(list(_bodies(asked)))
    marks: dict[str, float] = {}
    seconds: list[float] = []
    answered = total = 0

    async def call(client: httpx.AsyncClient) -> None:
        nonlocal answered, total
        while "end" not in marks:
            began = time.perf_counter()
            response = await client.post(asked["url"], content=next(bodies), headers=_JSON)
            ended = time.perf_counter()
            response.raise_for_status()
            answered += asked["batch"]
            total += asked["batch"]
            if "start" in marks:
                seconds.append(ended - began)
            elif answered >= asked["warm"]:
                marks["start"] = ended
                answered = 0
            if "start" in marks and answered >= asked["count"]:
                marks.setdefault("end", ended)
                marks.setdefault("texts", answered)

    limits = httpx.Limits(max_connections=asked["concurrency"])
    async with (
        httpx.AsyncClient(limits=limits, timeout=60.0) as client,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(asked["concurrency"]):
            group.create_task(call(client))
    return {
        "texts": int(marks["texts"]),
        "all_texts": total,
        "seconds": marks["end"] - marks["start"],
        "calls": seconds,
    }


def _bodies(asked: dict[str, Any]) -> Iterator[str]:
    """Yield each request once."""
    texts = json.loads(Path(asked["texts"]).read_text(encoding="utf-8"))
    endless = cycle(texts)
    for _ in range(max(1, len(texts) // asked["batch"])):
        part = list(islice(endless, asked["batch"]))
        yield json.dumps({"model": asked["model"], "input": part})


_JSON = {"content-type": "application/json"}


def main() -> None:
    """Answer each line with one."""
    print("{}", flush=True)
    for line in sys.stdin:
        print(json.dumps(asyncio.run(generate(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
