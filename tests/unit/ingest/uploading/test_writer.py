from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common import layout
from services.common.errors import (
    FailedPrecondition,
    IsoglossError,
    ResourceExhausted,
    Unavailable,
)
from services.common.storage import BeforeEnd, Content, ObjectStore, open_store
from services.ingest.dataset import Split
from services.ingest.uploading.limits import UploadLimits
from services.ingest.uploading.uploads import Uploads
from services.ingest.uploading.writer import UploadWriter
from tests.stores import PassingStore

LIMITS = UploadLimits(part_bytes=100)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path))


def read(uploads: Uploads, size: int) -> bytes:
    return b"".join(uploads.read("t", "d", Split.TRAIN, size))


class SlowStore(PassingStore):
    """A store whose first creation waits."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__(store)
        self.waits = threading.Event()
        self.go_on = threading.Event()

    def create(self, key: str, data: Content, *, before_end: BeforeEnd = None) -> bool:
        if not self.waits.is_set():
            self.waits.set()
            assert self.go_on.wait(20)
        return super().create(key, data, before_end=before_end)


def test_a_part_is_stored_once_however_many_threads_store_it(store: ObjectStore) -> None:
    slow = SlowStore(store)
    writer = Uploads(slow, LIMITS).open("t", "d", Split.TRAIN)
    writer.add(0, b"x" * 10)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(writer.flush)
        assert slow.waits.wait(20)
        second = threads.submit(writer.flush)
        # One that did not wait for the first would be done by now, and have stored the part.
        wait([second], timeout=0.3)
        slow.go_on.set()

        assert [first.result(), second.result()] == [10, 10]


PIECES = [bytes([number]) * 100 for number in range(1, 8)]
"""Each fills a part."""


class CountingGate:
    """Counts as the row of a dataset does; refuses the count of one part as often as it is told."""

    def __init__(self) -> None:
        self.kept: list[tuple[int, int]] = []
        self.refusals: list[Exception] = []
        self.refused_end = 0

    def check_open(self, size: int = 0) -> None:
        pass

    def check_kept(self, end: int, size: int) -> None:
        if end == self.refused_end and self.refusals:
            raise self.refusals.pop()
        self.kept.append((end, size))


class CrossingStore(PassingStore):
    """Waits with every creation until so many are on their way, and notes in which order they end.

    What `failures` holds of a key is raised instead of the end of its creation, once.
    """

    def __init__(self, store: ObjectStore, at_once: int) -> None:
        super().__init__(store)
        self.together = threading.Barrier(at_once)
        self.began: list[str] = []
        self.ended: list[str] = []
        self.failures: dict[str, Exception] = {}

    def create(self, key: str, data: Content, *, before_end: BeforeEnd = None) -> bool:
        self.began.append(key)
        self.together.wait(20)

        def end() -> None:
            if before_end is not None:
                before_end()
            if failure := self.failures.pop(key, None):
                raise failure
            self.ended.append(key)

        return super().create(key, data, before_end=end)


def raw(offset: int) -> str:
    return layout.raw_chunk("t", "d", Split.TRAIN, offset)


def outcomes(writer: UploadWriter, threads: int) -> list[int | str]:
    """Return what every thread's part came to: the committed size, or the error."""

    def store(_: int) -> int | str:
        try:
            return writer.store()
        except IsoglossError as error:
            return str(error)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(store, range(threads)))


def filled(uploads: Uploads, gate: CountingGate | None = None) -> UploadWriter:
    writer = uploads.open("t", "d", Split.TRAIN, gate=gate)
    for piece in PIECES:
        assert writer.add(None, piece)
    return writer


def test_parts_are_on_their_way_at_once_and_stored_in_their_order(store: ObjectStore) -> None:
    crossing = CrossingStore(store, len(PIECES))
    uploads = Uploads(crossing, LIMITS)
    gate = CountingGate()

    outcomes(filled(uploads, gate), len(PIECES))

    offsets = range(0, 700, 100)
    assert crossing.ended == [raw(offset) for offset in offsets]
    assert gate.kept == [(offset + 100, 100) for offset in offsets]
    assert read(uploads, 700) == b"".join(PIECES)
    assert uploads.sums.start(("t", "d", Split.TRAIN))[0] == 700


@pytest.mark.parametrize("failing", [0, 300, 600])
def test_nothing_is_stored_behind_a_part_that_fails(store: ObjectStore, failing: int) -> None:
    crossing = CrossingStore(store, len(PIECES))
    crossing.failures[raw(failing)] = Unavailable("The store is down.")
    uploads = Uploads(crossing, LIMITS)
    writer = filled(uploads)

    ended = outcomes(writer, len(PIECES))

    assert [info.key for info in store.list("")] == [raw(n) for n in range(0, failing, 100)]
    assert ended.count("The store is down.") == len(PIECES) - failing // 100
    crossing.together = threading.Barrier(1)
    assert writer.flush() == 700
    assert read(uploads, 700) == b"".join(PIECES)
    assert uploads.sums.start(("t", "d", Split.TRAIN))[0] == 700


