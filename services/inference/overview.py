"""How this server is doing, as one of its callers may see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.common.identity import Principal
from services.common.names import Collection
from services.inference.devices import Device
from services.inference.engines.layout import Layout
from services.inference.model_stats import ModelsStats, ResidentModel
from services.inference.scheduling.stats import SchedulerStats


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the server takes; see the settings of these names."""

    max_texts: int
    max_message_bytes: int
    queue_tokens: int
    queue_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What stays as it was at the start."""

    version: str
    start_time: datetime
    device: Device
    layout: Layout
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """One look at the server."""

    facts: ServerFacts
    time: datetime
    models: ModelsStats
    """Counts are of all tenants."""

    visible: tuple[ResidentModel, ...]
    """The models that the caller may know of, those used last first."""

    scheduler: SchedulerStats

    def before(self, seconds: float) -> datetime:
        """Return the time so long before this look."""
        return self.time - timedelta(seconds=seconds)


class Observer:
    """Looks at the server for its callers."""

    def __init__(
        self,
        facts: ServerFacts,
        *,
        models: Callable[[], ModelsStats],
        scheduler: Callable[[], SchedulerStats],
    ) -> None:
        """Keep where to look."""
        self._facts = facts
        self._models = models
        self._scheduler = scheduler

    def look(self, principal: Principal) -> Overview:
        """Return what a caller may see; the models of other tenants are counted, not named."""
        models = self._models()
        visible = [
            resident
            for resident in reversed(models.residents)
            if resident.key.tenant == principal.tenant
            or resident.key.name.collection is Collection.BASE_MODELS
        ]
        return Overview(
            facts=self._facts,
            time=datetime.now(UTC),
            models=models,
            visible=tuple(visible),
            scheduler=self._scheduler(),
        )
