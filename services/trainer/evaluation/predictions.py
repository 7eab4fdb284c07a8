"""What was decided on each row, kept without texts, so that models can be compared later."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from scipy import sparse

from services.trainer.evaluation.scoring import Scored

_DIGEST_BYTES = 16
# Of 100 million different texts, two share a digest with a chance of 1 in 10**22.


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Rows with their labels by name."""

    keys: tuple[bytes, ...]
    """What the text was, and the how-manieth of that text; no two are the same."""

    labels: tuple[tuple[str, ...], ...]
    predicted: tuple[tuple[str, ...], ...]


def write(path: Path, texts: Sequence[str], scored: Scored, labels: Sequence[str]) -> None:
    """Write a Parquet file: digest, occurrence, labels, predicted, confidence.

    Args:
        path: Where to.
        texts: Of the rows; only their digests are written.
        scored: What was decided on them.
        labels: The model's.
    """
    # Imported here, as in `read`: the API process compares models, and rarely.
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    seen: Counter[bytes] = Counter()
    digests, occurrences = [], []
    for text in texts:
        digest = hashlib.sha256(text.encode()).digest()[:_DIGEST_BYTES]
        digests.append(digest)
        occurrences.append(seen[digest])
        seen[digest] += 1
    table = pa.table(
        {
            "digest": pa.array(digests, pa.binary(_DIGEST_BYTES)),
            "occurrence": pa.array(occurrences, pa.int32()),
            "labels": pa.array(_named(scored.decisions.truth, labels), pa.list_(pa.string())),
            "predicted": pa.array(_named(scored.decisions.given, labels), pa.list_(pa.string())),
            "confidence": pa.array(scored.confidences.astype(np.float32)),
        }
    )
    parquet.write_table(table, path, compression="zstd")


def read(content: bytes) -> Predictions:
    """Read what `write` wrote."""
    from pyarrow import parquet  # noqa: PLC0415

    table = parquet.read_table(BytesIO(content))
    occurrences = table.column("occurrence").to_pylist()
    return Predictions(
        keys=tuple(
            digest + occurrence.to_bytes(4, "big")
            for digest, occurrence in zip(
                table.column("digest").to_pylist(), occurrences, strict=True
            )
        ),
        labels=tuple(map(tuple, table.column("labels").to_pylist())),
        predicted=tuple(map(tuple, table.column("predicted").to_pylist())),
    )


def _named(decided: sparse.csr_array, labels: Sequence[str]) -> list[list[str]]:
    ends = decided.indptr
    names = [labels[label] for label in decided.indices]
    return [sorted(names[ends[row] : ends[row + 1]]) for row in range(decided.shape[0])]
