"""Switching aliases: each switch is one object that is created once, so it is atomic.

Of callers at the same time one wins; who said what version he expected is refused, who did not
is tried again. Knows no call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from isogloss.storage.v1.alias_record_pb2 import AliasRecord
from services.common import aliases, layout
from services.common.errors import (
    Aborted,
    FailedPrecondition,
    NotFound,
    Reason,
    ResourceExhausted,
)
from services.common.manifests import FORMAT_VERSION
from services.common.storage import ObjectStore
from services.trainer.registry.aliases import Aliases, absent
from services.trainer.registry.readiness import require_ready

MAX_ALIASES = 200
MAX_VERSIONS = 100
"""Inference servers list all versions of a tenant's aliases when one has changed: 20,000 keys at
most, twenty pages of an S3 listing, and one page where people have ten aliases."""

_TRIES = 10
"""A switch that lost against another one is tried again; ten in a row means a loop elsewhere."""

_BUSY_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Who wants to change which alias."""

    tenant: str
    alias: str
    """Bare id."""

    actor: str
    expected: int | None
    """Only at this version, 0 being none; None: in any case."""

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"aliases/{self.alias}"


class Switching:
    """Changes aliases.

    Args:
        store: Where they and the models are.
        clock: Now, in UTC.
    """

    def __init__(
        self, store: ObjectStore, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Keep the parts."""
        self._store = store
        self._aliases = Aliases(store)
        self._clock = clock

    def set(self, change: Change, *, model: str, preload: bool | None = None) -> AliasRecord:
        """Let the alias stand for a READY model; return its version, old where nothing changes.

        Args:
            change: Who and which.
            model: Bare id.
            preload: Whether inference servers load it ahead; None leaves that as it was.

        Raises:
            NotFound, FailedPrecondition: Where the model does not exist or is not READY.
            Aborted: Where the alias is not at the version that was expected.
            ResourceExhausted: Where the tenant has as many aliases as it may.
        """
        self._require_ready(change.tenant, model)

        name = f"models/{model}"

        def is_done(current: AliasRecord) -> bool:
            # Whatever was expected: a call whose answer was lost may be repeated.
            return current.model == name and preload in {None, current.preload}

        def draft(current: AliasRecord | None) -> AliasRecord:
            if current is None:
                self._make_room(change.tenant)
                current = AliasRecord()
            return AliasRecord(model=name, preload=current.preload if preload is None else preload)

        return self._write(change, draft, is_done)

    def rollback(self, change: Change, version: int) -> AliasRecord:
        """Set the alias to what it was at `version`; return the version that does so.

        Args:
            change: Who and which.
            version: 0 takes the newest before the current one that is no deletion.

        Raises:
            NotFound: Where there is no such alias or version.
            FailedPrecondition: Where the version is a deletion, where there is nothing to go back
                to, or where its model is no longer READY.
            Aborted: Where the alias is not at the version that was expected.
        """

        def draft(current: AliasRecord | None) -> AliasRecord:
            if current is None:
                raise absent(change.alias, deleted=False)
            back = self._earlier(change, current.version, version)
            self._require_ready(change.tenant, back.model.removeprefix("models/"))
            return AliasRecord(
                model=back.model, preload=back.preload, restored_version=back.version
            )

        return self._write(change, draft)

    def delete(self, change: Change) -> None:
        """Delete the alias; its versions stay.

        Raises:
            NotFound: Where there is none.
            Aborted: Where the alias is not at the version that was expected.
        """

        def draft(current: AliasRecord | None) -> AliasRecord:
            if current is None or not current.model:
                raise absent(change.alias, deleted=current is not None)
            return AliasRecord()

        self._write(change, draft)

    def _write(
        self,
        change: Change,
        draft: Callable[[AliasRecord | None], AliasRecord],
        is_done: Callable[[AliasRecord], bool] = lambda _: False,
    ) -> AliasRecord:
        """Make the version that `draft` makes of the current one, unless that one will do."""
        for _ in range(_TRIES):
            current = aliases.find(self._store, change.tenant, change.alias)
            if current is not None and is_done(current):
                return current
            _check_expected(change, current)
            record = draft(current)
            record.format_version = FORMAT_VERSION
            record.version = current.version + 1 if current else 1
            record.previous_model = current.model if current else ""
            record.actor = change.actor
            record.create_time.FromDatetime(self._clock())
            if aliases.add(self._store, change.tenant, change.alias, record):
                self._forget_old(change, record.version)
                return record
        raise Aborted(
            f"{change.name} is being switched all the time by others: try again later.",
            reason=Reason.STATE_CONFLICT,
            metadata={"name": change.name},
            retry_after=_BUSY_SECONDS,
        )

    def _earlier(self, change: Change, current: int, version: int) -> AliasRecord:
        """Return the version to go back to."""
        kept = aliases.versions(self._store, change.tenant, change.alias)
        if version:
            if version not in kept:
                raise NotFound(
                    f"{change.name}/versions/{version}",
                    hint=f"`isogloss aliases history {change.name}` shows those that are kept.",
                )
            kept = [version]
        else:
            kept = [earlier for earlier in kept if earlier < current]
        for record in self._aliases.records(change.tenant, change.alias, reversed(kept)):
            if record.model:
                return record
        found = f"version {version} is its deletion" if version else "it never stood for another"
        raise FailedPrecondition(
            f"{change.name} cannot be rolled back: {found}. "
            f"`isogloss aliases history {change.name}` shows what it stood for.",
            reason=Reason.STATE_CONFLICT,
            metadata={"name": change.name, "version": str(version)},
        )

    def _require_ready(self, tenant: str, model: str) -> None:
        require_ready(
            self._store,
            tenant=tenant,
            model=model,
            because="an alias stands for what can be used",
        )

    def _forget_old(self, change: Change, version: int) -> None:
        for old in aliases.versions(self._store, change.tenant, change.alias):
            if old <= version - MAX_VERSIONS:
                self._store.delete(layout.alias_version(change.tenant, change.alias, old))

    def _make_room(self, tenant: str) -> None:
        """Clear away the alias that was deleted longest ago where there are too many."""
        known = aliases.newest(self._store, tenant)
        if len(known) < MAX_ALIASES:
            return
        deleted = [
            (record.create_time.ToNanoseconds(), alias)
            for alias, version in known.items()
            for record in self._aliases.records(tenant, alias, [version])
            if not record.model
        ]
        if not deleted:
            raise ResourceExhausted(
                f"There are {len(known)} aliases already, and {MAX_ALIASES} may be. Delete one "
                "that nobody uses: `isogloss aliases list`.",
                reason=Reason.LIMIT_EXCEEDED,
                metadata={"limit": str(MAX_ALIASES)},
            )
        _, oldest = min(deleted)
        for version in aliases.versions(self._store, tenant, oldest):
            self._store.delete(layout.alias_version(tenant, oldest, version))


def _check_expected(change: Change, current: AliasRecord | None) -> None:
    version = current.version if current is not None and current.model else 0
    if change.expected is None or change.expected == version:
        return
    found = f"is at version {version}" if version else "does not exist"
    wanted = f"not at version {change.expected}" if change.expected else "though it should not be"
    raise Aborted(
        f"{change.name} {found}, {wanted}: somebody else changed it. Read it again before you "
        "decide.",
        reason=Reason.ETAG_MISMATCH,
        metadata={
            "name": change.name,
            "version": str(version),
            "expected_version": str(change.expected),
        },
    )
