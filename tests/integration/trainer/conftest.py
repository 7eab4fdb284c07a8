"""A suite with a tiny base and a small dataset."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from isogloss.v1.cleaning_pb2 import Cleaning
from services.common import layout
from services.common.storage import open_store
from tests.integration.trainer.calls import Suite, open_suite
from tests.integration.trainer.published import publish_dataset
from tests.tiny_base import write_tiny_base


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def published_base(tiny_base: Path) -> Path:
    """Publish the tiny base by the command, once, and return the store's directory."""
    store = tiny_base.parent / "store"
    command = [sys.executable, "-m", "services.trainer.publish_base", "tiny", str(tiny_base)]
    scratch = tiny_base.parent / "scratch"
    options = ["--store", str(store), "--scratch-directory", str(scratch)]
    subprocess.run([*command, *options], check=True)
    return store


@pytest.fixture
def suite(tmp_path: Path, tiny_base: Path, published_base: Path) -> Suite:
    suite = open_suite(tmp_path / "data", tiny_base)
    source = open_store(str(published_base))
    for item in source.list(layout.base_models_prefix()):
        suite.store.put(item.key, source.get(item.key))
    publish_dataset(suite.store, tmp_path, cleaning=Cleaning(strip_html=True))
    return suite
