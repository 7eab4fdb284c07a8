from __future__ import annotations

from pathlib import Path

from services.ingest.published.artefacts import ArtefactCache
from services.ingest.record import StoredFile


def stored(name: str) -> StoredFile:
    return StoredFile(key=name, size=1, sha256=name)


def test_what_was_lent_stays_when_the_cache_has_no_room(tmp_path: Path) -> None:
    fetched: list[str] = []

    def fetch(file: StoredFile, path: Path) -> None:
        fetched.append(file.key)
        path.write_text(file.key * 100)

    cache = ArtefactCache(tmp_path / "cache", fetch=fetch, max_bytes=150)
    directory = tmp_path / "scratch"
    directory.mkdir()

    first = cache.lend(stored("a"), directory)
    second = cache.lend(stored("b"), directory)
    again = cache.lend(stored("a"), directory)

    assert first.read_text() == "a" * 100
    assert second.read_text() == "b" * 100
    assert again == first
    assert fetched == ["a", "b"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["b.parquet"]
