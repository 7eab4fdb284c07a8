from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.inference.memory import allocated, give_back

MIB = 1024**2
# Below the size from which glibc maps memory for one piece alone, which goes back by itself.
PIECE = 64 * 1024


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(autouse=True)
def _counted() -> None:
    if allocated() is None:
        pytest.skip("this C library counts nothing")


def test_what_is_allocated_is_counted_until_it_is_freed() -> None:
    before = allocated()
    pieces = [bytearray(PIECE) for _ in range(512)]
    large = bytearray(64 * MIB)
    during = allocated()
    del pieces, large
    after = allocated()

    assert before is not None
    assert during is not None
    assert after is not None
    assert 95 * MIB < during - before < 100 * MIB
    assert after - before < 2 * MIB


def test_what_is_free_goes_back_to_the_system() -> None:
    pieces = [bytearray(PIECE) for _ in range(1024)]
    # The last one stays: what lies before it is free and yet kept.
    del pieces[:-1]
    before = resident()

    give_back()

    assert before - resident() > 32 * MIB
    assert len(pieces) == 1
