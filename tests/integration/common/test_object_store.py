"""What `ObjectStore` promises, against every store there is."""

from __future__ import annotations

import hashlib
import multiprocessing
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier

import pytest

from services.common.errors import NotFound
from services.common.storage import CHUNK_BYTES, ObjectStore, StoreOptions, open_store, read_all
from tests.engines import StoreServer


@pytest.fixture(params=["directory", "seaweedfs", "minio"], scope="module")
def opening(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, StoreOptions]:
    if request.param == "directory":
        return f"file://{tmp_path_factory.mktemp('store')}", StoreOptions()
    server: StoreServer = request.getfixturevalue(request.param)
    return server.url("conformance", f"run-{secrets.token_hex(4)}"), server.options


@pytest.fixture(scope="module")
def store(opening: tuple[str, StoreOptions]) -> ObjectStore:
    return open_store(*opening)


@pytest.fixture
def folder() -> str:
    """A part of the store that no other test uses."""
    return f"t-{secrets.token_hex(6)}"


def keys(store: ObjectStore, prefix: str, **options: str) -> list[str]:
    return [info.key for info in store.list(prefix, **options)]


def test_put_then_get(store: ObjectStore, folder: str) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)

    put = store.put(f"{folder}/a", b"content")

    assert b"".join(store.get(f"{folder}/a")) == b"content"
    assert (put.key, put.size) == (f"{folder}/a", 7)
    assert before < put.modified < datetime.now(UTC) + timedelta(seconds=5)
    stat = store.stat(f"{folder}/a")
    assert stat is not None
    assert (stat.key, stat.size) == (f"{folder}/a", 7)
    assert abs(stat.modified - put.modified) < timedelta(seconds=5)


@pytest.mark.parametrize(
    "name",
    ["a b", "ä/é/日本", "a+b&c=d?e#f", "%2e%2e", "x" * 200, ".hidden/.file", "a~!@$^*(),;:'[]{}|"],
)
def test_any_decent_key_holds(store: ObjectStore, folder: str, name: str) -> None:
    key = f"{folder}/{name}"

    assert store.create(key, b"1")

    assert not store.create(key, b"2")
    assert read_all(store, key, limit=10) == b"1"
    assert keys(store, f"{folder}/") == [key]
    store.delete(key)
    assert store.stat(key) is None


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a//b", "a/", "../a", "a/../b", "a/.", "a\0b", "a\nb", "a\\b", "x" * 1025,
     "x" * 256, ".isogloss/a"],
)  # fmt: skip
def test_indecent_key_is_refused(store: ObjectStore, key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        store.put(key, b"")
    with pytest.raises(ValueError, match="key"):
        store.create(key, b"")
    with pytest.raises(ValueError, match="key"):
        list(store.get(key))
    with pytest.raises(ValueError, match="key"):
        store.stat(key)
    with pytest.raises(ValueError, match="key"):
        store.delete(key)


@pytest.mark.parametrize("prefix", ["/", "../", "a/../b", "..", "a//"])
def test_indecent_prefix_is_refused(store: ObjectStore, prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        list(store.list(prefix))


def test_absent(store: ObjectStore, folder: str) -> None:
    assert store.stat(f"{folder}/a") is None
    assert keys(store, f"{folder}/") == []
    store.delete(f"{folder}/a")
    chunks = store.get(f"{folder}/a")  # no error before the first step
    with pytest.raises(NotFound, match=f"{folder}/a"):
        next(iter(chunks))
    with pytest.raises(NotFound):
        list(store.get(f"{folder}/a", length=0))


def test_below_an_object_and_above_one_nothing_is(store: ObjectStore, folder: str) -> None:
    store.put(f"{folder}/a/b", b"x")

    for key in (f"{folder}/a", f"{folder}/a/b/c"):
        assert store.stat(key) is None
        with pytest.raises(NotFound):
            list(store.get(key))
        store.delete(key)
    assert keys(store, folder) == [f"{folder}/a/b"]


def test_put_replaces(store: ObjectStore, folder: str) -> None:
    store.put(f"{folder}/a", b"a long first content")
    store.put(f"{folder}/a", b"second")

    assert read_all(store, f"{folder}/a", limit=100) == b"second"


def test_empty_object(store: ObjectStore, folder: str) -> None:
    store.put(f"{folder}/put", b"")
    store.put(f"{folder}/streamed", iter(()))
    store.create(f"{folder}/created", b"")

    for name in ("put", "streamed", "created"):
        assert list(store.get(f"{folder}/{name}", length=5)) == []
        stat = store.stat(f"{folder}/{name}")
        assert stat is not None
        assert stat.size == 0


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, None, b"0123456789"),
        (3, None, b"3456789"),
        (3, 4, b"3456"),
        (3, 100, b"3456789"),
        (0, 0, b""),
        (10, None, b""),
        (11, 5, b""),
    ],
)
def test_ranges(
    store: ObjectStore, folder: str, offset: int, length: int | None, expected: bytes
) -> None:
    store.put(f"{folder}/a", b"0123456789")

    assert b"".join(store.get(f"{folder}/a", offset=offset, length=length)) == expected


