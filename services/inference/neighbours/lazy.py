"""The rows of one model, read when somebody asks for them, and gone with the model.

Must not know where they come from, nor the model: what a flight ends with may not hold it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Protocol

from services.common.errors import DataLoss, IsoglossError
from services.inference.limits import neighbour_bytes
from services.inference.neighbours.rows import Rows
from services.inference.neighbours.stored import StoredNeighbours

TEXTS_SECONDS = 2.0
"""How long texts are told without a look at whether they are there still."""

_FAILURE_SECONDS = 10.0
# Fetching and reading a damaged file takes work: not for every call.


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KnownRows:
    """What there is to tell of a model's rows at a moment."""

    rows: Rows
    texts: Mapping[int, str]
    """By place; empty where they are not kept, or nobody can say whether they are."""

    row_bytes: int
    """What the largest of them takes in an answer, at most."""


class Source(Protocol):
    """Where the rows of one model come from."""

    stored: StoredNeighbours

    def rows(self) -> Rows:
        """Return the rows.

        Raises:
            DataLoss: Where they are damaged.
            ResourceExhausted: Where they do not fit on this machine's disk.
            Unavailable: Where the store does not answer.
        """
        ...

    def texts(self, before: Mapping[int, str]) -> Mapping[int, str]:
        """Return the texts by place; none where they are gone, or nobody can say.

        Args:
            before: What it returned last: texts do not change, they only go.
        """
        ...


class LazyNeighbours:
    """Reads rows once, and looks for their texts again and again. Thread safe."""

    def __init__(
        self,
        source: Source,
        executor: Executor,
        *,
        clock: Callable[[], float],
    ) -> None:
        """Read nothing yet.

        Args:
            source: What to read.
            executor: Reads.
            clock: Seconds that only grow.
        """
        self.stored = source.stored
        self._source = source
        self._executor = executor
        self._clock = clock
        self._lock = threading.Lock()
        self._flight: Future[KnownRows] | None = None
        self._known: KnownRows | None = None
        self._bare: KnownRows | None = None
        self._looked = 0.0
        self._failure: tuple[DataLoss, float] | None = None

    def ready(self) -> KnownRows | None:
        """Return what is known where it can be told at once."""
        with self._lock:
            fresh = self._clock() - self._looked < TEXTS_SECONDS
            return self._known if fresh else None

    @property
    def bare(self) -> KnownRows | None:
        """The rows without any text, for who cannot wait for a look; None before they are read."""
        return self._bare

    def request(self) -> Future[KnownRows]:
        """Return what is known to come; all who ask at the same time share one look.

        The future raises:
            DataLoss: Where the rows are damaged.
            ResourceExhausted: Where they do not fit on this machine's disk.
            Unavailable: Where the store does not answer, and they were not read before.
        """
        with self._lock:
            if self._flight is not None:
                return self._flight
            flight: Future[KnownRows] = Future()
            # Shared by many callers: one that goes away must not cancel it.
            flight.set_running_or_notify_cancel()
            if self._failure is not None and self._clock() < self._failure[1]:
                flight.set_exception(_again(self._failure[0]))
                return flight
            self._executor.submit(self._read, flight)
            self._flight = flight
            return flight

    def look_again(self) -> None:
        """Look whether texts that were read are there still, though nobody asks."""
        known = self._known
        if known is not None and known.texts:
            self.request()

    def _read(self, flight: Future[KnownRows]) -> None:
        began = self._clock()
        try:
            known = self._look()
        except BaseException as error:  # noqa: BLE001 (whoever waits for the future gets it)
            with self._lock:
                self._flight = None
                if isinstance(error, DataLoss):
                    self._failure = _again(error), self._clock() + _FAILURE_SECONDS
            # An error holds frames that hold it, and whoever waits adds its own, where the model
            # is: in that circle it would stay in memory.
            expected = isinstance(error, IsoglossError)
            flight.set_exception(error.with_traceback(None) if expected else error)
        else:
            with self._lock:
                self._flight = None
                # From its beginning: what goes while it looks is seen the next time.
                self._known, self._looked = known, began
            flight.set_result(known)

    def _look(self) -> KnownRows:
        bare, before = self._bare, self._known
        if bare is None:
            bare = self._bare = _known(self._source.rows(), {})
        texts = self._source.texts({} if before is None else before.texts)
        if not texts:
            return bare
        if before is not None and texts is before.texts:
            return before
        return _known(bare.rows, texts)


def _known(rows: Rows, texts: Mapping[int, str]) -> KnownRows:
    size = neighbour_bytes(rows.labels, texts.values())
    return KnownRows(rows=rows, texts=texts, row_bytes=size)


def _again(error: DataLoss) -> DataLoss:
    # One that was raised holds what its callers held, and so the model.
    return DataLoss(error.message, metadata=error.metadata)
