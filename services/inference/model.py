"""A model in memory, what may be asked of it, and what it answers. Computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, auto

from services.common.cleaning import Cleaner
from services.common.errors import IsoglossError
from services.inference.engine import Engine, FloatArray, Output
from services.inference.neighbours.lazy import LazyNeighbours
from services.inference.scheduling.priority import Priority
from services.inference.tokenization import InputType, TextReader, TokenisedText, Truncation


class Precision(StrEnum):
    """How exactly a model is computed."""

    EXACT = auto()
    QUANTIZED = auto()


class LabelMode(StrEnum):
    """How many labels a text can have."""

    SINGLE = auto()
    MULTI = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that is ready to compute."""

    name: str
    """Full resource name."""

    precision: Precision
    """Of the variant that is loaded."""

    digest: str
    """sha256 of that variant's graph."""

    dimension: int
    """Length of its embeddings."""

    max_tokens: int
    """Longest text in tokens, special tokens included."""

    labels: tuple[str, ...]
    """In the order of the logits; empty for an untrained base."""

    label_mode: LabelMode
    """How many labels a text can have."""

    thresholds: tuple[float, ...]
    """Of each label, from which confidence on it is given; empty with one label a text."""

    cleaner: Cleaner | None
    """What is done to every text first; None: nothing."""

    reader: TextReader
    engine: Engine

    vector_range: float = 0.0
    """How far from 0 the numbers of its embeddings reach; 0 where nobody measured it."""

    matryoshka_dimensions: tuple[int, ...] = ()
    """Lengths to which its embeddings may be cut, by its training."""

    typed_readers: Mapping[InputType, TextReader] = field(default_factory=dict)
    """Instead of `reader` for texts of these types."""

    neighbours: LazyNeighbours | None = None
    """Rows that it learnt from, of the precision that is loaded; None where there are none."""

    def reader_of(self, input_type: InputType | None) -> TextReader:
        """Return what reads texts of a type; None: of no type that the caller knows."""
        return (
            self.reader if input_type is None else self.typed_readers.get(input_type, self.reader)
        )

    def clean(self, text: str) -> str:
        """Return `text` as the model learnt texts; may be empty."""
        return text if self.cleaner is None else self.cleaner.clean(text).text

    def width(self, output: Output) -> int:
        """Return the numbers in a row of that output."""
        return self.dimension if output is Output.EMBEDDING else len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What one call wants to have computed."""

    texts: Sequence[str]
    """At least one."""

    truncation: Truncation
    """What to do with texts that are too long."""

    outputs: tuple[Output, ...]
    """At least one; all are computed in one pass."""

    priority: Priority
    caller: str
    """Who takes turns with others: the tenant."""

    remaining: float | None
    """Seconds until nobody waits for the answer any more; None: no end."""

    each: bool
    """Whether a text that cannot be computed has an error of its own, and the others their
    rows, instead of refusing the call."""

    input_type: InputType | None = None
    """What the texts are, to models that read them differently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where a call spent its time in here, in seconds.

    Several workers may have been busy with it at once: the sum can be over its time on the clock.
    """

    queue: float
    """When no worker was busy with it."""

    tokenise: float
    """Workers' time for cleaning and reading its texts."""

    infer: float
    """Workers' time for the batches that its texts were in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """What the graph says of the texts of one call."""

    rows: Mapping[Output, FloatArray]
    """For each output one row a text, in the order of the call; zeros where there is an error."""

    texts: Sequence[TokenisedText | None]
    """How each text was read; None where it could not be."""

    errors: Mapping[int, IsoglossError]
    """Why a text has no row, by its position; empty unless the question allows them."""

    timings: Timings