def test_large_object_is_streamed_in_bounded_chunks(store: ObjectStore, folder: str) -> None:
    """Over two parts of a multipart upload, from chunks that match no boundary."""
    chunk = secrets.token_bytes(700_001)
    count = 30  # 20 MiB: three parts of 8 MiB
    digest = hashlib.sha256(chunk * count).hexdigest()

    put = store.put(f"{folder}/a", (chunk for _ in range(count)))

    assert put.size == len(chunk) * count
    read = hashlib.sha256()
    for piece in store.get(f"{folder}/a"):
        assert 0 < len(piece) <= CHUNK_BYTES
        read.update(piece)
    assert read.hexdigest() == digest
    middle = b"".join(store.get(f"{folder}/a", offset=9_000_000, length=10))
    assert middle == (chunk * count)[9_000_000:9_000_010]


def test_memory_stays_bounded(opening: tuple[str, StoreOptions], folder: str) -> None:
    """128 MiB through a process of its own, which may grow by 64 MiB: four parts and slack."""
    program = """
import resource, sys
from services.common.storage import StoreOptions, open_store
url, access, secret, key = sys.argv[1:]
store = open_store(url, StoreOptions(access_key=access, secret_key=secret))
store.put(key, b"warm")
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
store.put(key, (bytes(1 << 20) for _ in range(128)))
assert sum(map(len, store.get(key))) == 128 << 20
print((peak() - before) // 1024)
store.delete(key)
"""
    url, options = opening
    command = [sys.executable, "-c", program, url, options.access_key, options.secret_key]

    ran = subprocess.run([*command, f"{folder}/a"], check=True, capture_output=True, text=True)

    assert int(ran.stdout) < 64


class SourceFailed(OSError):
    """An error of the caller's own, of a kind that stores meet too."""


@pytest.mark.parametrize("count", [1, 20])
def test_broken_source_leaves_nothing(store: ObjectStore, folder: str, count: int) -> None:
    """Its error comes out as it is, and what stood there before stays."""
    store.put(f"{folder}/old", b"old")

    def chunks() -> Iterator[bytes]:
        yield from [bytes(1 << 20)] * count
        raise SourceFailed

    with pytest.raises(SourceFailed):
        store.put(f"{folder}/new", chunks())
    with pytest.raises(SourceFailed):
        store.put(f"{folder}/old", chunks())

    assert keys(store, f"{folder}/") == [f"{folder}/old"]
    assert read_all(store, f"{folder}/old", limit=10) == b"old"


