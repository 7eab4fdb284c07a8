from __future__ import annotations

import gzip
import hashlib
import zlib
from collections import deque
from collections.abc import Callable, Iterator

import pytest
import zstandard

from services.ingest.dataset import Limits
from services.ingest.finding import Code, Refused
from services.ingest.reading.source import blocks, decompressed
from tests.unit.ingest.check import front_check

CONTENT = b"one,a\ntwo,b\nthree,a\n" * 100
COMPRESSIONS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("zstd", zstandard.compress),
]


@pytest.mark.parametrize(("name", "compress"), COMPRESSIONS)
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_archives_of_several_members_are_one_file(
    name: str, compress: Callable[[bytes], bytes], chunk: int
) -> None:
    packed = compress(CONTENT[:500]) + compress(b"") + compress(CONTENT[500:])

    result = front_check(packed, chunk=chunk)

    assert result.records == CONTENT
    assert result.checked.dialect.compression == name
    assert result.checked.size_bytes == len(packed)
    assert result.checked.sha256 == hashlib.sha256(packed).hexdigest()


@pytest.mark.parametrize(("name", "compress"), COMPRESSIONS)
@pytest.mark.parametrize("damage", ["cut", "garbage after", "wrong sum"])
def test_a_damaged_archive_is_refused(
    name: str, compress: Callable[[bytes], bytes], damage: str
) -> None:
    packed = compress(CONTENT)
    if name == "zstd":
        packed = zstandard.ZstdCompressor(write_checksum=True).compress(CONTENT)
    packed = {
        "cut": packed[:-6],
        "garbage after": packed + b"garbage",
        "wrong sum": packed[:-5] + bytes([packed[-5] ^ 1]) + packed[-4:]
        if name == "gzip"
        else packed[:-1] + bytes([packed[-1] ^ 1]),
    }[damage]

    with pytest.raises(Refused) as raised:
        front_check(packed)

    assert raised.value.findings[0].code is Code.CORRUPT_FILE
    assert name in raised.value.findings[0].message


@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_an_archive_may_be_padded_with_zeros(chunk: int) -> None:
    packed = gzip.compress(CONTENT) + b"\0" * 5000

    assert front_check(packed, chunk=chunk).records == CONTENT


def test_an_archive_may_begin_with_a_frame_to_be_skipped() -> None:
    packed = b"\x5d\x2a\x4d\x18\x04\x00\x00\x00size" + zstandard.compress(CONTENT)

    result = front_check(packed)

    assert result.records == CONTENT
    assert result.checked.dialect.compression == "zstd"


@pytest.mark.parametrize(("name", "compress"), COMPRESSIONS)
def test_a_bomb_is_refused(name: str, compress: Callable[[bytes], bytes]) -> None:
    bomb = compress(b"\0" * (64 << 20))
    pieces = decompressed([bomb], name, max_bytes=1 << 20)
    with pytest.raises(Refused) as raised:
        deque(pieces, maxlen=0)

    assert raised.value.findings[0].code is Code.DECOMPRESSED_SIZE


def test_pieces_of_a_bomb_are_small() -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = packer.compress(b"\0" * (64 << 20)) + packer.flush()

    assert max(map(len, decompressed([bomb], "gzip", max_bytes=1 << 30))) <= 2 << 20


def test_a_plain_file_is_bounded_too() -> None:
    with pytest.raises(Refused) as raised:
        front_check(CONTENT, limits=Limits(max_decompressed_bytes=100))

    assert raised.value.findings[0].code is Code.DECOMPRESSED_SIZE


def test_an_archive_of_nothing_is_an_empty_file() -> None:
    with pytest.raises(Refused) as raised:
        front_check(gzip.compress(b""))

    assert raised.value.findings[0].code is Code.EMPTY_FILE


def test_an_archive_within_an_archive_is_named() -> None:
    with pytest.raises(Refused) as raised:
        front_check(gzip.compress(gzip.compress(CONTENT)))

    assert "within another" in raised.value.findings[0].message


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_blocks_have_one_size_whatever_comes(size: int) -> None:
    def chunks() -> Iterator[bytes]:
        for start in range(0, len(CONTENT), size):
            yield CONTENT[start : start + size]

    found = list(blocks(chunks(), first=300, then=64))

    assert b"".join(found) == CONTENT
    assert [len(block) for block in found[:-1]] == [300] + [64] * (len(found) - 2)
