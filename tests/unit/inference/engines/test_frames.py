from __future__ import annotations

import socket
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.engine import Output
from services.inference.engines import frames
from services.inference.engines.frames import Kind, RunRequest


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@given(
    token_ids=st.lists(st.lists(st.integers(0, 2**32 - 1), min_size=1), min_size=1),
    outputs=st.permutations(list(Output)).flatmap(
        lambda order: st.integers(1, len(order)).map(lambda count: tuple(order[:count]))
    ),
    graph=st.integers(0, 2**32 - 1),
)
def test_a_run_arrives_as_it_was_sent(
    token_ids: list[list[int]], outputs: tuple[Output, ...], graph: int
) -> None:
    request = RunRequest(graph=graph, token_ids=token_ids, outputs=outputs)

    assert frames.unpack_run(bytearray(frames.pack_run(request))) == request


@given(shapes=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 7)), min_size=1, max_size=3))
def test_rows_arrive_as_they_were_sent(shapes: list[tuple[int, int]]) -> None:
    rows = [np.random.default_rng(1).normal(size=shape).astype(np.float32) for shape in shapes]

    found = frames.unpack_rows(bytearray(frames.pack_rows(rows)))

    for sent, received in zip(rows, found, strict=True):
        np.testing.assert_array_equal(sent, received)


def test_frames_follow_each_other(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    frames.send(ours, Kind.FAILED, b"no")
    frames.send(ours, Kind.DONE)
    ours.close()

    assert frames.receive(theirs) == (Kind.FAILED, bytearray(b"no"))
    assert frames.receive(theirs) == (Kind.DONE, bytearray())
    with pytest.raises(EOFError):
        frames.receive(theirs)


def test_what_is_no_frame_is_refused(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.sendall(b"\xff\xff\xff\xff\x01")

    with pytest.raises(ValueError, match="a frame of 4294967295 bytes"):
        frames.receive(theirs)
