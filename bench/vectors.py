"""What each type of vector keeps: `python -m bench.vectors --data DIR [--json] [ID=DIRECTORY ...]`.

Rows of a labelled set are embedded with `small`, or with the directory of another base. Of 400 of
them the ten nearest among 3,000 others are looked for, once by the embeddings and once by vectors
of each type; what counts is the share that is found again. Binary vectors are compared by Hamming
distance, all others by their cosine.

Beside INT8 as it is served, with one range for all numbers of a model, stands what other libraries
do: a range for each number, from the smallest to the largest that was seen. Those are compared as
they are, as a database would, and turned back into embeddings first.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from bench.labelled_sets import read, small_base
from services.inference.engine import FloatArray
from services.inference.vectors import Numbers, VectorForm, VectorType
from services.trainer.base_import import read_base
from services.trainer.encoder import embed, load_encoder
from services.trainer.tokenize import Tokenizer

_ROWS = 3000
_QUERIES = 400
_RANGED = 64
# On how many texts a range is measured: as many as prove an exported graph.

_NEAREST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One type of vector."""

    name: str
    bytes: int
    """Of a vector."""

    recall: float
    """Share of the ten nearest that are found again, 0 to 1."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled sets")
    parser.add_argument("--set", default="banking77", help="name of one")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("bases", nargs="*", metavar="ID=DIRECTORY")
    options = parser.parse_args(arguments)
    bases = {"small": small_base()}
    bases |= {name: Path(path) for name, _, path in (pair.partition("=") for pair in options.bases)}
    torch.set_num_threads(1)
    texts = [text for text, _ in read(options.data / options.set / "train.csv")]
    drawn = np.random.default_rng(0).permutation(len(texts))[: _ROWS + _QUERIES]
    for name, directory in bases.items():
        vectors = _embedded(directory, [texts[row] for row in drawn])
        for kept in measure(vectors[:_QUERIES], vectors[_QUERIES:]):
            if options.json:
                sys.stdout.write(json.dumps({"base": name, **asdict(kept)}) + "\n")
            else:
                print(f"{name:14} {kept.name:44} {kept.bytes:5} bytes   {kept.recall:.3f}")
            sys.stdout.flush()


def measure(queries: FloatArray, rows: FloatArray) -> Iterator[Kept]:
    """Yield what each type keeps, for unit vectors [N, D]."""
    nearest = _nearest(queries, rows)

    def kept(name: str, size: int, left: Numbers, right: Numbers) -> Kept:
        found = _nearest(_unit(left), _unit(right))
        return Kept(name=name, bytes=size, recall=float(np.mean(_shared(nearest, found))))

    dimension = rows.shape[1]
    reach = float(np.abs(rows[:_RANGED]).max())
    for kind in VectorType:
        form = VectorForm(vector_type=kind, dimension=dimension, normalize=False, step=reach / 127)
        left, right = (_compared(form.encode(part), kind) for part in (queries, rows))
        yield kept(kind.name, form.packed_bytes, left, right)
    low, high = rows.min(axis=0), rows.max(axis=0)
    step = np.where(high > low, (high - low) / 255, 1.0)
    codes = [np.clip(np.rint((part - low) / step), 0, 255) for part in (queries, rows)]
    yield kept("INT8, a range for each number", dimension, *(part - 128 for part in codes))
    back = [part * step + low for part in codes]
    yield kept("INT8, a range for each number, turned back", dimension, *back)


def _compared(numbers: Numbers, kind: VectorType) -> Numbers:
    """Return what is compared by cosine: of bits signs, whose cosine orders as Hamming does."""
    if kind is VectorType.UINT8:
        return numbers.astype(np.int16) - 128
    if kind is VectorType.BINARY:
        numbers = (numbers.astype(np.int16) + 128).astype(np.uint8)
    if kind in {VectorType.BINARY, VectorType.UBINARY}:
        return np.unpackbits(numbers, axis=1).astype(np.int8) * 2 - 1
    return numbers


def _embedded(directory: Path, texts: Sequence[str]) -> FloatArray:
    base = read_base(directory)
    return embed(load_encoder(base), Tokenizer.load(base).encode(texts), base.pad_token_id)


def _unit(rows: Numbers) -> FloatArray:
    wide = rows.astype(np.float32)
    unit: FloatArray = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return unit


def _nearest(queries: FloatArray, rows: FloatArray) -> Numbers:
    return np.argsort(-(queries @ rows.T), axis=1, kind="stable")[:, :_NEAREST]


def _shared(left: Numbers, right: Numbers) -> list[float]:
    return [
        len(set(a) & set(b)) / _NEAREST for a, b in zip(left.tolist(), right.tolist(), strict=True)
    ]


if __name__ == "__main__":
    main()
