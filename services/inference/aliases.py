"""What names that move stand for, in memory: a call by an alias that is known asks no store.

Every second or so it is asked what changed. A switch counts once the new model is loaded where
the old one was, so that no call waits for it or fails by it. Knows no requests.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import structlog

from services.common import aliases
from services.common.errors import DataLoss, IsoglossError, NotFound, Unavailable
from services.common.names import ResourceName
from services.common.storage import ObjectStore
from services.inference.alias_target import KeptTargets, Name, Target
from services.inference.alias_watch import AliasWatch
from services.inference.fetched.records import Records
from services.inference.model import Model, Precision
from services.inference.models import Models
from services.inference.preloads import Preloads
from services.inference.residents import ModelKey

_log = structlog.get_logger()

# How long a server that starts counts as not ready while models are preloaded. One whose models
# take longer, or cannot be loaded, serves what it has.
_PRELOAD_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Coming:
    """A switch that waits for its model."""

    target: Target
    loads: list[Future[Model]]


class Aliases:
    """The aliases of all tenants, as this process follows them."""

    def __init__(
        self,
        store: ObjectStore,
        models: Models,
        records: Records,
        *,
        poll_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Know nothing yet.

        Args:
            store: Where they are.
            models: Where the models are loaded.
            records: Where what is known outlives the process.
            poll_seconds: How often it is asked what changed.
            clock: Seconds that only grow.
        """
        self._store = store
        self._models = models
        self._kept = KeptTargets(records)
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._watch = AliasWatch(store, clock)
        self._wanted = Preloads(models, clock)
        self._known: dict[Name, Target] = {}
        self._coming: dict[Name, _Coming] = {}
        self._unreadable: dict[Name, int] = {}
        self._preloads: list[Future[Model]] | None = None
        self._ready_by = clock() + _PRELOAD_SECONDS

    @property
    def ready(self) -> bool:
        """Whether what aliases preload has been loaded since the start, or was waited for."""
        loads = self._preloads
        loaded = loads is not None and all(load.done() for load in loads)
        return loaded or self._clock() > self._ready_by

    def known(self, tenant: str, alias: str) -> ResourceName | None:
        """Return the model that an alias stands for, without waiting; None where it is unknown.

        Raises:
            NotFound: Where the alias was deleted.
        """
        target = self._known.get((tenant, alias))
        return None if target is None else target.found(alias)

    def find(self, tenant: str, alias: str) -> ResourceName:
        """Return the model that an alias stands for, by asking the store.

        Raises:
            NotFound: Where there is no such alias, or it was deleted.
            DataLoss: Where it cannot be read.
            Unavailable: Where the store does not answer.
        """
        record = aliases.find(self._store, tenant, alias)
        if record is None:
            raise NotFound(f"aliases/{alias}", hint="`isogloss aliases list` shows what there is.")
        target, known = Target.of(record), self._known.get((tenant, alias))
        if known is None or known.version < target.version:
            self._known[tenant, alias] = target
        return target.found(alias)

    async def serve(self) -> None:
        """Look again and again, until cancelled."""
        reached = True
        while True:
            try:
                await asyncio.to_thread(self.look)
                reached = True
            except IsoglossError as error:
                # What is known goes on being served; one line for an outage.
                if reached:
                    _log.warning("aliases_not_read", error=error.message)
                reached = False
            except Exception:  # noqa: BLE001 (logged in full, and the aliases are followed on)
                _log.exception("aliases_not_followed")
            await asyncio.sleep(self._poll_seconds)

    def look(self) -> None:
        """Follow what changed since the last look.

        Raises:
            Unavailable: Where the store does not answer; the first time, what was known when
                this machine last asked is known again.
        """
        if self._preloads is not None:
            # The result of a load is a model, which must be free to leave memory.
            self._preloads = [load for load in self._preloads if not load.done()]
        try:
            for tenant in {*self._watch.due(), *(tenant for tenant, _ in self._coming)}:
                self._look_at(tenant)
        except Unavailable:
            if self._preloads is None:
                self._recall()
            else:
                # What calls have found since the last look must outlive the process, too.
                self._kept.keep_found(dict(self._known))
            raise
        self._kept.keep(dict(self._known))
        self._wanted.want(frozenset(self._preloaded()))
        if self._preloads is None:
            self._preloads = [load for coming in self._coming.values() for load in coming.loads]

    def _look_at(self, tenant: str) -> None:
        before = {name: target for name, target in dict(self._known).items() if name[0] == tenant}
        newest = aliases.newest(self._store, tenant)
        self._watch.looked(tenant)
        waiting = {name for name in self._coming if name[0] == tenant}
        for name in before.keys() | waiting:
            if name[1] not in newest:
                # Deleted long ago, and cleared away.
                self._known.pop(name, None)
                self._coming.pop(name, None)
        for alias, version in newest.items():
            name = (tenant, alias)
            known = self._known.get(name)
            if known is not before.get(name):
                # A call has asked meanwhile, and may know more than this list does.
                continue
            if known is None or known.version != version:
                self._follow(name, version, known)

    def _recall(self) -> None:
        self._known = self._kept.recall() | self._known
        preloaded = self._preloaded()
        self._models.pin(frozenset(preloaded))
        self._preloads = [self._models.request(key) for key in preloaded]

    def _follow(self, name: Name, version: int, known: Target | None) -> None:
        coming = self._coming.get(name)
        if coming is None or coming.target.version != version:
            target = self._read(name, version)
            if target is None:
                return
            loads = [self._models.request(key) for key in self._needed(name[0], known, target)]
            coming = self._coming[name] = _Coming(target=target, loads=loads)
        if not all(load.done() for load in coming.loads):
            return
        del self._coming[name]
        errors = [load.exception() for load in coming.loads]
        if any(isinstance(error, Unavailable) for error in errors):
            self._watch.again(name[0])
            return
        # Whatever else a model fails by is told to those who call: the switch is what was wanted.
        self._known[name] = coming.target
        _log.info(
            "alias_followed",
            tenant=name[0],
            alias=name[1],
            version=version,
            model=str(coming.target.model),
            loaded=errors.count(None),
        )

    def _read(self, name: Name, version: int) -> Target | None:
        if self._unreadable.get(name) == version:
            return None
        try:
            return Target.of(aliases.read(self._store, *name, version))
        except NotFound:
            return None  # cleared away since it was listed
        except DataLoss as error:
            self._unreadable[name] = version
            _log.error("alias_unreadable", tenant=name[0], alias=name[1], error=error.message)
            return None

    def _needed(self, tenant: str, known: Target | None, target: Target) -> list[ModelKey]:
        """Return what has to be in memory before a switch counts."""
        if target.model is None:
            return []
        wanted = {Precision.EXACT} if target.preload else set()
        if known is not None and known.model is not None:
            wanted |= {
                precision
                for precision in Precision
                if self._models.holds(ModelKey.of(tenant, known.model, precision))
            }
        return [ModelKey.of(tenant, target.model, precision) for precision in wanted]

    def _preloaded(self) -> list[ModelKey]:
        coming = [(name, waiting.target) for name, waiting in self._coming.items()]
        return [
            ModelKey.of(name[0], target.model, Precision.EXACT)
            for name, target in [*list(self._known.items()), *coming]
            if target.preload and target.model is not None
        ]
