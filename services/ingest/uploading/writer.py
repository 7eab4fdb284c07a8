"""One stream of bytes on its way into one file: parts at once, each in its turn.

Must not know what else is uploaded: whoever makes a writer tells it where its file stands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Condition
from typing import Protocol

from services.common import layout
from services.common.errors import (
    FailedPrecondition,
    IsoglossError,
    NotFound,
    OutOfRange,
    ResourceExhausted,
)
from services.common.storage import ObjectStore
from services.ingest.dataset import Split
from services.ingest.uploading.limits import UploadLimits
from services.ingest.uploading.prefix_sums import PrefixSums

_MANY_CHUNKS = 256
"""From here on what a part's messages cost beside their bytes is worth a copy."""

_NO_PLACE = (FailedPrecondition, NotFound, OutOfRange, ResourceExhausted)
"""How a part is refused for good, and with it all that follows."""


class Gate(Protocol):
    """Says whether a file still takes bytes: others finalise and delete it meanwhile."""

    def check_open(self, size: int = 0) -> None:
        """Look before a part is stored.

        Args:
            size: Bytes of the part; 0 where none is there yet.

        Raises:
            FailedPrecondition: Where the dataset was finalised.
            NotFound: Where it is gone.
            ResourceExhausted: Where its tenant may not store so many bytes more.
        """
        ...

    def check_kept(self, end: int, size: int) -> None:
        """Make sure that a part which was just stored belongs to the dataset; count it.

        Args:
            end: Where the part ends in its file.
            size: Its bytes.

        Raises:
            FailedPrecondition: Where the dataset was finalised without it.
            NotFound: Where it is gone.
        """
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class _Part:
    """Bytes that become one object."""

    offset: int
    size: int
    chunks: list[bytes]
    is_taken: bool = False
    """Whether a thread is at it."""

    is_stored: bool = False
    """Whether it is in the store, though perhaps not counted yet."""

    error: Exception | None = None
    """Why the last thread that was at it gave it up."""


class _NotYet(Exception):
    """Parts before one are still on their way."""


