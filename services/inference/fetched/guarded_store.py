"""The object store as a server sees it that must go on without: whoever asks never waits twice.

Must not know what is stored.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import structlog

from services.common import layout
from services.common.errors import Unavailable
from services.common.storage import BeforeEnd, Content, ObjectInfo, ObjectStore, UnsuitableStore

_log = structlog.get_logger()

T = TypeVar("T")

_PROBE_SECONDS = 1.0

# The time limits of a connection with all its retries come to half a minute, and of an answer to
# minutes. A store that says nothing for this long, where milliseconds are usual, does not answer.
_PATIENCE_SECONDS = 5.0

# The same at the start, where several questions come one after the other, and retries may help.
_START_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outage:
    since: float
    error: Unavailable
    """What the store said last."""


class GuardedStore:
    """An `ObjectStore` that may be down, also from the start on.

    Once it is known to be down, every call raises `Unavailable` at once, and one thread asks
    until it answers again.
    """

    def __init__(
        self,
        open_: Callable[[], ObjectStore],
        *,
        probe_seconds: float = _PROBE_SECONDS,
        patience_seconds: float = _PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the store, or keep trying.

        Args:
            open_: Opens it; called until it succeeds.
            probe_seconds: Between two looks at a store that is down.
            patience_seconds: How long a look may take before the store counts as silent.
            clock: Seconds that only grow.

        Raises:
            UnsuitableStore: Where it answers, and is none to use.
        """
        self._open = open_
        self._probe_seconds = probe_seconds
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._prober: threading.Thread | None = None
        self._looks: dict[Future[Any], float] = {}
        self._store: ObjectStore | None = None
        self._outage: _Outage | None = None
        try:
            self._store = self._within(_START_SECONDS, open_)
        except Unavailable as error:
            self._trip(error)
            self._suspect()

    @property
    def outage_seconds(self) -> float | None:
        """How long the store has been down; None where it answers."""
        outage = self._outage
        return None if outage is None else self._clock() - outage.since

    @property
    def outage(self) -> Unavailable | None:
        """What the store said last where it is down; None where it answers."""
        return None if self._outage is None else _again(self._outage)

    @property
    def answers(self) -> bool:
        """Whether the store is neither down nor silent."""
        if self._outage is not None:
            return False
        with self._lock:
            first = min(self._looks.values(), default=None)
        return first is None or self._clock() - first < self._patience_seconds

    def stat(self, key: str) -> ObjectInfo | None:
        """See `ObjectStore.stat`; a store that is silent is `Unavailable` soon."""
        with self._asked() as store:
            return self._within(self._patience_seconds, partial(store.stat, key))

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `ObjectStore.get`."""
        with self._asked() as store:
            yield from store.get(key, offset=offset, length=length)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        with self._asked() as store:
            yield from store.list(prefix, start_after=start_after)

    def put(self, key: str, data: bytes | Iterable[bytes]) -> ObjectInfo:
        """See `ObjectStore.put`."""
        with self._asked() as store:
            return store.put(key, data)

    def create(self, key: str, data: Content, *, before_end: BeforeEnd = None) -> bool:
        """See `ObjectStore.create`."""
        with self._asked() as store:
            return store.create(key, data, before_end=before_end)

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        with self._asked() as store:
            store.delete(key)

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()

    @contextmanager
    def _asked(self) -> Iterator[ObjectStore]:
        outage, store = self._outage, self._store
        if outage is not None or store is None:
            raise _again(outage)
        if not self.answers:
            raise _silent()
        try:
            yield store
        except Unavailable:
            self._suspect()
            raise

    def _within(self, seconds: float, look: Callable[[], T]) -> T:
        """Return what a look finds; it goes on behind, where that takes too long."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                end = partial(future.set_result, look())
            except BaseException as error:  # noqa: BLE001 (whoever waits for the future gets it)
                end = partial(future.set_exception, error)
            # First: whoever has the result must not find a store that seems to be asked still.
            with self._lock:
                del self._looks[future]
            end()

        with self._lock:
            self._looks[future] = self._clock()
        # A daemon: it may hang in a connection when the process wants to end. No more than whoever
        # looks at once begin, since nobody looks at a store that is silent.
        threading.Thread(target=run, name="look", daemon=True).start()
        try:
            return future.result(seconds)
        except TimeoutError:
            raise _silent() from None

    def _suspect(self) -> None:
        """Find out whether the store is down, or only what was asked of it."""
        with self._lock:
            if self._prober is None and not self._closed.is_set():
                # A daemon, as above.
                self._prober = threading.Thread(target=self._probe, name="store", daemon=True)
                self._prober.start()

    def _probe(self) -> None:
        while not self._closed.is_set():
            try:
                store = self._store or self._open()
                next(iter(store.list(layout.base_models_prefix())), None)
            except Unavailable as error:
                self._trip(error)
            except UnsuitableStore as error:
                self._trip(Unavailable(str(error)))
            else:
                self._store = store
                break
            self._closed.wait(self._probe_seconds)
        with self._lock:
            outage, self._outage, self._prober = self._outage, None, None
        if outage is not None and not self._closed.is_set():
            _log.info("store_back", seconds=round(self._clock() - outage.since, 1))

    def _trip(self, error: Unavailable) -> None:
        before = self._outage
        since = self._clock() if before is None else before.since
        self._outage = _Outage(since=since, error=error)
        if before is None:
            _log.warning("store_down", error=error.message)


def _again(outage: _Outage | None) -> Unavailable:
    if outage is None:
        return Unavailable("The object store is not open yet: try again.")
    error = outage.error
    return Unavailable(error.message, metadata=error.metadata, retry_after=error.retry_after)


def _silent() -> Unavailable:
    return Unavailable(
        "The object store says nothing: retry, or see that its server runs and is not overloaded.",
        retry_after=_PROBE_SECONDS,
    )
