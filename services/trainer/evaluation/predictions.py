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

_MOST_ROWS = 2_000_000
_MOST_BYTES = 512 * 1024 * 1024
_MOST_BATCH_BYTES = 64 * 1024 * 1024
_BATCH_ROWS = 8192
# A row takes some 100 bytes once it is unpacked. A file may come from a stranger: one of some
# kilobytes can hold a label of a megabyte in each of a million rows.

_COLUMNS = ("digest", "occurrence", "labels", "predicted")
"""What models are compared by."""


class Unreadable(ValueError):
    """The file is not as `write` writes it, or too large; the message says why, as a clause."""


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
    """Read what `write` wrote; of anything else, no more than a bounded part.

    Raises:
        Unreadable: Where it is something else, or has more rows than are compared.
    """
    from pyarrow import lib, parquet  # noqa: PLC0415

    keys: list[bytes] = []
    labels: list[tuple[str, ...]] = []
    predicted: list[tuple[str, ...]] = []
    # Rows share what they were given: a model has few labels, and there are many rows.
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}
    size = 0
    try:
        file = parquet.ParquetFile(BytesIO(content))
        if missing := set(_COLUMNS) - set(file.schema_arrow.names):
            raise Unreadable(f"have no column {min(missing)!r}")
        for batch in file.iter_batches(_BATCH_ROWS, columns=list(_COLUMNS)):
            size += batch.nbytes
            _check_size(batch.nbytes, size, len(keys) + batch.num_rows)
            digests, occurrences, truth, given = (
                batch.column(name).to_pylist() for name in _COLUMNS
            )
            keys += map(_key, digests, occurrences)
            labels += [shared.setdefault(one, one) for one in map(tuple, truth)]
            predicted += [shared.setdefault(one, one) for one in map(tuple, given)]
    except (lib.ArrowException, TypeError, AttributeError, OverflowError) as error:
        raise Unreadable(f"cannot be read ({type(error).__name__})") from error
    return Predictions(keys=tuple(keys), labels=tuple(labels), predicted=tuple(predicted))


def _check_size(batch_bytes: int, all_bytes: int, rows: int) -> None:
    if rows > _MOST_ROWS:
        raise Unreadable(f"have more than {_MOST_ROWS} rows")
    if batch_bytes > _MOST_BATCH_BYTES or all_bytes > _MOST_BYTES:
        raise Unreadable("have rows that are too large")


def _key(digest: bytes, occurrence: int) -> bytes:
    return digest + occurrence.to_bytes(4, "big")


def _named(decided: sparse.csr_array, labels: Sequence[str]) -> list[list[str]]:
    ends = decided.indptr
    names = [labels[label] for label in decided.indices]
    return [sorted(names[ends[row] : ends[row + 1]]) for row in range(decided.shape[0])]
