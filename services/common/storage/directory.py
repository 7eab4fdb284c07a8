"""The `ObjectStore` in a directory. Must not know what is stored.

Several processes of one machine may share it. A file becomes visible by one rename or one
link inside the same file system, after it was written to the disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG

from services.common.errors import NotFound, Unavailable
from services.common.storage.keys import RESERVED_SEGMENT, check_key, check_prefix
from services.common.storage.object_store import (
    CHUNK_BYTES,
    BeforeEnd,
    Content,
    ObjectInfo,
    UnsuitableStore,
)

_ABANDONED_SECONDS = 24 * 3600
"""Age from which an unfinished file counts as left by a crash: no upload of a chunk or an
artefact takes a day."""

_MAKE_ATTEMPTS = 100
"""A parent may be tidied away by a concurrent deletion between its making and its use; each
further loss needs another deletion in a window of microseconds."""


_FLUSH_BYTES = 32 << 20
"""What lies in memory of a file before it goes to the disk: so little is left to do for one that
comes slowly when its end comes."""


class DirectoryStore:
    """Objects as files below one directory. Unlike S3, no key may be the folder of another.

    Args:
        root: Made where it is missing.

    Raises:
        UnsuitableStore: Where the file system cannot create a file only if it is absent.
    """

    def __init__(self, root: Path) -> None:
        """Make the root, test the file system, sweep what crashes left."""
        self._root = root.absolute()
        self._unfinished = self._root / RESERVED_SEGMENT
        with _as_unavailable():
            self._unfinished.mkdir(parents=True, exist_ok=True)
            self._sweep()
            self._test_links()

    def put(self, key: str, data: bytes | Iterable[bytes]) -> ObjectInfo:
        """Store `data` under `key` by one rename."""
        check_key(key)
        target = self._root / key
        with self._written(data) as temporary:
            stat = temporary.stat()
            with _as_unavailable():
                try:
                    self._place(temporary, target, replace=True)
                except IsADirectoryError:
                    raise ValueError(f"{key} is the folder of other objects") from None
        return _info(key, stat)

    def create(self, key: str, data: Content, *, before_end: BeforeEnd = None) -> bool:
        """Store `data` under `key` by one hard link, which fails where the key exists."""
        check_key(key)
        target = self._root / key
        with self._written(data) as temporary:
            if before_end is not None:
                before_end()
            with _as_unavailable():
                try:
                    self._place(temporary, target, replace=False)
                except FileExistsError:
                    if target.is_dir():
                        raise ValueError(f"{key} is the folder of other objects") from None
                    return False
        return True

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield the file's bytes; a file replaced meanwhile is read on as it was."""
        check_key(key)
        with _as_unavailable():
            try:
                file = (self._root / key).open("rb", buffering=0)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise NotFound(key) from None
            with file:
                file.seek(offset)
                remaining = length
                while remaining is None or remaining > 0:
                    chunk = file.read(min(CHUNK_BYTES, remaining or CHUNK_BYTES))
                    if not chunk:
                        return
                    if remaining is not None:
                        remaining -= len(chunk)
                    yield chunk

    def stat(self, key: str) -> ObjectInfo | None:
        """Return size and time of `key`, or None."""
        check_key(key)
        with _as_unavailable():
            try:
                stat = (self._root / key).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return _info(key, stat) if S_ISREG(stat.st_mode) else None

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Yield files in the order of their keys, one directory's names in memory at a time."""
        check_prefix(prefix)
        folder = prefix.rpartition("/")[0]
        with _as_unavailable():
            yield from self._walk(f"{folder}/" if folder else "", prefix, start_after)

    def delete(self, key: str) -> None:
        """Remove the file, and the directories that it leaves empty."""
        check_key(key)
        target = self._root / key
        with _as_unavailable():
            try:
                target.unlink()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return
            for parent in target.relative_to(self._root).parents[:-1]:
                try:
                    (self._root / parent).rmdir()
                except OSError:
                    return

    def _walk(self, folder: str, prefix: str, start_after: str) -> Iterator[ObjectInfo]:
        """Yield what lies below `folder` ("" or ending in a slash).

        A directory sorts with its slash: `a-b` comes before `a/c`, though `a` comes before
        `a-b`.
        """
        try:
            with os.scandir(self._root / folder) as entries:
                names = sorted(
                    f"{folder}{entry.name}/" if entry.is_dir() else f"{folder}{entry.name}"
                    for entry in entries
                )
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in names:
            if name == f"{RESERVED_SEGMENT}/":
                continue
            if name.endswith("/"):
                within = name.startswith(prefix) or prefix.startswith(name)
                passed = start_after > name and not start_after.startswith(name)
                if within and not passed:
                    yield from self._walk(name, prefix, start_after)
            elif name.startswith(prefix) and name > start_after:
                try:
                    stat = (self._root / name).stat()
                except FileNotFoundError:
                    continue
                yield _info(name, stat)

    @contextlib.contextmanager
    def _written(self, data: bytes | Iterable[bytes]) -> Iterator[Path]:
        """Write `data` to a file of its own, on the disk when the block begins."""
        temporary = self._unfinished / secrets.token_hex(16)
        chunks = (data,) if isinstance(data, bytes) else data
        try:
            with _as_unavailable():
                file = temporary.open("xb")
            with file:
                # What the source of the chunks raises is the caller's own: only our writes
                # are translated.
                unflushed = 0
                for chunk in chunks:
                    with _as_unavailable():
                        file.write(chunk)
                        unflushed += len(chunk)
                        if unflushed >= _FLUSH_BYTES:
                            os.fdatasync(file.fileno())
                            unflushed = 0
                with _as_unavailable():
                    file.flush()
                    os.fsync(file.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def _place(self, temporary: Path, target: Path, *, replace: bool) -> None:
        for attempt in range(_MAKE_ATTEMPTS):
            try:
                _make_folder(target.parent)
                if replace:
                    temporary.replace(target)
                else:
                    target.hardlink_to(temporary)
            except FileNotFoundError:
                # A concurrent deletion tidied the folder away before it was used.
                if attempt == _MAKE_ATTEMPTS - 1:
                    raise
            else:
                _sync_directory(target.parent)
                return

    def _sweep(self) -> None:
        oldest = time.time() - _ABANDONED_SECONDS
        for left in self._unfinished.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if left.stat().st_mtime < oldest:
                    left.unlink()

    def _test_links(self) -> None:
        with self._written(b"") as first:
            second = self._unfinished / secrets.token_hex(16)
            try:
                second.hardlink_to(first)
            except OSError as error:
                raise UnsuitableStore(
                    f"{self._root} lies on a file system without hard links ({error.strerror}), "
                    "so an object cannot be created only if absent: choose another directory, "
                    "or an S3 store."
                ) from error
            try:
                second.hardlink_to(first)
            except FileExistsError:
                pass
            else:
                raise UnsuitableStore(f"{self._root}: a link replaced an existing file.")
            finally:
                second.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """Make `folder`; FileNotFoundError where a deletion tidied it away at the same time."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        if any(above.is_file() for above in (folder, *folder.parents)):
            raise ValueError(f"{folder} cannot hold objects: it lies in an object") from None
        raise FileNotFoundError(*error.args) from None


def _sync_directory(directory: Path) -> None:
    """Make the new name itself survive a loss of power."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except FileNotFoundError:
        return  # tidied away with what was in it
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _info(key: str, stat: os.stat_result) -> ObjectInfo:
    return ObjectInfo(
        key=key, size=stat.st_size, modified=datetime.fromtimestamp(stat.st_mtime, UTC)
    )


@contextlib.contextmanager
def _as_unavailable() -> Iterator[None]:
    """Turn what the disk refuses into the error family."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        advice = (
            "free some space on it"
            if error.errno in {errno.ENOSPC, errno.EDQUOT}
            else "see that the directory can be read and written by this process"
        )
        raise Unavailable(
            f"The object store's directory does not work ({error.strerror}): {advice}.",
            metadata={"store": "directory"},
        ) from error
