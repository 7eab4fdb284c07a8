"""What this process has allocated, and what of it is given back. Must not know for what.

Counts and trims through the C library's own allocator; where that is not glibc, nothing is
known and nothing is trimmed.
"""

from __future__ import annotations

import ctypes


class _Counts(ctypes.Structure):
    """glibc's `struct mallinfo2`, of all arenas together."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    )


_libc = ctypes.CDLL(None)
_counts = getattr(_libc, "mallinfo2", None)
_trim = getattr(_libc, "malloc_trim", None)
if _counts is not None:
    _counts.restype = _Counts
if _trim is not None:
    _trim.argtypes = [ctypes.c_size_t]


def allocated() -> int | None:
    """Return the bytes that are allocated and not freed; None where nobody counts them."""
    if _counts is None:
        return None
    counts = _counts()
    return int(counts.uordblks + counts.hblkhd)


def give_back() -> None:
    """Return what is free to the system.

    The allocator keeps freed pages for the next allocation: after a model of 90 MB was dropped
    it kept 100 MB. A call takes some 7 ms, without Python's lock.
    """
    if _trim is not None:
        _trim(0)
