from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from services.common.errors import DataLoss, Reason, ResourceExhausted
from services.inference.file_cache import FileCache
from services.inference.manifests import Artifact


class Source:
    """Brings files, and counts how often."""

    def __init__(self) -> None:
        self.fetched: list[str] = []

    def __call__(self, artifact: Artifact, path: Path) -> None:
        self.fetched.append(artifact.key)
        path.write_bytes(content(artifact.key))


def content(key: str) -> bytes:
    return key.encode() * 100


def artifact(key: str) -> Artifact:
    data = content(key)
    return Artifact(key=key, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def use(cache: FileCache, key: str, source: Source) -> None:
    with cache.hold(artifact(key), source) as path:
        assert path.read_bytes() == content(key)


def cached(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def digests(*keys: str) -> set[str]:
    return {artifact(key).sha256 for key in keys}


def test_a_file_is_fetched_once(tmp_path: Path) -> None:
    cache, source = FileCache(tmp_path, max_bytes=1000), Source()

    for _ in range(3):
        use(cache, "a", source)

    assert source.fetched == ["a"]


def test_files_outlive_the_process(tmp_path: Path) -> None:
    source = Source()

    for _ in range(2):
        use(FileCache(tmp_path, max_bytes=1000), "a", source)

    assert source.fetched == ["a"]


def test_a_damaged_file_is_fetched_again(tmp_path: Path) -> None:
    cache, source = FileCache(tmp_path, max_bytes=1000), Source()
    use(cache, "a", source)
    (tmp_path / artifact("a").sha256).write_bytes(b"x" * 100)

    use(cache, "a", source)

    assert source.fetched == ["a", "a"]


def test_the_file_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache, source = FileCache(tmp_path, max_bytes=300), Source()
    for key in ("a", "b", "c"):
        use(cache, key, source)
        time.sleep(0.01)  # later than the file before, on any clock
    use(cache, "a", source)

    use(cache, "d", source)

    assert cached(tmp_path) == digests("a", "c", "d")


def test_a_file_in_use_stays(tmp_path: Path) -> None:
    cache, source = FileCache(tmp_path, max_bytes=250), Source()

    with cache.hold(artifact("a"), source) as path:
        use(cache, "b", source)
        use(cache, "c", source)
        assert path.exists()

    assert cached(tmp_path) == digests("a", "c")


def test_a_file_that_never_fits_is_refused(tmp_path: Path) -> None:
    cache, source = FileCache(tmp_path, max_bytes=99), Source()

    with pytest.raises(ResourceExhausted) as caught:
        use(cache, "a", source)

    assert caught.value.reason is Reason.LIMIT_EXCEEDED
    assert source.fetched == []


def test_a_failed_fetch_leaves_its_room(tmp_path: Path) -> None:
    cache, source = FileCache(tmp_path, max_bytes=100), Source()

    def fail(artifact: Artifact, path: Path) -> None:  # noqa: ARG001 (the shape of a fetch)
        raise DataLoss("gone")

    for _ in range(3):
        with pytest.raises(DataLoss), cache.hold(artifact("a"), fail):
            pass

    use(cache, "b", source)


def test_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    old, young = tmp_path / "old.part", tmp_path / "young.part"
    for path in (old, young):
        path.write_bytes(b"half")
    yesterday = time.time() - 86_400
    os.utime(old, (yesterday, yesterday))

    FileCache(tmp_path, max_bytes=100)

    assert cached(tmp_path) == {"young.part"}
