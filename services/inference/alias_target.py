"""What an alias stands for, as this process keeps it in mind and on its disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

import structlog

from isogloss.storage.v1.alias_record_pb2 import AliasRecord
from services.common.errors import InvalidArgument, NotFound
from services.common.names import Collection, ResourceName, parse
from services.common.storage import ObjectInfo
from services.inference.fetched.records import Records

_log = structlog.get_logger()

# Keys of the store have a slash.
_RECORD = "aliases"

Name = tuple[str, str]
"""Tenant and alias."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What an alias stands for at a version."""

    version: int
    model: ResourceName | None
    """None: the alias was deleted."""

    preload: bool

    @classmethod
    def of(cls, record: AliasRecord) -> Self:
        """Return what a version says."""
        return cls(
            version=record.version,
            model=parse(record.model, Collection.MODELS) if record.model else None,
            preload=record.preload,
        )

    def found(self, alias: str) -> ResourceName:
        """Return the model.

        Raises:
            NotFound: Where the alias was deleted.
        """
        if self.model is None:
            name = f"aliases/{alias}"
            raise NotFound(
                name, hint=f"It was deleted: `isogloss aliases rollback {name}` brings it back."
            )
        return self.model


class KeptTargets:
    """All that is known of aliases, on this machine's disk, for a start without the store."""

    def __init__(self, records: Records) -> None:
        """Keep them among `records`."""
        self._records = records
        self._kept: dict[Name, Target] | None = None

    def keep(self, targets: Mapping[Name, Target]) -> None:
        """Write down what is known where it is not what was written last."""
        if self._kept == targets:
            self._records.confirm(_RECORD)
            return
        self._kept = dict(targets)
        content = json.dumps(
            [
                [*name, target.version, str(target.model or ""), target.preload]
                for name, target in self._kept.items()
            ]
        ).encode()
        info = ObjectInfo(key=_RECORD, size=len(content), modified=datetime.now(UTC))
        self._records.keep(info, content)

    def keep_found(self, targets: Mapping[Name, Target]) -> None:
        """Write down what calls have found while nobody could look whether all else still holds."""
        if self._kept != targets:
            self.keep(targets)

    def recall(self) -> dict[Name, Target]:
        """Return what was known last; nothing where that cannot be read."""
        record = self._records.recall(_RECORD)
        if record is None:
            return {}
        try:
            rows = json.loads(record.content)
            known = {
                (tenant, alias): Target(
                    version=version,
                    model=parse(model, Collection.MODELS) if model else None,
                    preload=preload,
                )
                for tenant, alias, version, model, preload in rows
            }
        except (ValueError, TypeError, InvalidArgument):
            _log.warning("aliases_on_disk_unreadable")
            return {}
        _log.warning("aliases_from_disk", aliases=len(known), seconds_old=round(record.age))
        return known
