"""How a call's texts become work for the workers, and their results its answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from services.common.errors import FieldViolation, IsoglossError
from services.inference.engine import FloatArray, Output
from services.inference.grouping import GroupLimits, group_by_length
from services.inference.model import Computed, Model, Question, Timings
from services.inference.pool import Job, Step, Ticket, WorkerPool
from services.inference.reading import CallReader
from services.inference.tokenization import TokenisedText

T = TypeVar("T")

_GROUPS = GroupLimits(texts=8, padded_tokens=512, padding=0.125)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """A question on its way to an answer."""

    future: Future[T]
    """The answer, or the error that takes its place. Cannot be cancelled, only given up."""

    give_up: Callable[[], None]
    """Says that nobody waits any more; work that has not begun will not begin."""


class Dispatcher:
    """Takes questions and has them computed. Thread safe."""

    def __init__(self, pool: WorkerPool) -> None:
        """Let `pool` compute."""
        self._pool = pool

    def submit(self, model: Model, question: Question, answer: Callable[[Computed], T]) -> Call[T]:
        """Take a question.

        Args:
            model: With which model.
            question: What to compute.
            answer: Makes the call's answer of what was computed, on a worker thread.

        Raises:
            ResourceExhausted: Where too much is waiting; says when to come back.

        The future raises:
            InvalidArgument: Naming every text of which cleaning leaves nothing, and, with
                truncation NONE, every text that is too long; not where `each` is set.
            DeadlineExceeded: Where the time was over before the texts were computed.
        """
        ticket = Ticket(question.remaining)
        work = _Work(model, question, ticket)
        job = Job(
            texts=len(question.texts),
            prepare=work.prepare,
            finish=lambda: answer(work.computed()),
            ticket=ticket,
        )
        return Call(future=self._pool.submit(job), give_up=ticket.give_up)

    def close(self) -> None:
        """Finish what has begun, drop the rest, and end the threads."""
        self._pool.close()


class _Work:
    """The texts of one call, on the way from words to numbers."""

    def __init__(self, model: Model, question: Question, ticket: Ticket) -> None:
        self._model = model
        self._question = question
        self._ticket = ticket
        self._read: list[TokenisedText | None] = []
        self._errors: dict[int, IsoglossError] = {}
        self._rows: dict[Output, FloatArray] = {}
        self._submitted = self._begun = self._prepared = time.perf_counter()

    def prepare(self) -> list[Step]:
        """Read all texts and return the groups to run."""
        self._begun = time.perf_counter()
        self._read_all()
        self._prepared = time.perf_counter()
        for output in self._question.outputs:
            embedding = output is Output.EMBEDDING
            width = self._model.dimension if embedding else len(self._model.labels)
            self._rows[output] = np.zeros((len(self._read), width), np.float32)
        positions = [position for position, text in enumerate(self._read) if text is not None]
        groups = group_by_length([len(self._ids(position)) for position in positions], _GROUPS)
        return [partial(self._run, [positions[index] for index in group]) for group in groups]

    def computed(self) -> Computed:
        """Return what the groups left."""
        return Computed(
            rows=self._rows,
            texts=self._read,
            errors=self._errors,
            timings=Timings(
                queue=self._begun - self._submitted,
                tokenise=self._prepared - self._begun,
                infer=time.perf_counter() - self._prepared,
            ),
        )

    def _run(self, group: list[int]) -> None:
        # Groups write to rows of their own, so they need no lock.
        token_ids = [self._ids(position) for position in group]
        outputs = self._question.outputs
        for output, rows in zip(outputs, self._model.engine.run(token_ids, outputs), strict=True):
            self._rows[output][group] = rows

    def _ids(self, position: int) -> list[int]:
        text = self._read[position]
        return [] if text is None else text.ids

    def _read_all(self) -> None:
        reader = CallReader(self._model, self._question.truncation)
        violations: list[FieldViolation] = []
        for position, sent in enumerate(self._question.texts):
            self._ticket.check()
            text = reader.read(position, sent)
            if isinstance(text, TokenisedText):
                self._read.append(text)
                continue
            self._read.append(None)
            violations.append(text)
            self._errors[position] = reader.refusal(text)
        if violations and not self._question.each:
            raise reader.refusal(*violations)