def test_nothing_is_stored_behind_a_part_that_is_refused(store: ObjectStore) -> None:
    uploads = Uploads(CrossingStore(store, len(PIECES)), LIMITS)
    gate = CountingGate()
    gate.refused_end, gate.refusals = 300, [FailedPrecondition("It is closed.")]
    writer = filled(uploads, gate)

    ended = outcomes(writer, len(PIECES))

    assert ended.count("It is closed.") == 5
    assert uploads.committed("t", "d", Split.TRAIN) == 200
    assert [info.key for info in store.list("")] == [raw(0), raw(100)]
    with pytest.raises(FailedPrecondition):
        writer.add(None, b"more")
    assert writer.flush() == 200


def test_a_part_that_could_not_be_counted_is_counted_once_and_not_sent_again(
    store: ObjectStore,
) -> None:
    crossing = CrossingStore(store, 1)
    gate = CountingGate()
    gate.refused_end, gate.refusals = 100, [Unavailable("The database is down.")]
    writer = Uploads(crossing, LIMITS).open("t", "d", Split.TRAIN, gate=gate)
    writer.add(None, PIECES[0])

    with pytest.raises(Unavailable):
        writer.flush()
    assert writer.flush() == 100

    assert crossing.began == [raw(0)]
    assert gate.kept == [(100, 100)]


class ImpatientStore(PassingStore):
    """Asks about the end of every creation twice, as where an answer was lost; notes its chunks."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__(store)
        self.chunks: list[int] = []

    def create(self, key: str, data: Content, *, before_end: BeforeEnd = None) -> bool:
        assert before_end is not None
        self.chunks.append(len(data))
        before_end()
        return super().create(key, data, before_end=before_end)


class OnceOpenGate(CountingGate):
    """Is open at the first look, and closed by the second."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def check_open(self, size: int = 0) -> None:
        del size
        self.looks += 1
        if self.looks > 1:
            raise ResourceExhausted("The tenant's bytes are used up.")


def test_a_part_that_is_sent_again_is_not_asked_about_again(store: ObjectStore) -> None:
    gate = OnceOpenGate()
    writer = Uploads(ImpatientStore(store), LIMITS).open("t", "d", Split.TRAIN, gate=gate)
    writer.add(None, PIECES[0])

    assert writer.flush() == 100
    assert gate.kept == [(100, 100)]


def test_a_part_of_many_small_messages_is_kept_as_one(store: ObjectStore) -> None:
    asked = ImpatientStore(store)
    limits = UploadLimits(part_bytes=1000)
    writer = Uploads(asked, limits).open("t", "d", Split.TRAIN)
    for _ in range(1000):
        writer.add(None, b"x")
    for _ in range(10):
        writer.add(None, b"y" * 100)

    assert writer.flush() == 2000
    assert asked.chunks == [1, 10]


def test_a_part_whose_turn_does_not_come_is_sent_again_in_its_turn(store: ObjectStore) -> None:
    slow = SlowStore(store)
    limits = UploadLimits(part_bytes=100, patience_seconds=0.01)
    uploads = Uploads(slow, limits)
    writer = filled(uploads)
    with ThreadPoolExecutor(len(PIECES)) as threads:
        stores = [threads.submit(writer.store) for _ in PIECES]
        assert slow.waits.wait(20)
        # All the others lose patience meanwhile.
        wait(stores, timeout=0.3)
        assert list(store.list("")) == []
        slow.go_on.set()

        assert max(each.result() for each in stores) == 700

    assert read(uploads, 700) == b"".join(PIECES)


@settings(max_examples=50, deadline=None)
@given(
    failing=st.lists(st.integers(0, 6), max_size=8),
    threads=st.integers(1, 4),
    data=st.data(),
)
def test_whatever_fails_there_is_never_a_gap(
    failing: list[int], threads: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = open_store(str(tmp_path_factory.mktemp("store")))
    crossing = CrossingStore(store, 1)
    uploads = Uploads(crossing, LIMITS)
    gate = CountingGate()
    writer = filled(uploads, gate)
    for number in failing:
        if data.draw(st.booleans()):
            crossing.failures[raw(number * 100)] = Unavailable("The store is down.")
        else:
            gate.refused_end = number * 100 + 100
            gate.refusals = [Unavailable("The database is down.")]
        outcomes(writer, threads)

        stored = len(list(store.list("")))
        assert uploads.committed("t", "d", Split.TRAIN) == stored * 100

    crossing.failures.clear()
    gate.refusals.clear()
    assert writer.flush() == 700
    assert read(uploads, 700) == b"".join(PIECES)
    assert gate.kept == [(end, 100) for end in range(100, 800, 100)]
    assert uploads.sums.start(("t", "d", Split.TRAIN))[0] == 700