def test_object_is_visible_whole_or_not_at_all(store: ObjectStore, folder: str) -> None:
    seen: list[object] = []

    def chunks() -> Iterator[bytes]:
        for _ in range(3):
            yield bytes(6 << 20)
            seen.append(store.stat(f"{folder}/a"))
            seen.extend(store.list(f"{folder}/"))

    store.put(f"{folder}/a", chunks())

    assert seen == [None, None, None]
    assert len(keys(store, f"{folder}/")) == 1


def test_reader_sees_one_content_while_it_is_replaced(store: ObjectStore, folder: str) -> None:
    """Either content whole, or NotFound where the store cannot keep the old one for a reader."""
    contents = [bytes([number]) * (3 << 20) for number in range(4)]
    store.put(f"{folder}/a", contents[0])
    stop = threading.Event()

    def replace() -> None:
        while not stop.is_set():
            for content in contents:
                store.put(f"{folder}/a", content)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(replace)
        whole = 0
        for _ in range(20):
            try:
                content = b"".join(store.get(f"{folder}/a"))
            except NotFound:
                continue
            assert content in contents
            whole += 1
        stop.set()
        writing.result()
    assert whole > 0


def test_listing_is_in_code_point_order(store: ObjectStore, folder: str) -> None:
    """`a-b` < `a/c` < `a0`, though a directory walk meets `a` first."""
    names = ["a-b", "a/c", "a/b/d", "a0", "B", "é", "a.", "z/1", "a/b-", "a/b/-", "ﬁ", "😀"]
    for name in names:
        store.put(f"{folder}/{name}", b"")
    expected = sorted(f"{folder}/{name}" for name in names)

    assert keys(store, f"{folder}/") == expected
    assert keys(store, folder) == expected
    assert keys(store, f"{folder}/a") == [key for key in expected if key.startswith(f"{folder}/a")]
    assert keys(store, f"{folder}/a/b/") == [f"{folder}/a/b/-", f"{folder}/a/b/d"]
    assert keys(store, f"{folder}/a/b") == [f"{folder}/a/b-", f"{folder}/a/b/-", f"{folder}/a/b/d"]
    for position, key in enumerate(expected):
        assert keys(store, f"{folder}/", start_after=key) == expected[position + 1 :]
    assert keys(store, f"{folder}/a/", start_after=f"{folder}/a/b/") == [
        f"{folder}/a/b/-",
        f"{folder}/a/b/d",
        f"{folder}/a/c",
    ]
    assert keys(store, f"{folder}/a/", start_after=f"{folder}/z") == []


def test_listing_over_several_pages(store: ObjectStore, folder: str) -> None:
    """S3 answers with 1000 keys at a time."""
    expected = [f"{folder}/{number // 100:02d}/{number:05d}" for number in range(1050)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, b""), expected))

    assert keys(store, f"{folder}/") == expected
    assert keys(store, f"{folder}/", start_after=expected[500]) == expected[501:]


def test_listing_tells_sizes(store: ObjectStore, folder: str) -> None:
    store.put(f"{folder}/a", b"12345")

    (info,) = store.list(f"{folder}/")

    assert info.size == 5
    assert info.modified.tzinfo is not None


def test_one_of_many_threads_creates(store: ObjectStore, folder: str) -> None:
    for number in range(5):
        key = f"{folder}/{number}"
        barrier = threading.Barrier(8)

        def create(
            writer: int, key: str = key, barrier: threading.Barrier = barrier
        ) -> tuple[int, bool]:
            barrier.wait()
            return writer, store.create(key, f"writer {writer}".encode())

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(create, range(8)))

        winners = [writer for writer, won in outcomes if won]
        assert len(winners) == 1
        assert read_all(store, key, limit=100) == f"writer {winners[0]}".encode()


def test_one_of_many_threads_creates_the_same_bytes(store: ObjectStore, folder: str) -> None:
    """An ETag is a hash of the content: equal contents must not look like one's own."""
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda _: store.create(f"{folder}/a", b"same"), range(8)))

    assert won.count(True) == 1


