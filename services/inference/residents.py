"""Which models are in memory, how large they are, and which of them goes next.

Not thread safe: its owner locks. Must not know where models come from.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from services.common import layout
from services.common.names import Collection, ResourceName
from services.common.storage import ObjectInfo
from services.inference.model import Model, Precision


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


class Residents:
    """Models in memory, those used longest ago first."""

    def __init__(self, max_bytes: int) -> None:
        """Hold nothing yet.

        Args:
            max_bytes: Of all together.
        """
        self.max_bytes = max_bytes
        self._models: OrderedDict[ModelKey, Resident] = OrderedDict()
        self._pinned: frozenset[ModelKey] = frozenset()

    @property
    def size(self) -> int:
        """Bytes of all together."""
        return sum(resident.size for resident in self._models.values())

    def items(self) -> Iterator[tuple[ModelKey, Resident]]:
        """Yield all, those used longest ago first."""
        yield from self._models.items()

    def get(self, key: ModelKey) -> Resident | None:
        """Return a model's place, where it has one."""
        return self._models.get(key)

    def use(self, key: ModelKey, now: float) -> None:
        """Note that a call takes a model that is here."""
        self._models.move_to_end(key)
        resident = self._models[key]
        resident.used, resident.calls = now, resident.calls + 1

    def add(self, key: ModelKey, resident: Resident) -> None:
        """Take a model in."""
        self._models[key] = resident

    def remove(self, key: ModelKey) -> Resident:
        """Let a model go that is here."""
        return self._models.pop(key)

    def pin(self, keys: frozenset[ModelKey]) -> None:
        """Let these go last, instead of those that were pinned before."""
        self._pinned = keys

    def pinned(self, key: ModelKey) -> bool:
        """Return whether a model goes last."""
        return key in self._pinned

    def next_to_go(self, *, but: ModelKey) -> ModelKey | None:
        """Return which model is let go first, other than `but`; None where there is none."""
        others = [key for key in self._models if key != but]
        return next((key for key in others if key not in self._pinned), next(iter(others), None))
