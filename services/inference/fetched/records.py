"""What the store said last, on this machine's disk: small documents by key, verified, bounded.

For the time when the store does not answer. Must not know what a document says.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from services.common.storage import ObjectInfo

_log = structlog.get_logger()

_MAX_BYTES = 256 * 1024 * 1024
"""Of all records: 10,000 manifests of 20 kB. Those confirmed longest ago go first."""

_ABANDONED_SECONDS = 3600.0
"""Age from which a half written file is nobody's: writing one takes milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A document as the store had it."""

    info: ObjectInfo
    content: bytes
    age: float
    """Seconds since the store last confirmed it."""


class Records:
    """A directory of records. Thread safe; any number of processes may share it."""

    def __init__(self, directory: Path, *, max_bytes: int = _MAX_BYTES) -> None:
        """Use `directory`, created where it is missing.

        Args:
            directory: Belongs to records alone.
            max_bytes: Size of all together.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._max_bytes = max_bytes

    def keep(self, info: ObjectInfo, content: bytes) -> None:
        """Remember what the store has at `info.key`; a disk that is full is only logged."""
        head = {
            "key": info.key,
            "size": info.size,
            "modified": info.modified.isoformat(),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        path = self._path(info.key)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            temporary.write_bytes(json.dumps(head).encode() + b"\n" + content)
            temporary.replace(path)
            self._make_room()
        except OSError as error:
            # It is for an outage that may never come: today's calls must not fail by it.
            _log.warning("record_not_kept", key=info.key, error=str(error))
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def confirm(self, key: str) -> None:
        """Note that the store has the document still as it was."""
        with suppress(OSError):
            os.utime(self._path(key))

    def recall(self, key: str) -> Record | None:
        """Return what is remembered of `key`; None where that is nothing, or damaged."""
        path = self._path(key)
        try:
            written, age = path.read_bytes(), time.time() - path.stat().st_mtime
        except OSError:
            return None
        try:
            line, _, content = written.partition(b"\n")
            head = json.loads(line)
            info = ObjectInfo(
                key=head["key"],
                size=head["size"],
                modified=datetime.fromisoformat(head["modified"]),
            )
            whole = hashlib.sha256(content).hexdigest() == head["sha256"] and info.key == key
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            _log.warning("record_damaged", key=key)
            return None
        return Record(info=info, content=content, age=max(0.0, age))

    def forget(self, key: str) -> None:
        """Remember nothing of `key`."""
        with suppress(OSError):
            self._path(key).unlink(missing_ok=True)

    def __bool__(self) -> bool:
        """Tell whether anything is remembered."""
        return next(self._files(), None) is not None

    def _path(self, key: str) -> Path:
        return self._directory / hashlib.sha256(key.encode()).hexdigest()

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self._directory.iterdir():
            with suppress(FileNotFoundError):
                yield path, path.stat()

    def _make_room(self) -> None:
        files = sorted(self._files(), key=lambda file: file[1].st_mtime_ns)
        used = sum(stat.st_size for _, stat in files)
        for path, stat in files:
            abandoned = (
                path.name.startswith(".") and time.time() - stat.st_mtime > _ABANDONED_SECONDS
            )
            if used > self._max_bytes or abandoned:
                path.unlink(missing_ok=True)
                used -= stat.st_size
