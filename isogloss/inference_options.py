"""What a caller may say about how texts are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypedDict

from isogloss.models import Precision


class Truncation(StrEnum):
    """Which part of a text is left out where it has more tokens than the model takes."""

    NONE = "none"
    """None: such a text is refused."""

    START = "start"
    END = "end"


class VectorType(StrEnum):
    """Type of an embedding's numbers."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
    """The embedding's numbers in steps of `Embeddings.step`; their cosine is the embeddings'."""

    UINT8 = "uint8"
    """INT8 plus 128."""

    BINARY = "binary"
    """UBINARY less 128."""

    UBINARY = "ubinary"
    """One bit a number, eight to a byte; `numpy.unpackbits` takes them apart."""


class InputType(StrEnum):
    """What a text is, to a model that puts different words before queries and documents."""

    QUERY = "query"
    DOCUMENT = "document"
    CLASSIFICATION = "classification"
    CLUSTERING = "clustering"


class Priority(StrEnum):
    """Whose texts are computed first where both wait."""

    INTERACTIVE = "interactive"
    """Somebody waits for the answer."""

    BULK = "bulk"
    """Many texts, of which the last one counts."""


class TextOptions(TypedDict, total=False):
    """What is said of texts; all of it is optional.

    truncation: What to leave out of a text that is too long: its `end`, which is the default, its
        `start`, or `none`, which refuses it.
    precision: `EXACT`, or `QUANTIZED`: faster, at a loss that `Model.variants` tells.
    priority: `interactive` or `bulk`. Unset: bulk where an iterator is answered, else interactive.
    """

    truncation: Truncation | str
    precision: Precision | str
    priority: Priority | str


class VectorOptions(TextOptions, total=False):
    """What is said of vectors; all of it is optional.

    vector_type: `float32`, `float16`, `int8`, `uint8`, `binary` or `ubinary`.
    dimensions: How many numbers to keep of each vector; a model that was not trained for it
        refuses.
    force_dimensions: Cut all the same.
    normalize: Whether what was cut gets length 1 again.
    """

    vector_type: VectorType | str
    dimensions: int
    force_dimensions: bool
    normalize: bool


class EmbedOptions(VectorOptions, total=False):
    """What `embed` takes; see `VectorOptions` and `TextOptions`.

    input_type: `query`, `document`, `classification` or `clustering`, to a model that reads them
        differently.
    """

    input_type: InputType | str


class LabelOptions(TextOptions, total=False):
    """What is said of labels; see `TextOptions`.

    top_k: How many labels to tell for each text. 0: all of them.
    threshold: Where a text can have several labels: predict those whose confidence reaches this,
        instead of each label's own threshold.
    label_thresholds: The same for single labels, before `threshold`.
    abstain_below: Predict nothing for a text of which no label's confidence reaches this.
    raw_scores: Tell the logits as well.
    explain: Tell for each text so many of what the labels were learnt from, the nearest, 0 to 20.
    out_of_scope: Tell whether each text is farther from what was learnt than texts of that kind
        are; not with examples.
    """

    top_k: int
    threshold: float
    label_thresholds: Mapping[str, float]
    abstain_below: float
    raw_scores: bool
    explain: int
    out_of_scope: bool


class ClassifyOptions(LabelOptions, total=False):
    """What `classify` takes; see `LabelOptions`.

    examples: Pairs of a text and its label to learn from instead of the model's own labels: at
        most 2,500, at least two labels, at least two examples of each.
    """

    examples: Sequence[tuple[str, str]]


class EmbedAndClassifyOptions(VectorOptions, LabelOptions, total=False):
    """What `embed_and_classify` takes; see `VectorOptions` and `LabelOptions`."""
