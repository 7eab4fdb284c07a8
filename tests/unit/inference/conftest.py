from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.inference.library import Library
from tests.unit.inference.libraries import library
from tests.unit.inference.watched_store import Clock, WatchedStore


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(store: WatchedStore, tmp_path: Path, clock: Clock) -> Iterator[Library]:
    opened = library(store, tmp_path / "cache", clock=clock)
    yield opened
    opened.close()
