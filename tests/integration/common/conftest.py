"""Databases of both engines, migrated."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.common.database import Database
from tests.integration.common.sample_database import MIGRATIONS


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.upgrade(MIGRATIONS)
    yield database
    database.close()
