"""Which models are in memory, how large they are, and which of them goes next.

Must not know where models come from.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import Self

import structlog

from services.common import layout
from services.common.names import Collection, ResourceName
from services.common.storage import ObjectInfo
from services.inference.engine import Engine
from services.inference.model import Model, Precision

_log = structlog.get_logger()

# A model that was let go takes its memory until the calls that compute with it are done. So long
# the next one waits for its room, and is then opened all the same, in seconds.
_LEAVING_SECONDS = 2.0
_LEAVING_POLL_SECONDS = 0.01

# How long it is waited until a model that was deleted is free to be given back to the system.
_FORGOTTEN_SECONDS = 0.5


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


@dataclass(slots=True, kw_only=True)
class Resident:
    """A model in memory."""

    model: Model
    version: ObjectInfo
    """The manifest that it was opened from."""

    size: int
    """Bytes."""

    since: float
    """When it was loaded, like all times by the clock of its owner."""

    seen: float
    """When the store last had it."""

    used: float
    """When a call last took it."""

    calls: int = 0
    """How many did."""


@dataclass(frozen=True, slots=True)
class _Leaving:
    engine: weakref.ref[Engine]
    size: int


class Residents:
    """Models in memory, those used longest ago first. Thread safe."""

    def __init__(self, max_bytes: int) -> None:
        """Hold nothing yet.

        Args:
            max_bytes: Of all together.
        """
        self.max_bytes = max_bytes
        self.evictions = 0
        """Models that went to make room."""

        self._lock = threading.Lock()
        self._models: OrderedDict[ModelKey, Resident] = OrderedDict()
        self._pinned: frozenset[ModelKey] = frozenset()
        self._leaving: list[_Leaving] = []

    @property
    def pinned(self) -> frozenset[ModelKey]:
        """Models that go last."""
        return self._pinned

    def all(self) -> list[tuple[ModelKey, Resident]]:
        """Return all, those used longest ago first."""
        with self._lock:
            return list(self._models.items())

    def get(self, key: ModelKey) -> Resident | None:
        """Return a model's place, where it has one."""
        with self._lock:
            return self._models.get(key)

    def use(self, key: ModelKey, now: float) -> None:
        """Note that a call takes a model."""
        with self._lock:
            resident = self._models.get(key)
            if resident is not None:
                self._models.move_to_end(key)
                resident.used, resident.calls = now, resident.calls + 1

    def add(self, key: ModelKey, resident: Resident) -> None:
        """Take a model in; others go where it is larger than the room that was made for it."""
        with self._lock:
            self._models[key] = resident
            self._evict(0, but=key)

    def drop(self, key: ModelKey) -> None:
        """Let a model go, where it is here."""
        with self._lock:
            if key in self._models:
                self._drop(key)

    def pin(self, keys: frozenset[ModelKey]) -> None:
        """Let these go last, instead of those that were pinned before."""
        self._pinned = keys

    def make_room(self, size: int) -> None:
        """Let models go until there is room for `size` bytes more, and wait until they went."""
        with self._lock:
            room = self._evict(size)
        self._wait_until_left(room, _LEAVING_SECONDS)

    def wait_until_left(self) -> None:
        """Wait until what was let go is out of memory, within reason."""
        self._wait_until_left(0, _FORGOTTEN_SECONDS)

    def _evict(self, size: int, *, but: ModelKey | None = None) -> int:
        """Return the room that is left."""
        others = [key for key in self._models if key != but]
        # In the order of their last use, and those that are pinned behind all others.
        others.sort(key=lambda key: key in self._pinned)
        room = self.max_bytes - size - sum(resident.size for resident in self._models.values())
        for key in others:
            if room >= 0:
                break
            room += self._drop(key)
            self.evictions += 1
        return room

    def _drop(self, key: ModelKey) -> int:
        resident = self._models.pop(key)
        # Calls that are computing keep it alive until they are done.
        self._leaving.append(_Leaving(weakref.ref(resident.model.engine), resident.size))
        _log.info("model_dropped", model=str(key.name), bytes=resident.size)
        return resident.size

    def _wait_until_left(self, room: int, seconds: float) -> None:
        """Wait until models that were let go take no more than `room` bytes."""
        end = time.monotonic() + seconds
        while True:
            with self._lock:
                self._leaving = [left for left in self._leaving if left.engine() is not None]
                size = sum(left.size for left in self._leaving)
            if size <= room or time.monotonic() > end:
                return
            time.sleep(_LEAVING_POLL_SECONDS)
