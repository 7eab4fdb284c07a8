"""The bytes of an upload: counted, hashed, decompressed and cut into blocks of one size.

Knows nothing of what the bytes mean.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import zstandard

from services.ingest.finding import Code, Finding, Refused

_STEP = 1024
"""Compressed bytes that are taken at once: gzip makes a megabyte of them at most, zstd 32."""

_ZSTD_WINDOW = 128 << 20
"""Bytes of a zstd frame's window, which is held in memory; `zstd` itself refuses more too."""


class _Decompressor(Protocol):
    """One gzip member or zstd frame."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def _gzip() -> _Decompressor:
    # 16 over the largest window asks for the header and checks the trailer.
    return zlib.decompressobj(16 + zlib.MAX_WBITS)


def _zstd() -> _Decompressor:
    return zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()


_COMPRESSIONS: tuple[tuple[bytes, str, Callable[[], _Decompressor]], ...] = (
    (b"\x1f\x8b", "gzip", _gzip),
    (b"\x28\xb5\x2f\xfd", "zstd", _zstd),
    # Frames to be skipped, with which some archivers begin.
    *((bytes([first]) + b"\x2a\x4d\x18", "zstd", _zstd) for first in range(0x50, 0x60)),
)


class Metered:
    """Passes chunks on and knows how many bytes they were, and their sha256."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        """Count from nothing.

        Args:
            chunks: The upload.
        """
        self._chunks = chunks
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        """Yield each chunk, while another thread hashes it."""
        with ThreadPoolExecutor(1, "sha256") as hasher:
            hashed: Future[None] | None = None
            for chunk in self._chunks:
                if hashed is not None:
                    hashed.result()  # one chunk ahead, so that memory stays bounded
                hashed = hasher.submit(self._digest.update, chunk)
                self.size_bytes += len(chunk)
                yield chunk

    @property
    def sha256(self) -> str:
        """Lower-case hexadecimal hash of all chunks, once they have passed."""
        return self._digest.hexdigest()


def blocks(chunks: Iterable[bytes], *, first: int, then: int) -> Iterator[bytes]:
    """Cut a stream into blocks.

    Args:
        chunks: The stream, in pieces of any size.
        first: Bytes of the first block; only the end of the stream makes it shorter.
        then: The same of every other block.
    """
    size = first
    held: list[bytes] = []
    count = 0
    for chunk in chunks:
        view = memoryview(chunk)
        while count + len(view) >= size:
            yield b"".join((*held, view[: size - count]))
            view = view[size - count :]
            held, count, size = [], 0, then
        if view:
            held.append(bytes(view))
            count += len(view)
    if held:
        yield b"".join(held)


def compression_of(head: bytes) -> str:
    """Return `gzip` or `zstd` where a file that begins like this is compressed so, else ""."""
    return next((name for magic, name, _ in _COMPRESSIONS if head.startswith(magic)), "")


def decompressed(chunks: Iterable[bytes], compression: str, *, max_bytes: int) -> Iterator[bytes]:
    """Decompress a stream of any number of members or frames.

    Args:
        chunks: The stream, in pieces of any size.
        compression: `gzip`, `zstd`, or "" for a stream that passes as it is.
        max_bytes: What is too much.

    Raises:
        Refused: Where the stream is damaged, cut off, or too much.
    """
    total = 0
    for piece in _inflated(chunks, compression) if compression else chunks:
        total += len(piece)
        if total > max_bytes:
            raise Refused(
                Finding(
                    code=Code.DECOMPRESSED_SIZE,
                    message=f"The file has more than {max_bytes} bytes"
                    + (" when it is decompressed." if compression else "."),
                    fix="Upload fewer rows, or the same rows in several datasets.",
                )
            )
        yield piece


def _inflated(chunks: Iterable[bytes], compression: str) -> Iterator[bytes]:
    start = next(start for _, name, start in _COMPRESSIONS if name == compression)
    member = start()
    is_begun = False
    try:
        for chunk in chunks:
            for offset in range(0, len(chunk), _STEP):
                piece = chunk[offset : offset + _STEP]
                # Archivers may pad with zeros, between members and after the last.
                while piece := piece if is_begun else piece.lstrip(b"\0"):
                    is_begun = True
                    yield member.decompress(piece)
                    if not member.eof:
                        break
                    piece = member.unused_data
                    member, is_begun = start(), False
    except (zlib.error, zstandard.ZstdError) as error:
        raise _corrupt(compression, f"cannot be decompressed ({error})") from None
    if is_begun:
        raise _corrupt(compression, "ends before it is complete")


def _corrupt(compression: str, what: str) -> Refused:
    return Refused(
        Finding(
            code=Code.CORRUPT_FILE,
            message=f"The {compression} archive {what}.",
            fix=f"Test it with `{compression} -t FILE`, then upload it again or compress it anew.",
        )
    )
