"""Aliases in the object store: names that move, and what each stands for now.

Each version is an object that is created once, and the highest one holds. Before it is created
the tenant is marked: whoever follows all aliases of all tenants lists the marks, one page for a
thousand tenants, and looks only where they changed. Knows neither who may switch an alias nor
what is done with its model.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

from isogloss.storage.v1.alias_record_pb2 import AliasRecord
from services.common import layout
from services.common.errors import NotFound
from services.common.manifests import create_manifest, read_manifest
from services.common.storage import ObjectStore


def tenants(store: ObjectStore) -> Iterator[str]:
    """Yield the tenants that store anything at all, in order; two looks at the store each."""
    after = ""
    while (first := next(iter(store.list("", start_after=after)), None)) is not None:
        tenant = first.key.partition("/")[0]
        if tenant != layout.SHARED:
            yield tenant
        # The character behind the slash: greater than every key of the tenant.
        after = f"{tenant}0"


def newest(store: ObjectStore, tenant: str) -> dict[str, int]:
    """Return the current version of each alias of a tenant, deleted ones too, by alias."""
    keys = (item.key for item in store.list(layout.aliases_prefix(tenant)))
    # In order of the keys: of each alias the last one stays.
    return dict(layout.alias_of(key) for key in keys)


def versions(store: ObjectStore, tenant: str, alias: str) -> list[int]:
    """Return the versions of an alias that are kept, oldest first; none where it never was."""
    keys = (item.key for item in store.list(layout.alias_prefix(tenant, alias)))
    return [layout.alias_of(key)[1] for key in keys]


def read(store: ObjectStore, tenant: str, alias: str, version: int) -> AliasRecord:
    """Read one version.

    Raises:
        NotFound: Where it never was, or is no longer kept.
        DataLoss: Where it cannot be read, or is of a format that this release does not know.
    """
    return read_manifest(store, layout.alias_version(tenant, alias, version), AliasRecord)


def find(store: ObjectStore, tenant: str, alias: str) -> AliasRecord | None:
    """Return the current version, which may be a deletion; None where the alias never was.

    Raises:
        DataLoss: As `read`.
    """
    kept = versions(store, tenant, alias)
    try:
        return read(store, tenant, alias, kept[-1]) if kept else None
    except NotFound:
        # The alias was deleted long ago, and cleared away since the look.
        return None


def marks(store: ObjectStore) -> dict[str, frozenset[str]]:
    """Return for each tenant with aliases what changes whenever one of them is about to change."""
    found: dict[str, set[str]] = {}
    for item in store.list(layout.alias_marks_prefix()):
        tenant, stamp = layout.alias_mark_of(item.key)
        found.setdefault(tenant, set()).add(stamp)
    return {tenant: frozenset(stamps) for tenant, stamps in found.items()}


def add(store: ObjectStore, tenant: str, alias: str, record: AliasRecord) -> bool:
    """Make a version the current one; return whether this call did and not another one's."""
    # First, so that a crash in between leaves a mark without a change and never the other way.
    _mark(store, tenant)
    key = layout.alias_version(tenant, alias, record.version)
    return create_manifest(store, key, record)


def _mark(store: ObjectStore, tenant: str) -> None:
    mark = layout.alias_mark(tenant, f"{time.time_ns():020d}-{secrets.token_hex(4)}")
    store.put(mark, b"{}")
    # Only earlier ones: of two callers at once, each must leave the other's or its own.
    for earlier in list(store.list(layout.alias_marks_prefix(tenant))):
        if earlier.key < mark:
            store.delete(earlier.key)
