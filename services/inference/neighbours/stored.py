"""What a manifest says of the rows that a model learnt from. Reads none of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from services.inference.artifact import Artifact

# Bytes in memory for each byte in the store: half floats become whole ones, and the labels of each
# row a tuple.
_VECTORS_GROWTH = 2.25

# JSON of a short text becomes a string, its number, and their place in a dictionary.
_TEXTS_GROWTH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredNeighbours:
    """The rows that a model keeps, in the store."""

    vectors: Artifact
    texts: Artifact | None
    """None where they were left out of a bundle."""

    dataset: str
    """Full resource name of where they come from, as it was called where the model was trained."""

    rows: int
    nearest: int
    """The cosine to the so many-th nearest row, from 1, tells how near a text is."""

    held_out_cosines: tuple[float, ...]
    """That cosine of texts that were held out, ascending, in equal steps from the smallest to the
    largest; empty where none were held out."""

    @property
    def problem(self) -> str | None:
        """What makes it useless, as a clause; None for nothing."""
        if not 1 <= self.nearest <= self.rows:
            return f"counts the nearest number {self.nearest} of {self.rows} rows"
        spread = self.held_out_cosines
        # Not "greater than", which is false of what is no number.
        if len(spread) == 1 or not all(low <= high for low, high in pairwise(spread)):
            return "has cosines of held-out texts that do not ascend"
        return None

    @property
    def memory(self) -> int:
        """Bytes that they take once somebody has asked for them."""
        texts = 0 if self.texts is None else self.texts.size
        return int(self.vectors.size * _VECTORS_GROWTH) + texts * _TEXTS_GROWTH
