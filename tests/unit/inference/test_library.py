from __future__ import annotations

from pathlib import Path

import pytest

from services.common.errors import Unavailable
from services.common.names import Collection, ResourceName
from services.common.storage import ObjectStore
from services.inference.engines.onnx import LocalEngines
from services.inference.library import Bounds, Library, open_library
from services.inference.model import Precision
from services.inference.residents import ModelKey
from tests.tiny_model import publish_tiny_base
from tests.unit.inference.libraries import library
from tests.unit.inference.watched_store import WatchedStore

WAIT = 30.0
TINY = ModelKey.of(
    "acme", ResourceName(collection=Collection.BASE_MODELS, id="tiny"), Precision.EXACT
)


def without_store(directory: Path) -> Library:
    def open_() -> ObjectStore:
        raise Unavailable("Nobody is there.")

    engines = LocalEngines(threads=1)
    return open_library(open_, engines, directory, Bounds(disk=10**8, memory=10**9))


def test_what_knows_nothing_does_not_open_without_its_store(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="Nobody is there"):
        without_store(tmp_path)


def test_what_knows_something_opens_without_its_store(tmp_path: Path) -> None:
    store = WatchedStore(tmp_path / "store")
    publish_tiny_base(store)
    before = library(store, tmp_path / "cache")
    before.models.request(TINY).result(WAIT)
    before.close()

    after = without_store(tmp_path / "cache")

    assert after.models.request(TINY).result(WAIT).name == "baseModels/tiny"
    assert after.models.stats().outage_seconds is not None
    after.close()
