"""What names that move stand for, in memory: a call by an alias that is known asks no store.

All aliases are looked at again every second or so. A switch counts once the new model is loaded
where the old one was, so that no call waits for it or fails by it. Knows no requests.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass

import structlog

from isogloss.storage.v1.alias_record_pb2 import AliasRecord
from services.common import aliases
from services.common.errors import DataLoss, IsoglossError, NotFound, Unavailable
from services.common.names import Collection, ResourceName, parse
from services.common.storage import ObjectStore
from services.inference.model import Model, Precision
from services.inference.models import Models
from services.inference.residents import ModelKey

_log = structlog.get_logger()

Name = tuple[str, str]
"""Tenant and alias."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    version: int
    model: ResourceName | None
    """None: the alias was deleted."""

    preload: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Coming:
    """A switch that waits for its model."""

    target: _Target
    loads: list[Future[Model]]


class Aliases:
    """The aliases of all tenants, as this process follows them.

    Args:
        store: Where they are.
        models: Where the models are loaded.
        poll_seconds: How often all aliases are looked at.
    """

    def __init__(self, store: ObjectStore, models: Models, *, poll_seconds: float) -> None:
        """Know nothing yet."""
        self._store = store
        self._models = models
        self._poll_seconds = poll_seconds
        self._known: dict[Name, _Target] = {}
        self._coming: dict[Name, _Coming] = {}
        self._unreadable: dict[Name, int] = {}

    def known(self, tenant: str, alias: str) -> ResourceName | None:
        """Return the model that an alias stands for, without waiting; None where it is unknown.

        Raises:
            NotFound: Where the alias was deleted.
        """
        target = self._known.get((tenant, alias))
        return None if target is None else _model(alias, target)

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
        target, known = _target(record), self._known.get((tenant, alias))
        if known is None or known.version < target.version:
            self._known[tenant, alias] = target
        return _model(alias, target)

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
        """Compare what is known with the store, and follow what changed.

        Raises:
            Unavailable: Where the store does not answer.
        """
        before = dict(self._known)
        current = {
            (tenant, alias): version
            for tenant in aliases.tenants(self._store)
            for alias, version in aliases.newest(self._store, tenant).items()
        }
        for name in (before.keys() | self._coming.keys()) - current.keys():
            # Deleted long ago, and cleared away.
            self._known.pop(name, None)
            self._coming.pop(name, None)
        for name, version in current.items():
            known = self._known.get(name)
            if known is not before.get(name):
                # A call has asked meanwhile, and may know more than this list does.
                continue
            if known is None or known.version != version:
                self._follow(name, version, known)
        self._models.pin(frozenset(self._preloaded()))

    def _follow(self, name: Name, version: int, known: _Target | None) -> None:
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
            return  # asked for again by the next look
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

    def _read(self, name: Name, version: int) -> _Target | None:
        if self._unreadable.get(name) == version:
            return None
        try:
            return _target(aliases.read(self._store, *name, version))
        except NotFound:
            return None  # cleared away since it was listed
        except DataLoss as error:
            self._unreadable[name] = version
            _log.error("alias_unreadable", tenant=name[0], alias=name[1], error=error.message)
            return None

    def _needed(self, tenant: str, known: _Target | None, target: _Target) -> list[ModelKey]:
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


def _target(record: AliasRecord) -> _Target:
    return _Target(
        version=record.version,
        model=parse(record.model, Collection.MODELS) if record.model else None,
        preload=record.preload,
    )


def _model(alias: str, target: _Target) -> ResourceName:
    if target.model is None:
        name = f"aliases/{alias}"
        raise NotFound(
            name, hint=f"It was deleted: `isogloss aliases rollback {name}` brings it back."
        )
    return target.model
