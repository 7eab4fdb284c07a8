from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common import layout
from services.common.storage import ObjectInfo, open_store
from services.trainer import catalogue
from services.trainer.base_sources import SourceError
from tests.stores import PassingStore

_MARK = layout.base_model_pending("small")


class _Looking(PassingStore):
    """Looks for the mark when the base is looked for."""

    marked = False

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        self.marked = self.stat(_MARK) is not None
        return super().list(prefix, start_after=start_after)


def test_a_base_is_marked_while_it_is_published_and_no_longer(tmp_path: Path) -> None:
    store = _Looking(open_store(str(tmp_path / "store")))

    with pytest.raises(SourceError):
        catalogue.publish(store, "small", "store:nothing/", tmp_path / "scratch")

    assert store.marked
    assert store.stat(_MARK) is None
