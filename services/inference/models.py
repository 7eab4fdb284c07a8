"""The models in memory: found by name, opened once, bounded, gone when they are deleted."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog

from services.common import layout
from services.common.errors import (
    DataLoss,
    FailedPrecondition,
    IsoglossError,
    NotFound,
    Reason,
    ResourceExhausted,
    Unavailable,
)
from services.common.names import Collection
from services.inference.background import leave_processors
from services.inference.fetched.guarded_store import GuardedStore
from services.inference.fetched.published import Found, Manifests
from services.inference.manifests import PublishedModel, parse_published
from services.inference.memory import give_back
from services.inference.model import Model
from services.inference.model_stats import ModelsStats, ResidentModel
from services.inference.opening import Files, Opener
from services.inference.residents import ModelKey, Resident, Residents

_log = structlog.get_logger()

# A model is served without a look at the store for this long after the last one, in seconds;
# then it is served while somebody looks; and after the second time only once it was seen.
# Together with one look they are how late a deletion is noticed. They stand still while the
# store does not answer: what was verified once is right as long as nobody says otherwise.
_FRESH_SECONDS = 2.0
_STALE_SECONDS = 10.0

# How long a model that cannot be opened answers with its error before it is tried again, in
# seconds. Opening fetches and hashes whole files: not for every call.
_FAILURE_SECONDS = 10.0

# A base is downloaded and exported in minutes; an older mark was left by a crash.
_PUBLISHING = timedelta(hours=1)
_PUBLISHING_RETRY_SECONDS = 5.0

# Looks at once, and loads. They wait for the store and the disk far more than they compute; and
# looks must not wait for loads: a model that is served would count as unseen meanwhile.
_LOOKS = 8
_LOADS = 8


@dataclass(slots=True)
class _Counts:
    hits: int = 0
    misses: int = 0
    loads: int = 0
    failures: int = 0


class Models:
    """All models that this process serves. Thread safe."""

    def __init__(
        self,
        store: GuardedStore,
        manifests: Manifests,
        opener: Opener,
        *,
        max_bytes: int,
        step_back: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open nothing yet.

        Args:
            store: Where it is looked whether models are on their way.
            manifests: Which models there are.
            opener: Opens what they name.
            max_bytes: Memory for all models.
            step_back: Whether the thread that opens models leaves the processors to others.
            clock: Seconds that only grow.
        """
        self._store = store
        self._manifests = manifests
        self._opener = opener
        self._clock = clock
        self._lock = threading.Lock()
        self._residents = Residents(max_bytes)
        self._flights: dict[ModelKey, Future[Model]] = {}
        self._failures: dict[ModelKey, tuple[IsoglossError, float]] = {}
        self._counts = _Counts()
        self._looking = ThreadPoolExecutor(_LOOKS, thread_name_prefix="looking")
        # Hashing a file of 90 MB takes a processor for 0.1 s.
        self._loading = ThreadPoolExecutor(
            _LOADS, thread_name_prefix="loading", initializer=leave_processors
        )
        # One after the other: opening computes, and whoever is served has the cores; and what
        # a model takes is measured.
        self._opening = ThreadPoolExecutor(
            1, thread_name_prefix="opening", initializer=leave_processors if step_back else None
        )
        # Begins its thread here: one that a loading thread begins would inherit its priority.
        self._opening.submit(int)

    def ready(self, key: ModelKey) -> Model | None:
        """Return the model where it can be used at once, without waiting for anything."""
        resident = self._residents.get(key)
        if resident is None:
            return None
        now = self._clock()
        age = now - resident.seen
        if age > _FRESH_SECONDS and self._store.answers:
            if age > _STALE_SECONDS:
                return None
            self._look_for(key)
        self._residents.use(key, now)
        with self._lock:
            self._counts.hits += 1
        return resident.model

    def holds(self, key: ModelKey) -> bool:
        """Return whether the model is in memory, however long ago it was used."""
        return self._residents.get(key) is not None

    def pin(self, keys: frozenset[ModelKey]) -> None:
        """Let these go last where memory runs out, instead of those that were pinned before."""
        self._residents.pin(keys)

    def stats(self) -> ModelsStats:
        """Return what there is to tell at this moment."""
        now, residents, pinned = self._clock(), self._residents.all(), self._residents.pinned
        with self._lock:
            counts, loading = replace(self._counts), len(self._flights)
        return ModelsStats(
            residents=tuple(
                ResidentModel(
                    key=key,
                    digest=resident.model.digest,
                    size=resident.size,
                    resident_seconds=now - resident.since,
                    idle_seconds=now - resident.used,
                    calls=resident.calls,
                    pinned=key in pinned,
                )
                for key, resident in residents
            ),
            size=sum(resident.size for _, resident in residents),
            max_size=self._residents.max_bytes,
            loading=loading,
            hits=counts.hits,
            misses=counts.misses,
            loads=counts.loads,
            evictions=self._residents.evictions,
            failures=counts.failures,
            outage_seconds=self._store.outage_seconds,
        )

    def request(self, key: ModelKey) -> Future[Model]:
        """Return the model to come; all who ask at the same time share one load.

        The future raises:
            NotFound: Where there is no such model.
            FailedPrecondition: Where it is not READY, or lacks the precision.
            DataLoss: Where its files are damaged.
            ResourceExhausted: Where it is larger than this server takes.
            Unavailable: Where the store does not answer.
        """
        with self._lock:
            self._counts.misses += 1
        return self._look_for(key)

    def close(self) -> None:
        """End the threads; what is loading is not waited for."""
        for executor in (self._looking, self._loading, self._opening):
            executor.shutdown(wait=False, cancel_futures=True)
        self._opener.close()

    def _look_for(self, key: ModelKey) -> Future[Model]:
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight
            flight = Future()
            # Shared by many callers: one that goes away must not cancel it.
            flight.set_running_or_notify_cancel()
            error, until = self._failures.get(key, (None, 0.0))
            if error is not None and self._clock() < until:
                flight.set_exception(error)
            else:
                self._failures.pop(key, None)
                self._flights[key] = flight
                self._looking.submit(self._look, key, flight)
            return flight

    def _look(self, key: ModelKey, flight: Future[Model]) -> None:
        try:
            found = self._compare(key)
            if isinstance(found, Found):
                # Not on a thread of low priority: reading it needs Python's lock, and whoever
                # has that must not wait for a processor.
                published = self._published(key, found)
                self._loading.submit(self._load, key, found, published, flight)
                return
        except BaseException as error:  # noqa: BLE001 (whoever waits for the future gets it)
            self._land(key, flight, error)
        else:
            self._land(key, flight, found)

    def _load(
        self, key: ModelKey, found: Found, published: PublishedModel, flight: Future[Model]
    ) -> None:
        try:
            model = self._load_new(key, found, published)
        except BaseException as error:  # noqa: BLE001 (as above)
            self._land(key, flight, error)
        else:
            self._land(key, flight, model)

    def _land(self, key: ModelKey, flight: Future[Model], end: Model | BaseException) -> None:
        with self._lock:
            del self._flights[key]
        if isinstance(end, BaseException):
            flight.set_exception(end)
        else:
            flight.set_result(end)

    def _compare(self, key: ModelKey) -> Model | Found:
        """Compare what is resident with the store, and return what has to be opened."""
        resident = self._residents.get(key)
        try:
            found = self._manifests.find(key.manifest)
        except Unavailable:
            if resident is None:
                raise
            return resident.model
        if resident is not None and found is not None and resident.version == found.info:
            if found.record is None:
                resident.seen = self._clock()
            return resident.model
        if resident is not None:
            self._forget(key)
        if found is None:
            raise self._absent(key)
        return found

    def _load_new(self, key: ModelKey, found: Found, published: PublishedModel) -> Model:
        started = time.perf_counter()
        try:
            with self._opener.files(published, key.precision) as files:
                fetched = time.perf_counter()
                resident = self._opening.submit(self._open, key, found, published, files).result()
        except DataLoss as error:
            self._refuse(key, error)
            raise
        _log.info(
            "model_loaded",
            model=resident.model.name,
            precision=resident.model.precision,
            digest=resident.model.digest,
            bytes=resident.size,
            fetch_seconds=round(fetched - started, 3),
            seconds=round(time.perf_counter() - started, 3),
        )
        return resident.model

    def _published(self, key: ModelKey, found: Found) -> PublishedModel:
        try:
            return parse_published(self._manifests.read(found), key.manifest)
        except NotFound as error:  # deleted since the look; its own error names a store key
            raise self._absent(key) from error
        except DataLoss as error:
            self._refuse(key, error)
            raise

    def _open(
        self, key: ModelKey, found: Found, published: PublishedModel, files: Files
    ) -> Resident:
        size = self._opener.size(published, key.precision)
        if size > self._residents.max_bytes:
            raise ResourceExhausted(
                f"{key.name} takes about {size} bytes of memory, and this server has "
                f"{self._residents.max_bytes} for models. Let the operator raise "
                "ISOGLOSS_INFERENCE_MODEL_MEMORY_BYTES.",
                reason=Reason.LIMIT_EXCEEDED,
                metadata={"size": str(size), "limit": str(self._residents.max_bytes)},
            )
        self._residents.make_room(size)
        try:
            opened = self._opener.open(published, key.precision, files)
        except Unavailable as error:
            # What ends those that compute must not do so for every call.
            self._refuse(key, error)
            raise
        now = self._clock()
        resident = Resident(
            model=opened.model,
            version=found.info,
            size=opened.size,
            since=now,
            # What only a record vouches for is looked for as soon as the store answers.
            seen=now if found.record is None else -math.inf,
            used=now,
        )
        self._residents.add(key, resident)
        with self._lock:
            self._counts.loads += 1
        give_back()
        return resident

    def _forget(self, key: ModelKey) -> None:
        self._residents.drop(key)

        def tidy() -> None:
            self._residents.wait_until_left()
            give_back()

        self._opening.submit(tidy)

    def _refuse(self, key: ModelKey, error: IsoglossError) -> None:
        _log.error("model_refused", model=str(key.name), tenant=key.tenant, error=str(error))
        with self._lock:
            self._counts.failures += 1
            self._failures[key] = (error, self._clock() + _FAILURE_SECONDS)

    def _absent(self, key: ModelKey) -> IsoglossError:
        """Tell a model that is not READY from one that does not exist."""
        name = str(key.name)
        if key.name.collection is Collection.BASE_MODELS:
            mark = self._store.stat(layout.base_model_pending(key.name.id))
            if mark is not None and datetime.now(UTC) - mark.modified < _PUBLISHING:
                return _not_ready(
                    name,
                    "is being published by a trainer, which takes minutes at most: try again.",
                    retry_after=_PUBLISHING_RETRY_SECONDS,
                )
            return NotFound(name, hint="`isogloss models bases` shows the bases that exist.")
        # The trainer leaves this mark when a model is created, and its manifest when READY.
        if self._store.stat(layout.model_pending(key.tenant, key.name.id)) is None:
            return NotFound(name, hint="`isogloss models list` shows the models that exist.")
        return _not_ready(
            name,
            "is not READY yet: it is queued, training, failed or cancelled; "
            f"`isogloss models show {name}` tells.",
        )


def _not_ready(name: str, problem: str, *, retry_after: float | None = None) -> FailedPrecondition:
    return FailedPrecondition(
        f"{name} {problem}",
        reason=Reason.MODEL_NOT_READY,
        metadata={"name": name},
        retry_after=retry_after,
        subjects=[name],
    )
