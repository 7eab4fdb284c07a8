"""How fast a model is in a layout. Chooses nothing."""

from __future__ import annotations

import itertools
import random
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from services.inference.engine import Output
from services.inference.model import Model
from services.inference.tokenization import Truncation

_WORDS = ("the", "order", "was", "late", "again", "and", "nobody", "at", "support", "would", "say")
# What a text says changes nothing of its price.

SHORT = (5, 30)
MIXED = (5, 400)
_TEXTS = 256
_ALONE_TOKENS = 16
_ALONE_RUNS = 50
_BATCHES = (1, 8, 32)
_BATCH_TOKENS = (16, 128)
_BATCH_SECONDS = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPrice:
    """What a text costs beside others of its length."""

    tokens: int
    texts: int
    milliseconds: float
    """For each text."""


def texts_per_second(
    model: Model, lengths: tuple[int, int], *, workers: int, seconds: float
) -> float:
    """Read and compute texts one by one with all workers, and return how many a second.

    Args:
        model: Opened in the layout that is measured.
        lengths: Tokens of the shortest and the longest text; all lengths as often.
        workers: Texts at the same time.
        seconds: How long.
    """
    chance = random.Random(7)  # noqa: S311 (the same texts for every layout)
    texts = itertools.cycle([_text(chance.randint(*lengths)) for _ in range(_TEXTS)])
    counts = [0] * workers
    end = time.monotonic() + seconds

    def work(worker: int) -> None:
        # One at least, or a node that is slow or busy for a moment would seem to do nothing.
        while not counts[worker] or time.monotonic() < end:
            read = model.reader.read(next(texts), Truncation.END)
            model.engine.run([read.ids], (Output.EMBEDDING,))
            counts[worker] += 1

    threads = [threading.Thread(target=work, args=[worker]) for worker in range(workers)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - begun)


def milliseconds_alone(model: Model) -> float:
    """Return the median of one text at a time."""
    ids = _ids(model, _ALONE_TOKENS)
    return 1e3 * statistics.median(_seconds(model, [ids]) for _ in range(_ALONE_RUNS))


def batch_prices(model: Model) -> list[BatchPrice]:
    """Return what texts cost alone and beside others, one batch at a time."""
    prices = []
    for tokens, texts in itertools.product(_BATCH_TOKENS, _BATCHES):
        batch = [_ids(model, tokens)] * texts
        end = time.monotonic() + _BATCH_SECONDS
        runs = [_seconds(model, batch)]
        while time.monotonic() < end:
            runs.append(_seconds(model, batch))
        price = 1e3 * statistics.median(runs) / texts
        prices.append(BatchPrice(tokens=tokens, texts=texts, milliseconds=price))
    return prices


def _seconds(model: Model, batch: Sequence[Sequence[int]]) -> float:
    begun = time.perf_counter()
    model.engine.run(batch, (Output.EMBEDDING,))
    return time.perf_counter() - begun


def _ids(model: Model, tokens: int) -> list[int]:
    ids = model.reader.read(_text(tokens), Truncation.END).ids
    return (ids * tokens)[:tokens]


def _text(tokens: int) -> str:
    # Two of them are put around it; each of these words is one token of most vocabularies.
    return " ".join(itertools.islice(itertools.cycle(_WORDS), max(1, tokens - 2)))
