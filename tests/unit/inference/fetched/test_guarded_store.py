from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.common.errors import Unavailable
from services.common.storage import ObjectInfo, ObjectStore, UnsuitableStore
from services.inference.fetched.guarded_store import GuardedStore
from tests.unit.inference.watched_store import Clock, WatchedStore

WAIT = 30.0
PROBE = 0.01


@pytest.fixture
def store(tmp_path: Path) -> WatchedStore:
    store = WatchedStore(tmp_path / "store")
    store.put("t/a", b"content")
    return store


@contextmanager
def guarded(
    open_: Callable[[], ObjectStore],
    clock: Callable[[], float] = time.monotonic,
    *,
    probe: float = PROBE,
) -> Iterator[GuardedStore]:
    found = GuardedStore(open_, probe_seconds=probe, clock=clock)
    yield found
    found.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(PROBE)


def test_a_store_that_answers_is_passed_through(store: WatchedStore) -> None:
    with guarded(lambda: store) as found:
        assert found.stat("t/a") == store.stat("t/a")
        assert b"".join(found.get("t/a", offset=3, length=2)) == b"te"
        found.put("t/b", b"b")
        assert not found.create("t/b", b"c")
        assert [item.key for item in found.list("t/")] == ["t/a", "t/b"]
        found.delete("t/b")
        assert found.stat("t/b") is None
        assert found.answers
        assert found.outage is None
        assert found.outage_seconds is None


def down(found: GuardedStore) -> bool:
    return found.outage is not None and not found.answers


def test_a_store_that_is_down_is_not_asked(store: WatchedStore) -> None:
    clock = Clock()
    with guarded(lambda: store, clock, probe=WAIT) as found:
        store.down = True
        with pytest.raises(Unavailable):
            found.stat("t/a")
        until(lambda: down(found))
        clock.now += 5
        store.down = False

        with pytest.raises(Unavailable, match=r"The store is down\."):
            found.stat("t/a")
        assert found.outage_seconds == 5


def test_a_store_that_is_back_is_noticed(store: WatchedStore) -> None:
    with guarded(lambda: store) as found:
        store.down = True
        with pytest.raises(Unavailable):
            found.stat("t/a")
        until(lambda: down(found))
        store.down = False
        until(lambda: not down(found))

        assert found.stat("t/a") is not None


def test_one_object_that_cannot_be_read_is_no_outage(store: WatchedStore) -> None:
    with guarded(lambda: store) as found:
        store.refused = {"t/a"}
        for _ in range(3):
            with pytest.raises(Unavailable):
                list(found.get("t/a"))
            until(lambda: found._prober is None)

        assert found.outage is None
        assert found.stat("t/a") is not None


def test_a_store_that_was_down_at_the_start_is_opened_later(store: WatchedStore) -> None:
    up = threading.Event()

    def open_() -> ObjectStore:
        if not up.is_set():
            raise Unavailable("Nobody is there.", retry_after=5.0)
        return store

    with guarded(open_) as found:
        with pytest.raises(Unavailable, match="Nobody is there") as caught:
            found.stat("t/a")
        assert caught.value.retry_after == 5.0
        up.set()
        until(lambda: found.outage is None)

        assert found.stat("t/a") is not None


def test_a_store_that_is_none_to_use_is_told_at_the_start() -> None:
    def open_() -> ObjectStore:
        raise UnsuitableStore("It forgets.")

    with pytest.raises(UnsuitableStore, match="It forgets"):
        GuardedStore(open_)


def test_a_silent_store_keeps_nobody_waiting(store: WatchedStore) -> None:
    asked, go_on = threading.Event(), threading.Event()

    class Silent(WatchedStore):
        def stat(self, key: str) -> ObjectInfo | None:
            asked.set()
            assert go_on.wait(WAIT)
            return super().stat(key)

    found = GuardedStore(lambda: Silent(store.root), patience_seconds=0.05)
    before = found.answers
    with pytest.raises(Unavailable, match="says nothing"):
        found.stat("t/a")
    during = found.answers
    asked.clear()
    with pytest.raises(Unavailable, match="says nothing"):
        found.stat("t/a")
    asked_again = asked.is_set()
    go_on.set()
    until(lambda: found.answers)

    assert (before, during, asked_again) == (True, False, False)
    assert found.stat("t/a") is not None
    assert found.outage is None
    found.close()
