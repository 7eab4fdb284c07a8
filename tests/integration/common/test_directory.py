"""What only the store in a directory has: a disk that fills, breaks, or cannot link."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from services.common.errors import Unavailable
from services.common.storage import UnsuitableStore, open_store
from services.common.storage.directory import DirectoryStore


def unfinished(root: Path) -> list[Path]:
    return list((root / ".isogloss").iterdir())


def test_what_a_crash_left_is_swept_after_a_day(tmp_path: Path) -> None:
    open_store(str(tmp_path))
    old, fresh = tmp_path / ".isogloss" / "old", tmp_path / ".isogloss" / "fresh"
    old.write_bytes(b"x")
    fresh.write_bytes(b"x")
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))

    store = open_store(str(tmp_path))

    assert unfinished(tmp_path) == [fresh]
    assert list(store.list("")) == []


def test_every_operation_leaves_nothing_unfinished(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("a/b", b"x")
    store.create("a/c", b"x")
    store.create("a/c", b"x")

    assert unfinished(tmp_path) == []


def test_deleting_tidies_empty_folders_but_not_the_root(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("a/b/c", b"x")
    store.put("a/d", b"x")

    store.delete("a/b/c")
    assert not (tmp_path / "a" / "b").exists()
    store.delete("a/d")

    assert [path.name for path in tmp_path.iterdir()] == [".isogloss"]


def test_key_below_an_object_or_above_one_is_refused(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("a/b", b"x")

    for write in (store.put, store.create):
        with pytest.raises(ValueError, match=r"folder|lies in an object"):
            write("a/b/c", b"x")
        with pytest.raises(ValueError, match="folder of other objects"):
            write("a", b"x")


def test_disk_that_fails_is_unavailable_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(str(tmp_path / "store"))

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(Unavailable, match="free some space") as caught:
        store.put("a", b"x")

    assert str(tmp_path) not in caught.value.message
    assert unfinished(tmp_path / "store") == []
    assert store.stat("a") is None


def test_file_system_without_links_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(_self: Path, _target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", unsupported)

    with pytest.raises(UnsuitableStore, match="without hard links"):
        DirectoryStore(tmp_path)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://host/x", "a store is a directory"),
        ("file://host/x", "three slashes"),
        ("s3://", "expected s3://"),
        ("s3://bucket?endpoint=ftp://x", "the endpoint must be"),
        ("s3://bucket?endpoint=http://x/path", "the endpoint must be"),
        ("s3://bucket?secure=no", "expected s3://"),
        ("s3://bucket/prefix?endpoint=http://127.0.0.1:1", "store_access_key"),
    ],
)
def test_url_that_cannot_be_meant(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        open_store(url)
