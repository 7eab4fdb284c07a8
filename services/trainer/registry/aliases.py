"""Aliases as callers see them: what each stands for, and what it stood for before.

The object store is all there is: no row, and nothing in memory. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from isogloss.storage.v1.alias_record_pb2 import AliasRecord
from services.common import aliases
from services.common.errors import FailedPrecondition, NotFound, Reason
from services.common.pagination import Page, PageRequest, cut_page
from services.common.storage import ObjectStore


class Aliases:
    """The aliases of all tenants.

    Args:
        store: Where they are.
    """

    def __init__(self, store: ObjectStore) -> None:
        """Keep the store."""
        self._store = store

    def get(self, tenant: str, alias: str) -> AliasRecord:
        """Return the current version.

        Raises:
            NotFound: Where there is none, or it was deleted.
        """
        found = aliases.find(self._store, tenant, alias)
        if found is None or not found.model:
            raise absent(alias, deleted=found is not None)
        return found

    def list(self, tenant: str, request: PageRequest) -> Page[tuple[str, AliasRecord]]:
        """Return a page of aliases with their current versions, by id."""
        after = "" if request.cursor is None else str(request.cursor[0])
        return cut_page(
            self.living(tenant, after=after),
            request=request,
            cursor_of=lambda found: (found[0],),
        )

    def versions(self, tenant: str, alias: str, request: PageRequest) -> Page[AliasRecord]:
        """Return a page of the versions of an alias, newest first, deletions among them.

        Raises:
            NotFound: Where there never was such an alias.
        """
        kept = aliases.versions(self._store, tenant, alias)
        if not kept:
            raise absent(alias, deleted=False)
        if request.cursor is not None:
            kept = [version for version in kept if version < _number(request.cursor[0])]
        return cut_page(
            self.records(tenant, alias, reversed(kept)),
            request=request,
            cursor_of=lambda record: (record.version,),
        )

    def standing_for(self, tenant: str, model: str) -> tuple[str, ...]:
        """Return the full names of the aliases that stand for a model."""
        name = f"models/{model}"
        return tuple(
            f"aliases/{alias}"
            for alias, record in self.living(tenant, after="")
            if record.model == name
        )

    def refuse_deletion(self, tenant: str, model: str) -> None:
        """See that no alias stands for a model that is to be deleted.

        Raises:
            FailedPrecondition: Naming those that do.
        """
        if names := self.standing_for(tenant, model):
            raise FailedPrecondition(
                f"{', '.join(names[:5])} {'stands' if len(names) == 1 else 'stand'} for "
                f"models/{model}. Switch first with `isogloss aliases set`, or delete with force.",
                reason=Reason.MODEL_IN_USE,
                metadata={"name": f"models/{model}", "aliases": ", ".join(names)},
                subjects=names,
            )

    def living(self, tenant: str, *, after: str) -> Iterator[tuple[str, AliasRecord]]:
        """Yield the aliases that stand for something, by id."""
        for alias, version in sorted(aliases.newest(self._store, tenant).items()):
            if alias > after:
                for record in self.records(tenant, alias, [version]):
                    if record.model:
                        yield alias, record

    def records(self, tenant: str, alias: str, numbers: Iterable[int]) -> Iterator[AliasRecord]:
        """Yield versions; those that were cleared away since they were listed are left out."""
        for version in numbers:
            try:
                record = aliases.read(self._store, tenant, alias, version)
            except NotFound:
                continue
            yield record


def absent(alias: str, *, deleted: bool) -> NotFound:
    """Return the error for an alias that there is not, or not any more."""
    name = f"aliases/{alias}"
    hint = (
        f"It was deleted: `isogloss aliases rollback {name}` brings it back."
        if deleted
        else "`isogloss aliases list` shows what there is."
    )
    return NotFound(name, hint=hint)


def _number(cursor: str | int) -> int:
    """Read the cursor of a page of versions; anybody can write a token."""
    return cursor if isinstance(cursor, int) else 0
