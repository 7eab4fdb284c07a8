from __future__ import annotations

import threading

import pytest

from services.inference.engine import EngineDied
from services.inference.engines.child import Child
from services.inference.engines.keeper import Keeper
from services.inference.engines.rotation import Rotation

WAIT = 30.0


def test_one_that_cannot_be_started_is_tried_again_until_it_is_closed() -> None:
    tried = threading.Semaphore(0)

    def start() -> Child:
        tried.release()
        raise OSError("no memory left")

    keeper = Keeper(0, start, Rotation(patience=0.01))
    for _ in range(3):
        assert tried.acquire(timeout=WAIT)
    keeper.close()

    assert not keeper._thread.is_alive()


def test_who_asks_where_none_is_up_is_told_so() -> None:
    rotation = Rotation(patience=0.01)

    with pytest.raises(EngineDied, match="no engine process is up"):
        rotation.children()
    with pytest.raises(EngineDied, match="no engine process was free"), rotation.lane(1):
        pass
    assert len(rotation) == 0
