"""Takes texts out of DuckDB as flat arrays of bytes, without making a Python object of each.

The only place that knows the Arrow C stream interface, which DuckDB speaks by itself:
https://arrow.apache.org/docs/format/CStreamInterface.html
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class TextBatch:
    """Some texts, one behind the other."""

    ids: NDArray[np.int64]
    """What each row is called, shape (rows)."""

    offsets: NDArray[np.int64]
    """Where each text begins in `data`, and behind the last where it ends, shape (rows + 1)."""

    data: NDArray[np.uint8]
    """UTF-8."""


class ArrowSource(Protocol):
    """What gives an Arrow stream."""

    def __arrow_c_stream__(self) -> object:
        """Return a capsule that owns the stream."""


class _Array(Structure):
    pass


_Array._fields_ = [
    ("length", c_int64),
    ("null_count", c_int64),
    ("offset", c_int64),
    ("n_buffers", c_int64),
    ("n_children", c_int64),
    ("buffers", POINTER(c_void_p)),
    ("children", POINTER(POINTER(_Array))),
    ("dictionary", c_void_p),
    ("release", CFUNCTYPE(None, POINTER(_Array))),
    ("private_data", c_void_p),
]


class _Stream(Structure):
    _fields_: ClassVar = [
        ("get_schema", c_void_p),
        ("get_next", CFUNCTYPE(c_int, c_void_p, POINTER(_Array))),
        ("get_last_error", CFUNCTYPE(c_char_p, c_void_p)),
        ("release", c_void_p),
        ("private_data", c_void_p),
    ]


_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = c_void_p
_pointer_of.argtypes = [ctypes.py_object, c_char_p]


def text_batches(source: ArrowSource) -> Iterator[TextBatch]:
    """Yield the rows of a stream of two columns, int64 and utf8, without NULL.

    Raises:
        RuntimeError: Where the stream breaks off.
    """
    # The capsule owns the stream and releases it, so it has to outlive the loop.
    capsule = source.__arrow_c_stream__()
    address = _pointer_of(capsule, b"arrow_array_stream")
    stream = _Stream.from_address(address)
    while True:
        array = _Array()
        if stream.get_next(address, ctypes.byref(array)):
            reason = stream.get_last_error(address) or b"the stream broke off"
            raise RuntimeError(reason.decode("utf-8", "replace"))
        if not array.release:
            del capsule
            return
        batch = _batch(array)
        array.release(ctypes.byref(array))
        yield batch


def _batch(array: _Array) -> TextBatch:
    ids, texts = array.children[0].contents, array.children[1].contents
    offsets = np.frombuffer(_bytes(texts, 1, 4 * (texts.offset + array.length + 1)), np.int32)
    offsets = offsets[texts.offset :]
    return TextBatch(
        ids=np.frombuffer(_bytes(ids, 1, 8 * (ids.offset + array.length)), np.int64)[ids.offset :],
        offsets=offsets.astype(np.int64),
        data=np.frombuffer(_bytes(texts, 2, int(offsets[-1])), np.uint8),
    )


def _bytes(array: _Array, buffer: int, size: int) -> bytes:
    """Return a copy of one buffer, for DuckDB takes its memory back."""
    address = array.buffers[buffer]
    return ctypes.string_at(address, size) if address and size else bytes(size)
