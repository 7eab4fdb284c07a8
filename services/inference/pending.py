"""One call on its way: its texts from words to rows, and its answer. Schedules nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Generic, TypeVar

import numpy as np

from services.common.errors import FieldViolation, IsoglossError
from services.inference.engine import FloatArray, Output
from services.inference.model import Computed, Model, Question, Timings
from services.inference.reading import CallReader
from services.inference.tokenization import TokenisedText

T = TypeVar("T")


class PendingCall(Generic[T]):
    """What is known of a call until it is answered.

    Several workers read and compute different texts of it at the same time, without a lock;
    `settle...`, `over` and what they return are for whoever holds the dispatcher's.
    """

    def __init__(self, model: Model, question: Question, answer: Callable[[Computed], T]) -> None:
        """Begin with nothing read.

        Args:
            model: With which model.
            question: What to compute.
            answer: Makes the answer of what was computed.
        """
        self.model = model
        self.question = question
        self.future: Future[T] = Future()
        # From here on it cannot be cancelled, only given up: whoever stops waiting must not
        # keep the scheduler from counting the call as done.
        self.future.set_running_or_notify_cancel()
        self.over = False
        """Whether it is answered, has failed, or was given up."""
        texts = len(question.texts)
        self._answer = answer
        self._reader = CallReader(model, question.truncation, question.input_type)
        self._texts: list[TokenisedText | None] = [None] * texts
        self._violations: dict[int, FieldViolation] = {}
        self._errors: dict[int, IsoglossError] = {}
        self._rows: dict[Output, FloatArray] = {}
        self._unread = self._left = texts
        self._began = time.perf_counter()
        self._reading = self._running = 0.0

    @property
    def refused(self) -> bool:
        """Whether a text was found for which all of the call is refused."""
        return bool(self._violations) and not self.question.each

    def read(self, start: int, stop: int) -> list[int | None]:
        """Read some texts; return the tokens of each, None where it is refused."""
        began = time.perf_counter()
        lengths = [self._length(position) for position in range(start, stop)]
        self._reading += time.perf_counter() - began
        return lengths

    def settle_read(self, lengths: list[int | None]) -> bool:
        """Count texts as read; return whether that was all that there is to do."""
        self._unread -= len(lengths)
        self._left -= lengths.count(None)
        return self._unread == 0 if self.refused else self._left == 0

    def ids(self, position: int) -> list[int]:
        """Return the tokens of a text that was read."""
        text = self._texts[position]
        return [] if text is None else text.ids

    def keep(
        self, computed: Mapping[int, int], rows: tuple[FloatArray, ...], seconds: float
    ) -> None:
        """Take the rows of a batch.

        Args:
            computed: Which of them is whose, as position in the call to row.
            rows: Of each output that was asked for.
            seconds: How long the batch took.
        """
        self._running += seconds
        texts = len(self._texts)
        for output, found in zip(self.question.outputs, rows, strict=True):
            if texts == 1:
                self._rows[output] = found[computed[0] : computed[0] + 1]
                continue
            kept = self._rows.get(output)
            if kept is None:
                # Of two workers that come at once one array must win.
                kept = self._rows.setdefault(output, np.zeros((texts, found.shape[1]), np.float32))
            kept[list(computed)] = found[list(computed.values())]

    def keep_error(self, position: int, error: IsoglossError) -> None:
        """Take what a text has instead of a row."""
        self._errors[position] = error

    def settle(self, texts: int) -> bool:
        """Count texts as computed or failed; return whether that was the last."""
        self._left -= texts
        return self._left == 0

    def finish(self) -> None:
        """Answer the call, or refuse it for what is wrong with its texts."""
        if self.refused:
            violations = [self._violations[key] for key in sorted(self._violations)]
            self.fail(self._reader.refusal(*violations))
            return
        try:
            answer = self._answer(self._computed())
        except BaseException as error:  # noqa: BLE001 (whoever waits for the future gets it)
            self.future.set_exception(error)
        else:
            self.future.set_result(answer)

    def fail(self, error: BaseException) -> None:
        """End the call with an error."""
        self.future.set_exception(error)

    def _length(self, position: int) -> int | None:
        if self.over:
            return None
        text = self._reader.read(position, self.question.texts[position])
        if isinstance(text, FieldViolation):
            self._violations[position] = text
            return None
        self._texts[position] = text
        return len(text.ids)

    def _computed(self) -> Computed:
        refused = {key: self._reader.refusal(found) for key, found in self._violations.items()}
        for output in self.question.outputs:
            if output not in self._rows:
                width = self.model.width(output)
                self._rows[output] = np.zeros((len(self._texts), width), np.float32)
        waited = time.perf_counter() - self._began - self._reading - self._running
        return Computed(
            rows=self._rows,
            texts=self._texts,
            errors=refused | self._errors,
            timings=Timings(queue=max(waited, 0.0), tokenise=self._reading, infer=self._running),
        )
