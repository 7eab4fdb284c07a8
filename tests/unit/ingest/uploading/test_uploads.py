from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.errors import (
    DataLoss,
    OutOfRange,
    ResourceExhausted,
)
from services.common.storage import ObjectStore, open_store
from services.ingest.dataset import Split
from services.ingest.uploading.limits import UploadLimits
from services.ingest.uploading.uploads import Uploads

LIMITS = UploadLimits(max_file_bytes=1000, max_dataset_bytes=1500, part_bytes=100)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path))


def write(uploads: Uploads, content: bytes, split: Split = Split.TRAIN) -> int:
    writer = uploads.open("t", "d", split)
    writer.add(None, content)
    return writer.flush()


def read(uploads: Uploads, size: int) -> bytes:
    return b"".join(uploads.read("t", "d", Split.TRAIN, size))


def test_what_is_written_in_pieces_is_read_as_one(store: ObjectStore) -> None:
    uploads = Uploads(store, LIMITS)

    for piece in (b"a" * 130, b"b" * 7, b"c" * 100):
        write(uploads, piece)

    assert uploads.sizes("t", "d") == {Split.TRAIN: 237}
    content = b"a" * 130 + b"b" * 7 + b"c" * 100
    assert read(uploads, 237) == content
    assert read(uploads, 135) == content[:135]
    assert uploads.sha256("t", "d", Split.TRAIN, 237) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("size", [50, 130, 137, 200, 237])
def test_a_sum_is_right_whichever_process_stored_the_bytes(store: ObjectStore, size: int) -> None:
    one, other = (Uploads(store, LIMITS) for _ in range(2))
    content = b"a" * 130 + b"b" * 7 + b"c" * 100

    write(one, content[:130])
    write(other, content[130:137])
    write(one, content[137:])

    wanted = hashlib.sha256(content[:size]).hexdigest()
    for uploads in (one, other, Uploads(store, LIMITS)):
        assert uploads.sha256("t", "d", Split.TRAIN, size) == wanted


def test_what_this_process_stored_is_not_read_again_for_its_sum(store: ObjectStore) -> None:
    uploads = Uploads(store, LIMITS)
    write(uploads, b"a" * 100)
    write(uploads, b"b" * 50)

    assert uploads.sums.start(("t", "d", Split.TRAIN))[0] == 150
    uploads.remove("t", "d")
    assert uploads.sums.start(("t", "d", Split.TRAIN))[0] == 0


@pytest.mark.parametrize("offset", [0, 9, 11])
def test_another_offset_is_refused_with_the_right_one(store: ObjectStore, offset: int) -> None:
    uploads = Uploads(store, LIMITS)
    write(uploads, b"x" * 10)

    with pytest.raises(OutOfRange) as raised:
        uploads.open("t", "d", Split.TRAIN).add(offset, b"y")

    assert raised.value.metadata["committed_size"] == "10"


def test_of_two_streams_at_one_place_one_wins_and_the_other_learns_where_it_ends(
    store: ObjectStore,
) -> None:
    uploads = Uploads(store, LIMITS)
    first, second = (uploads.open("t", "d", Split.TRAIN) for _ in range(2))
    first.add(0, b"first")
    second.add(0, b"the second")

    assert second.flush() == 10
    with pytest.raises(OutOfRange) as raised:
        first.flush()

    assert raised.value.metadata["committed_size"] == "10"
    assert first.flush() == 0
    assert read(uploads, 10) == b"the second"


def test_a_part_beside_the_chain_is_not_read(store: ObjectStore) -> None:
    uploads = Uploads(store, LIMITS)
    write(uploads, b"x" * 10)
    store.create(f"t/datasets/d/raw/train/{5:020d}", b"stray")
    store.create(f"t/datasets/d/raw/train/{12:020d}", b"gap")

    assert uploads.committed("t", "d", Split.TRAIN) == 10
    assert read(uploads, 10) == b"x" * 10
    with pytest.raises(DataLoss):
        read(uploads, 11)


def test_limits_hold_for_the_file_and_for_all_files(store: ObjectStore) -> None:
    uploads = Uploads(store, LIMITS)
    with pytest.raises(ResourceExhausted, match="train file is larger than 1000"):
        write(uploads, b"x" * 1001)
    write(uploads, b"x" * 1000)

    with pytest.raises(ResourceExhausted, match="dataset is larger than 1500"):
        write(uploads, b"x" * 501, Split.TEST)

    assert write(uploads, b"x" * 500, Split.TEST) == 500


def test_removing_leaves_nothing(store: ObjectStore) -> None:
    uploads = Uploads(store, LIMITS)
    write(uploads, b"x")
    write(uploads, b"y", Split.TEST)

    uploads.remove("t", "d")

    assert list(store.list("")) == []


@settings(max_examples=25, deadline=None)
@given(pieces=st.lists(st.binary(min_size=1, max_size=150), min_size=1, max_size=8))
def test_any_breaks_give_the_same_bytes(
    pieces: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    limits = UploadLimits(part_bytes=100)
    uploads = Uploads(open_store(str(tmp_path_factory.mktemp("store"))), limits)
    for number, piece in enumerate(pieces):
        writer = uploads.open("t", "d", Split.TRAIN)
        if writer.add(sum(map(len, pieces[:number])), piece[:50]):
            writer.store()
        writer.add(None, piece[50:])
        writer.flush()

    content = b"".join(pieces)
    assert read(uploads, len(content)) == content
