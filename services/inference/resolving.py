"""From the name that a caller says to a model in memory; aliases on the way.

On the event loop. Knows neither requests nor responses.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from services.common.errors import FailedPrecondition, NotFound, Reason
from services.common.names import Collection, ResourceName
from services.inference.aliases import Aliases
from services.inference.model import Model, Precision
from services.inference.models import Models
from services.inference.residents import ModelKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model that is ready to compute, and what that took."""

    model: Model
    seconds: float | None
    """How long the caller waited for it; None where it was in memory."""


class Resolver:
    """Finds the models that names stand for."""

    def __init__(self, models: Models, aliases: Aliases) -> None:
        """Look in `models`, also by `aliases`."""
        self._models = models
        self._aliases = aliases

    async def find(self, tenant: str, name: ResourceName, precision: Precision | None) -> Loaded:
        """Return what `tenant` means by `name`, loaded.

        Args:
            tenant: Who asks.
            name: Of a model, a base or an alias.
            precision: Of which variant; None for one that is in memory, or EXACT.

        Raises:
            NotFound: Where there is no such model or alias.
            FailedPrecondition: Where the model is not READY or lacks the precision, or the
                alias stands for one that was deleted.
            IsoglossError: Whatever else keeps it from being loaded.
        """
        if name.collection is not Collection.ALIASES:
            return await self._loaded(tenant, name, precision)
        target = self._aliases.known(tenant, name.id)
        if target is None:
            target = await asyncio.to_thread(self._aliases.find, tenant, name.id)
        try:
            return await self._loaded(tenant, target, precision)
        except NotFound as error:
            # The alias may have been switched a moment ago, and the old model deleted at once.
            now = await asyncio.to_thread(self._aliases.find, tenant, name.id)
            if now == target:
                raise _broken(name, target) from error
        return await self._loaded(tenant, now, precision)

    async def _loaded(self, tenant: str, name: ResourceName, precision: Precision | None) -> Loaded:
        key = ModelKey.of(tenant, name, precision or self._held(tenant, name))
        model = self._models.ready(key)
        if model is not None:
            return Loaded(model=model, seconds=None)
        began = time.monotonic()
        model = await asyncio.wrap_future(self._models.request(key))
        return Loaded(model=model, seconds=time.monotonic() - began)

    def _held(self, tenant: str, name: ResourceName) -> Precision:
        keys = (ModelKey.of(tenant, name, precision) for precision in Precision)
        held = (key.precision for key in keys if self._models.holds(key))
        return next(held, Precision.EXACT)


def _broken(alias: ResourceName, target: ResourceName) -> FailedPrecondition:
    return FailedPrecondition(
        f"{alias} stands for {target}, which was deleted. Switch it with `isogloss aliases set "
        f"{alias} MODEL`, or go back with `isogloss aliases rollback {alias}`.",
        reason=Reason.ALIAS_BROKEN,
        metadata={"name": str(alias), "model": str(target)},
        subjects=[str(target)],
    )
