from __future__ import annotations

import errno
import fcntl
import hashlib
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import pytest

from services.common.errors import DataLoss, Reason, ResourceExhausted
from services.inference.artifact import Artifact
from services.inference.fetched.file_cache import Fetch, FileCache

WAIT = 30.0


class Source:
    """Brings files, and counts how often."""

    def __init__(self) -> None:
        self.fetched: list[str] = []

    def __call__(self, artifact: Artifact, file: BinaryIO) -> None:
        self.fetched.append(artifact.key)
        file.write(content(artifact.key))
        file.flush()


def content(key: str) -> bytes:
    return key.encode() * 100


def artifact(key: str) -> Artifact:
    data = content(key)
    return Artifact(key=key, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def use(cache: FileCache, key: str, source: Fetch) -> None:
    with cache.hold(artifact(key), source) as path:
        assert path.read_bytes() == content(key)


def cached(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if path.name != ".lock"}


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

    def fail(artifact: Artifact, file: BinaryIO) -> None:  # noqa: ARG001 (the shape of a fetch)
        raise DataLoss("gone")

    for _ in range(3):
        with pytest.raises(DataLoss), cache.hold(artifact("a"), fail):
            pass

    use(cache, "b", source)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, max_bytes=1000)

    def fill(artifact: Artifact, file: BinaryIO) -> None:  # noqa: ARG001 (the shape of a fetch)
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        pytest.raises(ResourceExhausted, match="has no room for a file of 100 bytes"),
        cache.hold(artifact("a"), fill),
    ):
        pass

    assert cached(tmp_path) == set()


def test_what_a_dead_process_left_counts_until_room_is_needed(tmp_path: Path) -> None:
    (tmp_path / f"{artifact('dead').sha256}.part").write_bytes(b"half")
    cache, source = FileCache(tmp_path, max_bytes=200), Source()

    use(cache, "a", source)
    use(cache, "b", source)

    assert cached(tmp_path) == digests("a", "b")


def test_what_was_left_half_is_brought_anew(tmp_path: Path) -> None:
    (tmp_path / f"{artifact('a').sha256}.part").write_bytes(b"x" * 150)
    source = Source()

    use(FileCache(tmp_path, max_bytes=100), "a", source)

    assert cached(tmp_path) == digests("a")


def test_the_bound_holds_while_files_are_on_their_way(tmp_path: Path) -> None:
    cache, source = FileCache(tmp_path, max_bytes=200), Source()
    sizes: list[int] = []

    def fetch(wanted: Artifact, file: BinaryIO) -> None:
        if wanted.key == "a":
            use(cache, "b", fetch)
        else:
            with pytest.raises(ResourceExhausted):
                use(cache, "c", source)
        sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
        source(wanted, file)

    use(cache, "a", fetch)

    assert sizes == [200, 200]
    assert source.fetched == ["b", "a"]


# Locks of the file system are between open files, so two caches in one process are to each other
# what two processes are.


def test_processes_bring_a_file_once(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()
    source = Source()

    def slow(artifact: Artifact, file: BinaryIO) -> None:
        begun.set()
        assert go_on.wait(WAIT)
        source(artifact, file)

    with ThreadPoolExecutor(2) as executor:
        first = executor.submit(use, FileCache(tmp_path, max_bytes=100), "a", slow)
        assert begun.wait(WAIT)
        second = executor.submit(use, FileCache(tmp_path, max_bytes=100), "a", source)
        go_on.set()
        first.result(WAIT)
        second.result(WAIT)

    assert source.fetched == ["a"]


def test_a_process_removes_no_file_of_another(tmp_path: Path) -> None:
    ours, theirs, source = (
        FileCache(tmp_path, max_bytes=100),
        FileCache(tmp_path, max_bytes=100),
        Source(),
    )

    with theirs.hold(artifact("a"), source) as path:
        with pytest.raises(ResourceExhausted):
            use(ours, "b", source)
        assert path.read_bytes() == content("a")
    use(ours, "b", source)

    assert cached(tmp_path) == digests("b")


def test_processes_that_share_a_directory_keep_their_bound(tmp_path: Path) -> None:
    source = Source()
    keys = [chr(ord("a") + number % 10) for number in range(120)]

    def promised() -> int:
        with (tmp_path / ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found: dict[int, int] = {}
            for path in list(tmp_path.iterdir()):
                with suppress(FileNotFoundError):  # renamed meanwhile
                    found[path.stat().st_ino] = path.stat().st_size
        return sum(found.values())

    def work(cache: FileCache) -> int:
        most = 0
        for key in random.sample(keys, len(keys)):
            use(cache, key, source)
            most = max(most, promised())
        return most

    with ThreadPoolExecutor(2) as executor:
        caches = [FileCache(tmp_path, max_bytes=400) for _ in range(2)]
        most = list(executor.map(work, caches))

    assert max(most) <= 400
    assert len(source.fetched) > 10
