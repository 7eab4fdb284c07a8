"""Writes embeddings to a file: numpy's, CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from isogloss import Embeddings
from isogloss.api.tables import package
from isogloss.cli.document import dumps


def write_vectors(path: Path, texts: Sequence[str], embeddings: Embeddings) -> None:
    """Write one vector a text, in the form that the name's ending tells; see `WRITERS`."""
    WRITERS[path.suffix](path, texts, embeddings)


def _write_array(path: Path, texts: Sequence[str], embeddings: Embeddings) -> None:
    del texts
    # An open file: numpy would put its own ending behind some names.
    with path.open("wb") as file:
        np.save(file, embeddings.vectors, allow_pickle=False)


def _write_csv(path: Path, texts: Sequence[str], embeddings: Embeddings) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        width = embeddings.vectors.shape[1]
        writer.writerow(["text", *(f"x{number}" for number in range(width))])
        for text, vector in zip(texts, embeddings.vectors, strict=True):
            writer.writerow([text, *(str(number) for number in vector)])


def _write_lines(path: Path, texts: Sequence[str], embeddings: Embeddings) -> None:
    rows = zip(texts, embeddings.vectors, embeddings.usage, strict=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for index, (text, vector, usage) in enumerate(rows):
            error = embeddings.errors.get(index)
            row = {"text": text, "vector": None if error else vector, "usage": usage}
            file.write(dumps({**row, "error": error} if error else row, indent=None) + "\n")


def _write_parquet(path: Path, texts: Sequence[str], embeddings: Embeddings) -> None:
    arrow = package("pyarrow", "to write Parquet")
    parquet = package("pyarrow.parquet", "to write Parquet", beside="pyarrow")
    width = embeddings.vectors.shape[1]
    failed = np.zeros(len(texts), bool)
    failed[list(embeddings.errors)] = True
    vectors = arrow.FixedSizeListArray.from_arrays(
        arrow.array(embeddings.vectors.ravel()), width, mask=arrow.array(failed)
    )
    table = arrow.table({"text": arrow.array(texts, arrow.string()), "vector": vectors})
    parquet.write_table(table, path)


WRITERS: Mapping[str, Callable[[Path, Sequence[str], Embeddings], None]] = {
    ".npy": _write_array,
    ".csv": _write_csv,
    ".jsonl": _write_lines,
    ".parquet": _write_parquet,
}
"""By the ending of the name."""
