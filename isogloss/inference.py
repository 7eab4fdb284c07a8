"""What the client tells of embedded and classified texts: plain values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Self, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from isogloss.dataset_report import LabelMode
from isogloss.errors import IsoglossError
from isogloss.inference_options import VectorType
from isogloss.models import Precision


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where the server spent time, in seconds; of several calls together."""

    queue: float
    """When no worker was busy with the texts."""

    tokenize: float
    infer: float
    load: float
    """Waiting for the model, and for the rows that explain it; 0 where all was in memory."""

    learn: float = 0.0
    """Waiting for examples to be learnt from; 0 where the server still knew them."""

    @classmethod
    def sum(cls, parts: Iterable[Self]) -> Self:
        """Add up several calls."""
        known = list(parts)
        return cls(
            queue=sum(part.queue for part in known),
            tokenize=sum(part.tokenize for part in known),
            infer=sum(part.infer for part in known),
            load=sum(part.load for part in known),
            learn=sum(part.learn for part in known),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embeddings:
    """The vectors of texts, in their order. numpy takes it as the array that it holds."""

    vectors: NDArray[Any]
    """Of shape (texts, dimension), in numpy's type of `vector_type`; of BINARY and UBINARY an
    eighth as many columns. A text that failed has NaN, and zeros in types without."""

    vector_type: VectorType
    dimension: int
    """Numbers in each vector; of BINARY and UBINARY bits."""

    step: float
    """INT8 and UINT8: what numbers, of UINT8 less 128, are multiplied by; 0 of other types."""

    usage: tuple[TextUsage, ...]
    errors: Mapping[int, IsoglossError]
    """Why single texts have no vector, by their index; normally empty."""

    served_by: ServedModel
    timings: Timings

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Put the vectors of several calls together, at least one."""
        starts = accumulate((len(part) for part in parts), initial=0)
        return replace(
            parts[0],
            vectors=np.concatenate([part.vectors for part in parts]),
            usage=tuple(usage for part in parts for usage in part.usage),
            errors={
                start + index: error
                for start, part in zip(starts, parts, strict=False)
                for index, error in part.errors.items()
            },
            timings=Timings.sum(part.timings for part in parts),
        )

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

    raw_score: float | None
    """Its logit; None unless `raw_scores` asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A text that labels were learnt from."""

    row: int
    """Its place among the training rows of `Classifications.dataset`, from 0; of an example among
    the examples."""

    labels: tuple[str, ...]
    """Those that it was learnt with."""

    text: str
    """Its first 500 characters; empty where the text is not kept or was purged."""

    similarity: float
    """Cosine of its vector and the text's, -1 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfScope:
    """How far a text is from what its model was trained on."""

    score: float
    """Share of held-out texts that are nearer to the training texts, 0 to 1."""

    similarity: float
    """The cosine that the score is made of, -1 to 1; it tells also texts apart whose score is
    1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """The labels of one text."""

    predictions: tuple[ScoredLabel, ...]
    """What is predicted, most confident first: exactly one label in SINGLE mode, unless it
    abstained."""

    labels: tuple[ScoredLabel, ...]
    """The labels with their confidences, most confident first; cut at `top_k`."""

    abstained: bool
    """Whether nothing is predicted because no confidence reached `abstain_below`."""

    usage: TextUsage
    error: IsoglossError | None
    """Why there are no labels; normally None."""

    neighbours: tuple[Neighbour, ...] = ()
    """With `explain`: what the labels were learnt from that is nearest, nearest first."""

    out_of_scope: OutOfScope | None = None
    """Whether the text is of another kind than what was learnt; None unless asked for."""

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
    timings: Timings
    dataset: str = ""
    """With `explain`: among whose training rows neighbours have their places; of an imported model
    as it was called where it was trained. Empty with `examples`."""

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Put the labels of several calls together, at least one."""
        return replace(
            parts[0],
            results=tuple(result for part in parts for result in part.results),
            timings=Timings.sum(part.timings for part in parts),
        )

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


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedAndClassified:
    """Vectors and labels of the same texts, from one pass."""

    embeddings: Embeddings
    classifications: Classifications

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Put several calls together, at least one."""
        return cls(
            embeddings=Embeddings.joined([part.embeddings for part in parts]),
            classifications=Classifications.joined([part.classifications for part in parts]),
        )

    def __len__(self) -> int:
        """Count the texts."""
        return len(self.classifications)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedText:
    """The tokens of one text, as the model reads them."""

    ids: tuple[int, ...]
    """In the model's vocabulary, special tokens and the model's prefix included."""

    tokens: tuple[str, ...]
    """The same as words of the vocabulary."""

    spans: tuple[tuple[int, int], ...]
    """Where each token stands in `text`, in characters; empty unless asked for."""

    text: str
    """As the model's cleaning leaves it; empty unless spans are asked for."""

    token_count: int
    """Of the whole text, with what was left out."""

    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenized(Sequence[TokenizedText]):
    """The tokens of texts, in their order."""

    results: tuple[TokenizedText, ...]
    model: str
    max_tokens: int
    """The longest text that the model takes, special tokens included."""

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Put the tokens of several calls together, at least one."""
        return replace(parts[0], results=tuple(result for part in parts for result in part.results))

    def __len__(self) -> int:
        """Count the texts."""
        return len(self.results)

    def __iter__(self) -> Iterator[TokenizedText]:
        """Walk the texts in order."""
        return iter(self.results)

    @overload
    def __getitem__(self, index: int) -> TokenizedText: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[TokenizedText, ...]: ...
    def __getitem__(self, index: int | slice) -> TokenizedText | tuple[TokenizedText, ...]:
        """Give the tokens of one text, or of a slice of them."""
        return self.results[index]
