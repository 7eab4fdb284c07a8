"""Brings the rows that models learnt from here: vectors by way of the disk, texts only to memory.

A text that was purged must not stay: it is never on this machine's disk, what is in memory is
looked for in the store before it is told again, and now and then where nobody asks.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakSet

import structlog

from services.common import neighbours
from services.common.errors import DataLoss, NotFound, Unavailable
from services.common.storage import ObjectStore, read_all
from services.inference.artifact import Artifact
from services.inference.fetched.download import Downloader
from services.inference.fetched.file_cache import FileCache
from services.inference.manifests import PublishedModel, parse_texts
from services.inference.neighbours.lazy import LazyNeighbours
from services.inference.neighbours.rows import Rows
from services.inference.neighbours.stored import StoredNeighbours

_log = structlog.get_logger()

_READS = 2
"""Models whose rows are read, or whose texts are looked for, at once."""

_IDLE_SECONDS = 60.0
# How long texts that nobody asks for stay in memory after a purge, at most. A look is one request.


class NeighbourReader:
    """Reads the rows of models. Thread safe."""

    def __init__(
        self,
        store: ObjectStore,
        cache: FileCache,
        downloader: Downloader,
        *,
        idle_seconds: float = _IDLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read nothing yet.

        Args:
            store: Where from.
            cache: Through which vectors come.
            downloader: Brings them there.
            idle_seconds: Between two looks for texts that nobody asks for.
            clock: Seconds that only grow.
        """
        self._clock = clock
        self._store = store
        self._cache = cache
        self._downloader = downloader
        self._idle_seconds = idle_seconds
        self._executor = ThreadPoolExecutor(_READS, thread_name_prefix="neighbours")
        self._lock = threading.Lock()
        self._given: WeakSet[LazyNeighbours] = WeakSet()
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="purged-texts", daemon=True).start()

    def of(self, published: PublishedModel) -> LazyNeighbours | None:
        """Return what reads the rows of a model; None where it keeps none."""
        if published.neighbours is None:
            return None
        source = _StoredRows(
            published, published.neighbours, self._store, self._cache, self._downloader
        )
        given = LazyNeighbours(source, self._executor, clock=self._clock)
        with self._lock:
            self._given.add(given)
        return given

    def close(self) -> None:
        """End the threads; what is under way is not waited for."""
        with self._lock:
            self._closed.set()
            self._executor.shutdown(wait=False, cancel_futures=True)

    def _watch(self) -> None:
        while not self._closed.wait(self._idle_seconds):
            self._look_again()

    def _look_again(self) -> None:
        with self._lock:
            if not self._closed.is_set():
                for given in self._given:
                    given.look_again()


class _StoredRows:
    """The rows of one model."""

    def __init__(
        self,
        published: PublishedModel,
        stored: StoredNeighbours,
        store: ObjectStore,
        cache: FileCache,
        downloader: Downloader,
    ) -> None:
        self.stored = stored
        self._published = published
        self._store = store
        self._cache = cache
        self._downloader = downloader

    def rows(self) -> Rows:
        if (problem := self.stored.problem) is not None:
            raise self._damaged(problem)
        with self._cache.hold(self.stored.vectors, self._downloader.fetch) as path:
            content = path.read_bytes()
        try:
            found = neighbours.read(
                content,
                rows=self.stored.rows,
                dimension=self._published.dimension,
                labels=len(self._published.labels),
            )
        except ValueError as error:
            raise self._damaged(str(error)) from error
        return Rows.of(found, self._published.labels)

    def texts(self, before: Mapping[int, str]) -> Mapping[int, str]:
        artifact = self.stored.texts
        if artifact is None:
            return {}
        try:
            if self._store.stat(artifact.key) is None:
                return {}
            return before or _read(self._store, artifact)
        except (NotFound, Unavailable):
            return {}
        except (DataLoss, ValueError) as error:
            # Neighbours without texts are better than none.
            _log.warning("neighbour_texts_damaged", key=artifact.key, error=str(error))
            return {}

    def _damaged(self, problem: str) -> DataLoss:
        key, name = self.stored.vectors.key, self._published.name
        return DataLoss(
            f"The training rows that {name} keeps, {key}, cannot explain anything: what is stored "
            f"{problem}. Train it again, or import it again.",
            metadata={"key": key, "name": name},
        )


def _read(store: ObjectStore, artifact: Artifact) -> Mapping[int, str]:
    content = read_all(store, artifact.key, limit=artifact.size)
    if hashlib.sha256(content).hexdigest() != artifact.sha256:
        raise ValueError("It has another sha256 than its manifest says.")
    return parse_texts(content, artifact.key)
