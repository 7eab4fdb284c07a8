"""Makes large labelled files out of small real ones: new rows of old sentences.

A row joins pieces of sentences of one label until it is as long as a message usually is. A small,
fixed share of the rows repeats an earlier one, as it stands or in other letters, so that the
searches for duplicates have something to find.
"""

from __future__ import annotations

import csv
import random
from pathlib import Path

SETS = ("banking77", "snips", "sms_spam", "amazon_cells", "nusax_sentiment")

_LENGTH = 120
"""Characters from which a row is long enough; rows of 165 bytes come of it, 6 million a GB."""

_WORDS = (4, 14)
"""Least and most words of a piece: so many different ones that rows hardly repeat by chance."""

_FEWEST_TEXTS = 20
"""Labels with fewer texts would repeat themselves."""

_DUPLICATES = 0.005
_NEAR_DUPLICATES = 0.005
_BLOCK = 2000


def write_large(file: Path, data: Path, size: int, *, seed: int = 7) -> int:
    """Write at least `size` bytes of rows `text,label`; return how many rows.

    Args:
        file: Where to.
        data: Folder of labelled sets, each with a `train.csv`.
        size: Bytes.
        seed: The same seed and sets give the same file.

    Raises:
        FileNotFoundError: Where none of the sets is there.
    """
    pools = _pools(data)
    weights = [sum(sum(map(len, words)) for words in texts) for _, texts in pools]
    rng = random.Random(seed)  # noqa: S311  # a benchmark, no secret
    rows = 0
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target)
        while target.tell() < size:
            block = [_row(rng, *pool) for pool in rng.choices(pools, weights, k=_BLOCK)]
            for place in range(1, _BLOCK):
                chance = rng.random()
                if chance < _DUPLICATES + _NEAR_DUPLICATES:
                    text, label = block[place - 1]
                    block[place] = (text if chance < _DUPLICATES else text.upper() + "!", label)
            writer.writerows(block)
            rows += len(block)
    return rows


def _row(rng: random.Random, label: str, texts: list[list[str]]) -> tuple[str, str]:
    text = ""
    while len(text) < _LENGTH:
        words = rng.choice(texts)
        count = rng.randint(*_WORDS)
        first = rng.randrange(max(len(words) - count, 0) + 1)
        text += " ".join(words[first : first + count]) + " "
    return text[:-1], label


def _pools(data: Path) -> list[tuple[str, list[list[str]]]]:
    pools: list[tuple[str, list[list[str]]]] = []
    for name in SETS:
        path = data / name / "train.csv"
        if not path.exists():
            continue
        by_label: dict[str, list[list[str]]] = {}
        with path.open(encoding="utf-8", newline="") as rows:
            for text, label in csv.reader(rows):
                by_label.setdefault(label, []).append(text.split())
        pools += [item for item in by_label.items() if len(item[1]) >= _FEWEST_TEXTS]
    if not pools:
        raise FileNotFoundError(f"{data} holds none of {', '.join(SETS)}")
    return pools