class UploadWriter:
    """One stream of bytes into one file.

    One thread adds while others store. Each of these takes the oldest part that nobody is at and
    sends it, though the parts before it are still on their way; only its end waits until they are
    stored. So a part never lies behind a gap, whichever of them fails or is killed.
    """

    def __init__(
        self,
        *,
        store: ObjectStore,
        limits: UploadLimits,
        sums: PrefixSums,
        stored: Callable[[], int],
        prefix: tuple[str, str, Split],
        sizes: Mapping[Split, int],
        gate: Gate | None,
    ) -> None:
        """Begin at the committed size.

        Args:
            store: Where the parts go.
            limits: For this file and its dataset.
            sums: Told of what is stored.
            stored: Tells how many bytes of the file the store has, whoever stored them.
            prefix: Tenant, dataset and split.
            sizes: Bytes that are stored of each of the dataset's files.
            gate: Asked around every part.
        """
        self._store = store
        self._limits = limits
        self._sums = sums
        self._stored = stored
        self._prefix = prefix
        self._sizes = dict(sizes)
        self._gate = gate
        self._committed = self._summed = self._received = self._sizes.get(prefix[2], 0)
        self._added: list[bytes] = []
        self._added_size = 0
        self._parts: deque[_Part] = deque()
        self._failure: IsoglossError | None = None
        self._changed = Condition()

    @property
    def received(self) -> int:
        """Where the next byte belongs."""
        return self._received

    def add(self, offset: int | None, data: bytes) -> bool:
        """Take bytes, in memory only.

        Args:
            offset: Where they begin in the file; None goes on where the last ones ended.
            data: The bytes.

        Returns:
            Whether they fill a part: it waits for one call of `store`.

        Raises:
            OutOfRange: Where the file does not go on at `offset`; names where it does.
            ResourceExhausted: Where the file or the dataset becomes too large.
            IsoglossError: Where there was no place for bytes before these: what `store` raised.
        """
        with self._changed:
            if self._failure is not None:
                # What follows bytes that are lost must not take their place.
                raise self._failure
            if offset is not None and offset != self._received:
                raise self._wrong_offset(
                    f"The {self._prefix[2]} file goes on at byte {self._received}, not at "
                    f"{offset}: send from there.",
                    self._received,
                )
            size = self._received + len(data)
            self._limits.check({**self._sizes, self._prefix[2]: size})
            if data:
                self._added.append(data)
                self._added_size += len(data)
            self._received = size
            if self._added_size < self._limits.part_bytes:
                return False
            self._close_part()
            return True

    def store(self) -> int:
        """Store the oldest part that no thread is at; return the committed size.

        What fails because the store or the database does not answer may be tried again.

        Raises:
            OutOfRange: Where another stream stored a part at this place meanwhile.
            FailedPrecondition: Where the dataset was finalised without these bytes.
            NotFound: Where the dataset was deleted.
            ResourceExhausted: Where its tenant may not store them.
        """
        with self._changed:
            part = next((part for part in self._parts if not part.is_taken), None)
            if part is None:
                return self._committed
            part.is_taken = True
        try:
            self._store_part(part)
        except Exception as error:
            with self._changed:
                part.is_taken, part.error = False, error
                if isinstance(error, _NO_PLACE):
                    # There is no place for these bytes, nor for any that follow them.
                    self._failure = error
                    self._parts.clear()
                    self._added = []
                    self._added_size = 0
                self._changed.notify_all()
            raise
        return self._committed

    def flush(self) -> int:
        """Store all that was added; return the committed size.

        Raises:
            IsoglossError: As `store`.
        """
        while self._has_rest():
            self.store()
        return self._committed

    def _has_rest(self) -> bool:
        """Wait for the threads that store; return whether they leave anything."""
        with self._changed:
            self._changed.wait_for(lambda: not any(part.is_taken for part in self._parts))
            if self._added_size:
                self._close_part()
            return bool(self._parts)

    def _close_part(self) -> None:
        offset = self._received - self._added_size
        chunks = self._added if len(self._added) < _MANY_CHUNKS else [b"".join(self._added)]
        self._parts.append(_Part(offset=offset, size=self._added_size, chunks=chunks))
        self._added = []
        self._added_size = 0

    def _store_part(self, part: _Part) -> None:
        tenant, dataset, split = self._prefix
        key = layout.raw_chunk(tenant, dataset, split, part.offset)
        end = part.offset + part.size
        if not part.is_stored:
            if not self._create(key, part):
                self._wait_for_turn(part)
                stored = self._stored()
                raise self._wrong_offset(
                    f"Another stream has stored bytes of the {split} file meanwhile: it goes on "
                    f"at byte {stored}.",
                    stored,
                )
            part.is_stored = True
        if self._gate is not None:
            try:
                self._gate.check_kept(end, part.size)
            except (FailedPrecondition, NotFound):
                # Finalised or deleted between the look and the store: nobody would find it.
                self._store.delete(key)
                raise
        with self._changed:
            self._parts.popleft()
            self._committed = end
            self._changed.notify_all()
            # The next part is stored while this one is summed, and summed after it.
            self._changed.wait_for(lambda: self._summed == part.offset)
        try:
            self._sums.extend(self._prefix, part.offset, part.chunks)
        finally:
            with self._changed:
                self._summed = end
                self._changed.notify_all()

    def _create(self, key: str, part: _Part) -> bool:
        """Send a part, its end in its turn; return whether nobody else had stored one there."""
        with suppress(_NotYet):
            return self._send(key, part)
        self._wait_for_turn(part)
        return self._send(key, part)

    def _send(self, key: str, part: _Part) -> bool:
        is_let_in = False

        def look() -> None:
            nonlocal is_let_in
            self._wait_for_turn(part, seconds=self._limits.patience_seconds)
            # Once: where an answer was lost and the part is sent again, it may be stored already.
            if self._gate is not None and not is_let_in:
                self._gate.check_open(part.size)
            is_let_in = True

        return self._store.create(key, part.chunks, before_end=look)

    def _wait_for_turn(self, part: _Part, *, seconds: float | None = None) -> None:
        """Wait until all parts before one are stored.

        Raises:
            Exception: What was raised to the thread that gave one of them up.
            _NotYet: Where it takes longer.
        """

        def is_turn() -> bool:
            return self._failure is not None or self._parts[0] is part

        with self._changed:
            ready = self._changed.wait_for(
                lambda: is_turn() or not self._parts[0].is_taken, timeout=seconds
            )
            if not ready:
                raise _NotYet
            error = self._failure if is_turn() else self._parts[0].error
        if error is not None:
            raise error

    def _wrong_offset(self, message: str, committed: int) -> OutOfRange:
        return OutOfRange(
            message,
            metadata={"committed_size": str(committed), "split": str(self._prefix[2])},
        )
