"""What is told of texts beside what their labels were learnt from. Pure numbers and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from services.inference.engine import FloatArray
from services.inference.limits import OUT_OF_SCOPE_BYTES
from services.inference.neighbours.rows import Rows

MAX_EXPLAIN = 20
"""Neighbours of one text, at most."""

TEXT_CHARACTERS = 500
"""What is told of a neighbour's text; the trainer keeps as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourWish:
    """What a caller wants to know beside labels, whatever the model."""

    explain: int = 0
    """How many neighbours of each text, 0 to `MAX_EXPLAIN`."""

    out_of_scope: bool = False
    """Whether to tell how far each text is from what was learnt."""

    @property
    def fields(self) -> tuple[str, ...]:
        """What was asked for, as a request calls it; empty where nothing was."""
        given = {"explain": self.explain > 0, "out_of_scope": self.out_of_scope}
        return tuple(name for name, present in given.items() if present)


class Neighbour(NamedTuple):
    """A text that labels were learnt from."""

    row: int
    """Its place among them."""

    labels: tuple[str, ...]
    text: str
    """Empty where it is not known."""

    similarity: float
    """Cosine, -1 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfScope:
    """How far a text is from what was learnt."""

    score: float
    """Share of held-out texts that are nearer, 0 to 1."""

    similarity: float
    """The cosine that it is made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is told of one text."""

    neighbours: Sequence[Neighbour]
    out_of_scope: OutOfScope | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scope:
    """How near texts of the model's own kind are."""

    nearest: int
    """The cosine to the so many-th nearest row counts, from 1."""

    held_out_cosines: Sequence[float]
    """Of held-out texts, ascending, in equal steps from the smallest to the largest."""

    def scores(self, cosines: FloatArray) -> FloatArray:
        """Return the share of held-out texts that are nearer than each of these."""
        shares = np.linspace(0.0, 1.0, len(self.held_out_cosines))
        # Of equal cosines the last counts: who is equally near is not nearer.
        farther = np.interp(cosines, self.held_out_cosines, shares)
        scores: FloatArray = (1.0 - farther).astype(np.float32)
        return scores


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explainer:
    """Explains the texts of one call."""

    rows: Rows
    row_bytes: int
    """What the largest of them takes in an answer, at most."""

    texts: Mapping[int, str]
    """Of rows, by their place; those that are known."""

    explain: int
    """How many neighbours to tell of."""

    scope: Scope | None = None
    """None where nobody asks whether texts are out of it."""

    dataset: str = ""
    """What the rows come from; empty for examples of a call."""

    seconds: float | None = None
    """How long the caller waited for the rows; None where they were in memory."""

    @property
    def text_bytes(self) -> int:
        """What is told of one text takes in an answer, at most."""
        return self._told * self.row_bytes + OUT_OF_SCOPE_BYTES

    def explanations(self, embeddings: FloatArray) -> list[Explanation]:
        """Return what is told of each text.

        Args:
            embeddings: Of shape (texts, dimension), of length 1.
        """
        told, counted = self._told, 0 if self.scope is None else self.scope.nearest
        rows, cosines = self.rows.nearest(embeddings, max(told, counted))
        outside = self._outside(cosines)
        return [
            Explanation(neighbours=list(map(self._neighbour, near, similar)), out_of_scope=far)
            for near, similar, far in zip(
                rows[:, :told].tolist(), cosines[:, :told].tolist(), outside, strict=True
            )
        ]

    @property
    def _told(self) -> int:
        return min(self.explain, len(self.rows.places))

    def _outside(self, cosines: FloatArray) -> Sequence[OutOfScope | None]:
        if self.scope is None:
            return [None] * len(cosines)
        counted = cosines[:, self.scope.nearest - 1]
        scores = self.scope.scores(counted)
        return [
            OutOfScope(score=score, similarity=similarity)
            for score, similarity in zip(scores.tolist(), counted.tolist(), strict=True)
        ]

    def _neighbour(self, row: int, similarity: float) -> Neighbour:
        place = self.rows.places[row]
        return Neighbour(
            row=place,
            labels=self.rows.labels[row],
            text=self.texts.get(place, ""),
            similarity=similarity,
        )
