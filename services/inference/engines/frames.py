"""What passes between this process and an engine's: frames of bytes over a socket.

A frame is the length of its content (u32), its kind (u8), and the content. All numbers are
little-endian. Knows neither graphs nor who is at the other end.
"""

from __future__ import annotations

import json
import socket
import struct
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np

from services.inference.engine import FloatArray, Output

_HEADER = struct.Struct("<IB")
_RUN = struct.Struct("<IBI")
_ROWS = struct.Struct("<II")

_OUTPUTS = tuple(Output)

MAX_CONTENT = 256 * 1024 * 1024
"""Bytes of a frame, at most: 256 texts with 4,096 labels each are 4 MiB, tokens are less."""


class Kind(IntEnum):
    """What a frame is."""

    RUN = 1
    """Asks for a run; answered with ROWS or FAILED."""

    ROWS = 2
    PREPARE = 3
    """Asks for a graph to be written as this machine computes it, in JSON; answered with DONE,
    or FAILED where it cannot be."""

    LOAD = 4
    """Asks for a graph to be opened, in JSON; answered with DONE, or FAILED where it is invalid."""

    UNLOAD = 5
    """Asks for a graph to be closed, in JSON; answered with DONE."""

    PING = 6
    """Answered with DONE, once what was asked before is done."""

    DONE = 7
    FAILED = 8
    """Says why, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """Texts for a graph that is loaded."""

    graph: int
    """The number that it was loaded under."""

    token_ids: Sequence[Sequence[int]]
    outputs: tuple[Output, ...]


def send(connection: socket.socket, kind: Kind, content: bytes = b"") -> None:
    """Send one frame.

    Raises:
        OSError: Where the other end is gone, or takes nothing within the socket's timeout.
    """
    connection.sendall(_HEADER.pack(len(content), kind) + content)


def receive(connection: socket.socket) -> tuple[Kind, bytearray]:
    """Wait for one frame.

    Raises:
        EOFError: Where the other end is closed.
        OSError: Where nothing comes within the socket's timeout.
        ValueError: Where what comes is no frame.
    """
    length, kind = _HEADER.unpack(_exactly(connection, _HEADER.size))
    if length > MAX_CONTENT:
        raise ValueError(f"a frame of {length} bytes, more than {MAX_CONTENT}")
    return Kind(kind), _exactly(connection, length)


def pack_run(request: RunRequest) -> bytes:
    """Return the content of a RUN."""
    asked = bytes(map(_OUTPUTS.index, request.outputs))
    lengths = np.fromiter(map(len, request.token_ids), "<u4", len(request.token_ids))
    ids = np.array(array("I", chain.from_iterable(request.token_ids)), "<u4")
    head = _RUN.pack(request.graph, len(asked), len(lengths))
    return b"".join((head, asked, lengths.tobytes(), ids.tobytes()))


def unpack_run(content: bytearray) -> RunRequest:
    """Return what the content of a RUN says."""
    graph, outputs, texts = _RUN.unpack_from(content)
    begin = _RUN.size + outputs
    asked = content[_RUN.size : begin]
    numbers = np.frombuffer(content, "<u4", offset=begin)
    ends = accumulate(numbers[:texts].tolist(), initial=0)
    ids = numbers[texts:].tolist()
    return RunRequest(
        graph=graph,
        token_ids=[ids[start:end] for start, end in pairwise(ends)],
        outputs=tuple(_OUTPUTS[index] for index in asked),
    )


def pack_rows(rows: Sequence[FloatArray]) -> bytes:
    """Return the content of ROWS: each output's shape and numbers, one after the other."""
    parts: list[bytes] = []
    for output in rows:
        parts += (_ROWS.pack(*output.shape), output.astype("<f4", copy=False).tobytes())
    return b"".join(parts)


def unpack_rows(content: bytearray) -> tuple[FloatArray, ...]:
    """Return the outputs in the order that they were packed in."""
    rows: list[FloatArray] = []
    position = 0
    while position < len(content):
        texts, width = _ROWS.unpack_from(content, position)
        position += _ROWS.size
        numbers = np.frombuffer(content, "<f4", texts * width, position)
        rows.append(numbers.reshape(texts, width))
        position += numbers.nbytes
    return tuple(rows)


def pack_object(value: Mapping[str, Any]) -> bytes:
    """Return JSON, for what is rare."""
    return json.dumps(value).encode()


def unpack_object(content: bytearray) -> dict[str, Any]:
    """Return what `pack_object` was given."""
    value: dict[str, Any] = json.loads(content)
    return value


def _exactly(connection: socket.socket, count: int) -> bytearray:
    content = bytearray(count)
    view = memoryview(content)
    received = 0
    while received < count:
        more = connection.recv_into(view[received:])
        if not more:
            raise EOFError("the other end is closed")
        received += more
    return content
