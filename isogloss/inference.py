"""What the client tells of embedded and classified texts: plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from isogloss.dataset_report import LabelMode
from isogloss.errors import IsoglossError
from isogloss.models import Precision


class Truncation(StrEnum):
    """Which part of a text is left out where it has more tokens than the model takes."""

    NONE = "none"
    """None: such a text is refused."""

    START = "start"
    END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextUsage:
    """How a text was read."""

    token_count: int
    """Tokens that were computed, special tokens included."""

    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """What computed an answer. Equal digests give equal answers."""

    model: str
    precision: Precision
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embeddings:
    """The vectors of texts, in their order. numpy takes it as the array that it holds."""

    vectors: NDArray[np.float32]
    """Shape (texts, dimension), float32, each row of length 1; NaN where a text failed."""

    usage: tuple[TextUsage, ...]
    errors: Mapping[int, IsoglossError]
    """Why single texts have no vector, by their index; normally empty."""

    served_by: ServedModel

    def __len__(self) -> int:
        """Count the texts."""
        return len(self.vectors)

    def __array__(
        self, dtype: DTypeLike | None = None, *, copy: bool | None = None
    ) -> NDArray[Any]:
        """Give numpy the vectors."""
        return np.array(self.vectors, dtype=dtype, copy=copy)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredLabel:
    """A label and how likely it is."""

    label: str
    confidence: float
    """Its probability, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """The labels of one text."""

    predictions: tuple[ScoredLabel, ...]
    """What is predicted, most confident first: exactly one label in SINGLE mode."""

    labels: tuple[ScoredLabel, ...]
    """The labels with their confidences, most confident first; cut at `top_k`."""

    usage: TextUsage
    error: IsoglossError | None
    """Why there are no labels; normally None."""

    @property
    def label(self) -> str:
        """The most confident predicted label; empty where none is predicted.

        Raises:
            IsoglossError: This text failed.
        """
        if self.error is not None:
            raise self.error
        return self.predictions[0].label if self.predictions else ""

    @property
    def confidence(self) -> float:
        """The probability of `label`, 0 to 1; 0 where none is predicted."""
        return self.predictions[0].confidence if self.predictions else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifications(Sequence[Classification]):
    """The labels of texts, in their order."""

    results: tuple[Classification, ...]
    label_mode: LabelMode
    served_by: ServedModel

    def __len__(self) -> int:
        """Count the texts."""
        return len(self.results)

    def __iter__(self) -> Iterator[Classification]:
        """Walk the texts' labels in order."""
        return iter(self.results)

    @overload
    def __getitem__(self, index: int) -> Classification: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Classification, ...]: ...
    def __getitem__(self, index: int | slice) -> Classification | tuple[Classification, ...]:
        """Give the labels of one text, or of a slice of them."""
        return self.results[index]
