"""Manifests of models as the store has them, or had them last where it does not answer."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from services.common.errors import Unavailable
from services.common.manifests import read_document
from services.common.storage import ObjectInfo, ObjectStore
from services.inference.fetched.records import Record, Records

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A manifest that is there, or was when the store last answered."""

    info: ObjectInfo
    """Another one where it was published anew."""

    record: Record | None = None
    """What stands for the store's answer; None where the store has answered."""


class Manifests:
    """Looks for manifests, and reads them. Thread safe."""

    def __init__(self, store: ObjectStore, records: Records) -> None:
        """Ask `store`, and keep what it says in `records`."""
        self._store = store
        self._records = records

    def find(self, key: str) -> Found | None:
        """Return which manifest there is; None where there is none, and a record goes with it.

        Raises:
            Unavailable: Where the store does not answer and nothing is remembered.
        """
        try:
            info = self._store.stat(key)
        except Unavailable:
            record = self._records.recall(key)
            if record is None:
                raise
            return Found(info=record.info, record=record)
        if info is None:
            self._records.forget(key)
            return None
        self._records.confirm(key)
        return Found(info=info)

    def read(self, found: Found) -> bytes:
        """Return what a manifest says.

        Raises:
            NotFound: Where it was deleted since.
            Unavailable: Where the store does not answer.
        """
        if found.record is not None:
            _log.warning(
                "manifest_from_disk", key=found.info.key, seconds_old=round(found.record.age)
            )
            return found.record.content
        content = read_document(self._store, found.info.key)
        self._records.keep(found.info, content)
        return content
