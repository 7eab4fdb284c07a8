"""Tar archives in the one form that bundles have: regular files, uncompressed.

The same files give the same bytes: no times, no owners. Reading trusts nothing: links,
directories, devices and every extension of the format are refused. Knows nothing of models.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_BLOCK = 512
_MODE = 0o644

END = bytes(2 * _BLOCK)
"""What stands behind the last file."""

MAX_PATH = 100
"""Bytes of a path: what one field of a header holds."""


class Malformed(ValueError):
    """The archive is none, or not of this form; the message says what was found, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of an archive."""

    path: str
    offset: int
    """Of its first byte in the archive."""

    size: int
    """Bytes."""


def header(path: str, size: int) -> bytes:
    """Return what stands before a file."""
    info = tarfile.TarInfo(path)
    info.size, info.mode = size, _MODE
    return info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


def padding(size: int) -> bytes:
    """Return what stands behind a file of that many bytes."""
    return bytes(-size % _BLOCK)


def stored_size(size: int) -> int:
    """Return the bytes that a file of `size` bytes takes in an archive."""
    return _BLOCK + size + len(padding(size))


def members(archive: BinaryIO, size: int) -> Iterator[Member]:
    """Yield the files of an archive in order, without reading what they hold.

    Args:
        archive: Seekable; may be read elsewhere between two steps.
        size: Its bytes.

    Raises:
        Malformed: Where it is cut off, or anything in it is no regular file.
    """
    offset = 0
    while True:
        archive.seek(offset)
        block = archive.read(_BLOCK)
        if block == bytes(_BLOCK):
            return
        member = _member(block, offset + _BLOCK)
        offset += stored_size(member.size)
        if offset > size:
            raise Malformed(f"it ends in the middle of {member.path!r}")
        yield member


def _member(block: bytes, offset: int) -> Member:
    if len(block) < _BLOCK:
        raise Malformed("it has no end: a part of it is missing")
    try:
        info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError):
        raise Malformed(
            f"at byte {offset - _BLOCK} there is no file header: it is no tar archive, or is "
            "compressed, or damaged"
        ) from None
    if info.type != tarfile.REGTYPE or info.size < 0:
        raise Malformed(f"{info.name[:MAX_PATH]!r} is no regular file")
    return Member(path=info.name, offset=offset, size=info.size)
