"""The same graph without a server, a process of its own: `python -m bench.inference.bare`.

Texts in, vectors out, as the best program that holds all texts beforehand would do it, and as a
server would that runs one batch at a time, first in first out. Uses ONNX Runtime and tokenizers
alone, none of our code: it is what our code is measured against.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

_PAD = 0  # of all-MiniLM-L6-v2

TEI_BATCH = 8
"""Texts that text-embeddings-inference lets its ONNX Runtime backend run together."""


class Bare:
    """A graph and its tokenizer.

    Args:
        graph: File of the graph.
        tokenizer: Its tokenizer.json.
        workers: Runs at the same time.
        threads: Of one run.
        spinning: Whether ONNX Runtime's threads spin while they wait, as they do by default.
    """

    def __init__(
        self, graph: str, tokenizer: str, *, workers: int, threads: int, spinning: bool = False
    ) -> None:
        """Open the graph."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        if not spinning:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = spinning
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(tokenizer)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._pool = ThreadPoolExecutor(workers)

    def read(self, text: str) -> list[int]:
        """Return the token ids of a text."""
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def run(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return the vectors of a few texts, computed together, from their token ids."""
        longest = max(map(len, rows))
        ids = np.full((len(rows), longest), _PAD, np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        feed = {"input_ids": ids, "attention_mask": mask}
        vectors: NDArray[np.float32] = self._session.run(["sentence_embedding"], feed)[0]
        return vectors

    def whole(self, texts: Sequence[str], batch: int) -> None:
        """Compute all texts as fast as the machine can, those of like length together."""
        if batch == 1:
            self._all(lambda text: self.run([self.read(text)]), texts)
            return
        rows = sorted(self._pool.map(self.read, texts), key=len, reverse=True)
        self._all(self.run, [rows[at : at + batch] for at in range(0, len(rows), batch)])

    def _all(self, work: Callable[[Any], object], parts: Sequence[Any]) -> None:
        for _ in self._pool.map(work, parts):
            pass

    def queued(self, texts: Sequence[str]) -> None:
        """Compute all texts in their order, eight at a time, one batch after another.

        Texts are read ahead by other threads, as text-embeddings-inference does.
        """
        rows: list[list[int]] = []
        for row in self._pool.map(self.read, texts):
            rows.append(row)
            if len(rows) == TEI_BATCH:
                self.run(rows)
                rows = []
        if rows:
            self.run(rows)

    def alone(self, text: str, count: int) -> list[float]:
        """Return the seconds of one text, measured so many times."""
        seconds = []
        for _ in range(count):
            began = time.perf_counter()
            self.run([self.read(text)])
            seconds.append(time.perf_counter() - began)
        return seconds


def main() -> None:
    """Answer each line of JSON with one."""
    graph, tokenizer, cpus = sys.argv[1], sys.argv[2], int(sys.argv[3])
    forms = {
        "apart": partial(Bare, workers=cpus, threads=1),
        "together": partial(Bare, workers=1, threads=cpus),
        "tei": partial(Bare, workers=max(1, cpus - 1), threads=cpus, spinning=True),
    }
    opened = {}
    print("{}", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        form = asked["form"]
        if form not in opened:
            opened[form] = forms[form](graph, tokenizer)
        print(json.dumps(answer(opened[form], asked)), flush=True)


def answer(bare: Bare, asked: dict[str, Any]) -> dict[str, Any]:
    """Do what a line asks for."""
    if "text" in asked:
        return {"seconds": bare.alone(asked["text"], asked["count"])}
    texts = json.loads(Path(asked["texts"]).read_text(encoding="utf-8"))
    work = bare.queued if asked["form"] == "tei" else partial(bare.whole, batch=asked["batch"])
    bare.run([bare.read(texts[0])])
    began, cpu = time.perf_counter(), _cpu()
    work(texts)
    return {
        "texts": len(texts),
        "seconds": time.perf_counter() - began,
        "cpu_seconds": _cpu() - cpu,
    }


def _cpu() -> float:
    times = os.times()
    return times.user + times.system


if __name__ == "__main__":
    main()
