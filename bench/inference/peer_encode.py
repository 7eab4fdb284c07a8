"""A library that embeds in its own process, in the peers' environment: answers lines of JSON.

`python peer_encode.py sentence-transformers BASE CPUS`, or `fastembed BASE CPUS GRAPH`. Imports
nothing of this project: its packages are not there.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

Encode = Callable[[list[str]], object]


def sentence_transformers(base: str, cpus: str) -> Encode:
    """Embed as its documentation has it: `encode` sorts by length and runs 32 at once."""
    import torch  # noqa: PLC0415 (one library in one process)
    from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found]  # noqa: PLC0415

    torch.set_num_threads(int(cpus))
    model = SentenceTransformer(base, device="cpu")
    return lambda texts: model.encode(texts, show_progress_bar=False)


def fastembed(base: str, cpus: str, graph: str) -> Encode:
    """Embed with our graph, pooling and all: its own comes from a hub."""
    from fastembed import TextEmbedding  # type: ignore[import-not-found]  # noqa: PLC0415
    from fastembed.common.model_description import (  # type: ignore[import-not-found]  # noqa: PLC0415
        ModelSource,
        PoolingType,
    )

    name = "bench"
    TextEmbedding.add_custom_model(
        model=name,
        pooling=PoolingType.DISABLED,
        normalization=False,
        sources=ModelSource(url="none"),
        dim=384,
        model_file=graph,
    )
    model = TextEmbedding(
        model_name=name,
        specific_model_path=base,
        threads=int(cpus),
        providers=["CPUExecutionProvider"],
    )
    return lambda texts: list(model.embed(texts))


LIBRARIES: dict[str, Callable[..., Encode]] = {
    "sentence-transformers": sentence_transformers,
    "fastembed": fastembed,
}


def main() -> None:
    """Answer each line with one."""
    encode = LIBRARIES[sys.argv[1]](*sys.argv[2:])
    encode(["warm"])
    print("{}", flush=True)
    for line in sys.stdin:
        texts = json.loads(Path(json.loads(line)["texts"]).read_text(encoding="utf-8"))
        began, cpu = time.perf_counter(), _cpu()
        encode(texts)
        seconds, used = time.perf_counter() - began, _cpu() - cpu
        print(
            json.dumps({"texts": len(texts), "seconds": seconds, "cpu_seconds": used}), flush=True
        )


def _cpu() -> float:
    times = os.times()
    return times.user + times.system


if __name__ == "__main__":
    main()
