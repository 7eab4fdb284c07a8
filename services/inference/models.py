"""The models in memory: found by name, opened once, bounded, gone when they are deleted."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Self

import structlog

from services.common import layout
from services.common.errors import (
    FailedPrecondition,
    IsoglossError,
    NotFound,
    Reason,
    ResourceExhausted,
    Unavailable,
)
from services.common.names import Collection, ResourceName
from services.common.storage import ObjectInfo, ObjectStore
from services.inference.manifests import PublishedModel, read_published
from services.inference.model import Model, Precision
from services.inference.opening import Opener

_log = structlog.get_logger()

# A model is served without a look at the store for this long after the last one, in seconds;
# then it is served while somebody looks; and after the second time only once it was seen.
# Together with one look they are how late a deletion is noticed.
_FRESH_SECONDS = 2.0
_STALE_SECONDS = 10.0

# How long a model that cannot be opened answers with its error before it is tried again, in
# seconds. Opening fetches and hashes whole files: not for every call.
_FAILURE_SECONDS = 10.0

# Loads and looks at once. They wait for the store and the disk far more than they compute,
# and memory is reserved before a load begins.
_LOADERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelKey:
    """What a caller asks for; equal keys are the same model in memory."""

    tenant: str
    """Whose model; empty for a base, which all tenants share."""

    name: ResourceName
    precision: Precision

    @classmethod
    def of(cls, tenant: str, name: ResourceName, precision: Precision) -> Self:
        """Return the key of what a caller of `tenant` means by `name`."""
        shared = name.collection is Collection.BASE_MODELS
        return cls(tenant="" if shared else tenant, name=name, precision=precision)

    @property
    def manifest(self) -> str:
        """Key of its manifest; another tenant's is out of reach by construction."""
        if self.name.collection is Collection.BASE_MODELS:
            return layout.base_model_manifest(self.name.id)
        return layout.model_manifest(self.tenant, self.name.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resident:
    model: Model
    version: ObjectInfo
    size: int
    seen: float
    """When the store last had it, by the clock of `Models`."""


class Models:
    """All models that this process serves. Thread safe."""

    def __init__(
        self,
        store: ObjectStore,
        opener: Opener,
        *,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open nothing yet.

        Args:
            store: Where manifests are looked up.
            opener: Opens what they name.
            max_bytes: Memory for all models, as the opener estimates it.
            clock: Seconds that only grow.
        """
        self._store = store
        self._opener = opener
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._residents: OrderedDict[ModelKey, _Resident] = OrderedDict()
        self._reserved = 0
        self._flights: dict[ModelKey, Future[Model]] = {}
        self._failures: dict[ModelKey, tuple[IsoglossError, float]] = {}
        self._pinned: frozenset[ModelKey] = frozenset()
        self._executor = ThreadPoolExecutor(_LOADERS, thread_name_prefix="models")

    def ready(self, key: ModelKey) -> Model | None:
        """Return the model where it can be used at once, without waiting for anything."""
        with self._lock:
            resident = self._residents.get(key)
            if resident is None:
                return None
            age = self._clock() - resident.seen
            if age > _STALE_SECONDS:
                return None
            self._residents.move_to_end(key)
        if age > _FRESH_SECONDS:
            self.request(key)
        return resident.model

    def holds(self, key: ModelKey) -> bool:
        """Return whether the model is in memory, however long ago it was used."""
        with self._lock:
            return key in self._residents

    def pin(self, keys: frozenset[ModelKey]) -> None:
        """Let these go last where memory runs out, instead of those that were pinned before."""
        with self._lock:
            self._pinned = keys

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
                self._executor.submit(self._load, key, flight)
            return flight

    def close(self) -> None:
        """End the threads; what is loading is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _load(self, key: ModelKey, flight: Future[Model]) -> None:
        try:
            model = self._look(key)
        except BaseException as error:  # noqa: BLE001 (whoever waits for the future gets it)
            self._land(key)
            flight.set_exception(error)
        else:
            self._land(key)
            flight.set_result(model)

    def _land(self, key: ModelKey) -> None:
        with self._lock:
            del self._flights[key]

    def _look(self, key: ModelKey) -> Model:
        """Compare what is resident with the store, and open what is not."""
        with self._lock:
            resident = self._residents.get(key)
        try:
            version = self._store.stat(key.manifest)
        except Unavailable:
            if resident is None:
                raise
            # What was verified once is right as long as nobody says otherwise: a store that
            # is down must not take the models in memory down with it.
            _log.warning("store_unavailable", model=str(key.name), serving="from memory")
            version = resident.version
        if version is None:
            self._forget(key)
            raise self._absent(key)
        if resident is not None and resident.version == version:
            with self._lock:
                if key in self._residents:
                    self._residents[key] = replace(resident, seen=self._clock())
            return resident.model
        self._forget(key)
        return self._open(key, version)

    def _open(self, key: ModelKey, version: ObjectInfo) -> Model:
        started = time.perf_counter()
        try:
            published = self._published(key)
            size = self._opener.size(published, key.precision)
            self._reserve(size, key)
            try:
                model = self._opener.open(published, key.precision)
                with self._lock:
                    self._residents[key] = _Resident(
                        model=model, version=version, size=size, seen=self._clock()
                    )
            finally:
                with self._lock:
                    self._reserved -= size
                    self._room.notify_all()
        except (NotFound, Unavailable, ResourceExhausted, FailedPrecondition):
            # These cost no more than a manifest, or may be over at any moment.
            raise
        except IsoglossError as error:
            _log.error("model_refused", model=str(key.name), tenant=key.tenant, error=str(error))
            with self._lock:
                self._failures[key] = (error, self._clock() + _FAILURE_SECONDS)
            raise
        _log.info(
            "model_loaded",
            model=model.name,
            precision=model.precision,
            digest=model.digest,
            bytes=size,
            seconds=round(time.perf_counter() - started, 3),
        )
        return model

    def _published(self, key: ModelKey) -> PublishedModel:
        try:
            return read_published(self._store, key.manifest)
        except NotFound as error:  # deleted since the look; its own error names a store key
            raise self._absent(key) from error

    def _reserve(self, size: int, key: ModelKey) -> None:
        """Make room for a model, dropping those used longest ago."""
        with self._lock:
            if size > self._max_bytes:
                raise ResourceExhausted(
                    f"{key.name} takes about {size} bytes of memory, and this server has "
                    f"{self._max_bytes} for models. Let the operator raise "
                    "ISOGLOSS_INFERENCE_MODEL_MEMORY_BYTES.",
                    reason=Reason.LIMIT_EXCEEDED,
                    metadata={"size": str(size), "limit": str(self._max_bytes)},
                )
            while self._reserved + size > self._max_bytes:
                self._room.wait()  # for loads that end soon, well or not
            self._reserved += size
            used = self._reserved + sum(other.size for other in self._residents.values())
            while used > self._max_bytes and self._residents:
                # Calls that are computing keep it alive until they are done.
                dropped = next(
                    (key for key in self._residents if key not in self._pinned),
                    next(iter(self._residents)),
                )
                resident = self._residents.pop(dropped)
                used -= resident.size
                _log.info("model_dropped", model=str(dropped.name), bytes=resident.size)

    def _forget(self, key: ModelKey) -> None:
        with self._lock:
            self._residents.pop(key, None)

    def _absent(self, key: ModelKey) -> IsoglossError:
        """Tell a model that is not READY from one that does not exist."""
        name = str(key.name)
        if key.name.collection is Collection.BASE_MODELS:
            return NotFound(name, hint="`isogloss models bases` shows the bases that exist.")
        # The trainer leaves this mark when a model is created, and its manifest when READY.
        if self._store.stat(layout.model_pending(key.tenant, key.name.id)) is None:
            return NotFound(name, hint="`isogloss models list` shows the models that exist.")
        return FailedPrecondition(
            f"{name} is not READY yet: it is queued, training, failed or cancelled; "
            f"`isogloss models show {name}` tells.",
            reason=Reason.MODEL_NOT_READY,
            metadata={"name": name},
            subjects=[name],
        )