@pytest.mark.parametrize("size", [1, 10, 3 << 20])
def test_a_creation_may_wait_before_its_end(store: ObjectStore, folder: str, size: int) -> None:
    key, data = f"{folder}/a", [b"x" * size, b"", b"y" * size, b""]
    found: list[list[str]] = []

    # Listed, not looked up: MinIO lets nobody look at a key that is being created.
    assert store.create(key, data, before_end=lambda: found.append(keys(store, f"{folder}/")))

    assert found == [[]]
    assert read_all(store, key, limit=2 * size) == b"".join(data)
    assert not store.create(key, data, before_end=lambda: None)


def test_what_a_waiting_creation_raises_leaves_no_object(store: ObjectStore, folder: str) -> None:
    class Refused(Exception):
        pass

    def refuse() -> None:
        raise Refused

    with pytest.raises(Refused):
        store.create(f"{folder}/a", b"x" * (3 << 20), before_end=refuse)

    assert store.stat(f"{folder}/a") is None
    assert store.create(f"{folder}/a", b"y")


def test_one_of_many_waiting_creations_wins(store: ObjectStore, folder: str) -> None:
    together = threading.Barrier(4)

    def create(writer: int) -> bool:
        def wait() -> None:
            together.wait(30)

        return store.create(f"{folder}/a", b"%d" % writer * (1 << 17), before_end=wait)

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(create, range(4)))

    assert won.count(True) == 1
    expected = b"%d" % won.index(True) * (1 << 17)
    assert read_all(store, f"{folder}/a", limit=1 << 17) == expected


def _create_all(
    url: str, options: StoreOptions, folder: str, writer: int, start: Callable[[], object]
) -> list[int]:
    store = open_store(url, options)
    start()
    return [
        number
        for number in range(10)
        if store.create(f"{folder}/{number}", f"writer {writer}".encode())
    ]


def _race(arguments: tuple[str, StoreOptions, str, int]) -> list[int]:
    return _create_all(*arguments, start=_barrier.wait)


def _keep(barrier: Barrier) -> None:
    global _barrier  # noqa: PLW0603 - the way a pool's process is given what only inherits
    _barrier = barrier


_barrier: Barrier


def test_one_of_many_processes_creates(
    store: ObjectStore, opening: tuple[str, StoreOptions], folder: str
) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(4)
    with context.Pool(4, initializer=_keep, initargs=(barrier,)) as pool:
        won = pool.map(_race, [(*opening, folder, writer) for writer in range(4)], chunksize=1)

    assert sorted(number for numbers in won for number in numbers) == list(range(10))
    for writer, numbers in enumerate(won):
        for number in numbers:
            assert read_all(store, f"{folder}/{number}", limit=99) == f"writer {writer}".encode()


def test_create_and_delete_race_on_shared_folders(store: ObjectStore, folder: str) -> None:
    """Deleting tidies empty folders away; a writer into the same folder must not notice."""

    def churn(writer: int) -> None:
        for number in range(40):
            key = f"{folder}/deep/er/{writer}-{number}"
            if number % 2:
                store.put(key, b"x")
            else:
                assert store.create(key, b"x")
            assert store.stat(key) is not None
            store.delete(key)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(churn, range(4)))

    assert keys(store, f"{folder}/") == []


def test_two_prefixes_do_not_see_each_other(opening: tuple[str, StoreOptions]) -> None:
    url, options = opening
    base, _, query = url.partition("?")
    suffix = f"?{query}" if query else ""
    one, other = (open_store(f"{base}/{name}{suffix}", options) for name in ("one", "other"))

    one.put("a/x", b"1")

    assert keys(other, "") == []
    assert other.stat("a/x") is None
    assert keys(one, "") == ["a/x"]


def test_read_all_has_a_limit(store: ObjectStore, folder: str) -> None:
    store.put(f"{folder}/a", b"12345")

    assert read_all(store, f"{folder}/a", limit=5) == b"12345"
    with pytest.raises(ValueError, match="larger than the 4 bytes"):
        read_all(store, f"{folder}/a", limit=4)
