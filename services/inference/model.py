"""A model in memory, and how a list of texts becomes work for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum, auto
from functools import partial
from typing import TypeVar

import numpy as np

from services.common.cleaning import Cleaner
from services.common.errors import FieldViolation, InvalidArgument, Reason
from services.inference.engine import Engine, FloatArray, Output
from services.inference.grouping import group_by_length
from services.inference.pool import Job, Step, Ticket
from services.inference.tokenization import TextReader, TextTooLong, TokenisedText, Truncation

T = TypeVar("T")

# Texts that are refused as too long are counted to their end up to this many characters in a
# call, some 0.5 s of work; of others the caller hears that there are more tokens than were seen.
_COUNTED_CHARACTERS = 256 * 1024


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

    def clean(self, text: str) -> str:
        """Return `text` as the model learnt texts; may be empty."""
        return text if self.cleaner is None else self.cleaner.clean(text).text


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """What the graph says of the texts of one call."""

    rows: FloatArray
    """One row a text, in the order of the call."""

    texts: Sequence[TokenisedText]
    """How each text was read."""


def job(
    model: Model,
    texts: Sequence[str],
    *,
    truncation: Truncation,
    output: Output,
    answer: Callable[[Computed], T],
    ticket: Ticket,
) -> Job[T]:
    """Return the work of computing `output` for `texts`.

    Args:
        model: With which model.
        texts: At least one.
        truncation: What to do with texts that are too long.
        output: Which output of the graph.
        answer: Makes the call's answer of what was computed, on a worker thread.
        ticket: Whether anybody still waits.

    The job raises:
        InvalidArgument: Naming every text of which cleaning leaves nothing, and, with
            `truncation` NONE, every text that is too long.
    """
    work = _Work(model, texts, truncation, output, ticket)
    return Job(
        texts=len(texts),
        prepare=work.prepare,
        finish=lambda: answer(work.computed()),
        ticket=ticket,
    )


class _Work:
    """The texts of one call, on the way from words to numbers."""

    def __init__(
        self,
        model: Model,
        texts: Sequence[str],
        truncation: Truncation,
        output: Output,
        ticket: Ticket,
    ) -> None:
        self._model = model
        self._texts = texts
        self._truncation = truncation
        self._output = output
        self._ticket = ticket
        self._read: list[TokenisedText] = []
        self._rows: FloatArray = np.empty((0, 0), np.float32)

    def prepare(self) -> list[Step]:
        """Read all texts and return the groups to run."""
        self._read = self._read_all()
        width = (
            self._model.dimension if self._output is Output.EMBEDDING else len(self._model.labels)
        )
        self._rows = np.empty((len(self._read), width), np.float32)
        groups = group_by_length([len(text.ids) for text in self._read], self._model.engine.groups)
        return [partial(self._run, group) for group in groups]

    def computed(self) -> Computed:
        """Return what the groups left."""
        return Computed(rows=self._rows, texts=self._read)

    def _run(self, group: list[int]) -> None:
        # Groups write to rows of their own, so they need no lock.
        token_ids = [self._read[position].ids for position in group]
        self._rows[group] = self._model.engine.run(token_ids, self._output)

    def _read_all(self) -> list[TokenisedText]:
        read: list[TokenisedText] = []
        violations: list[FieldViolation] = []
        left_to_count = _COUNTED_CHARACTERS
        for position, sent in enumerate(self._texts):
            self._ticket.check()
            text = self._model.clean(sent)
            if not text:
                violations.append(self._empty(position))
                continue
            try:
                read.append(self._model.reader.read(text, self._truncation))
            except TextTooLong as too_long:
                has = str(too_long.token_count)
                if not too_long.exact:
                    counts = len(text) <= left_to_count
                    left_to_count -= len(text)
                    has = str(self._model.reader.count(text)) if counts else f"more than {has}"
                violations.append(self._too_long(position, has))
        if violations:
            raise InvalidArgument(violations, metadata={"max_tokens": str(self._model.max_tokens)})
        return read

    def _empty(self, position: int) -> FieldViolation:
        return FieldViolation(
            field=f"texts[{position}]",
            description=(
                f"is empty once it is cleaned as the texts were that {self._model.name} learnt "
                "from. Leave it out, or send what it should say."
            ),
        )

    def _too_long(self, position: int, has: str) -> FieldViolation:
        return FieldViolation(
            field=f"texts[{position}]",
            description=(
                f"has {has} tokens, {self._model.name} takes {self._model.max_tokens}. Shorten "
                "it, or let truncation be START or END."
            ),
            reason=Reason.TEXT_TOO_LONG,
        )
