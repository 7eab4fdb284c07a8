"""One importer, step by step, on a bucket that misbehaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from services.common.errors import FailedPrecondition, NotFound, Unavailable
from services.common.storage import FoundObject
from services.ingest.creation import NewDataset
from services.ingest.dataset import DatasetOptions, Split, State
from services.ingest.record import DatasetRecord
from services.ingest.uploading.importer import Importer
from services.ingest.uploading.imports import AllowedBucket, Imports
from services.ingest.uploading.limits import UploadLimits
from services.ingest.uploading.quotas import Quotas
from tests.integration.ingest.places import Place

CONTENT = b"some text, 1\n" * 100


@dataclass(slots=True)
class Bucket:
    """A bucket with one file."""

    content: bytes = CONTENT
    etag: str = "first"
    breaks_at: int | None = None
    reads: list[int] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None

    def find(self, key: str) -> FoundObject | None:
        return FoundObject(size=len(self.content), etag=self.etag) if key == "a.csv" else None

    def read(self, key: str, *, offset: int, end: int, etag: str) -> Iterator[bytes]:
        self.reads.append(offset)
        if etag != self.etag:
            raise NotFound(key)
        for start in range(offset, end, 100):
            if self.breaks_at is not None and start >= self.breaks_at:
                raise Unavailable("The bucket is down.")
            yield self.content[start : min(start + 100, end)]
            self.meanwhile()


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def record(place: Place, bucket: Bucket) -> DatasetRecord:
    imports = Imports(place.creation, {"b": AllowedBucket(reader=bucket)}, UploadLimits())
    wanted = NewDataset(display_name="Tone", options=DatasetOptions())
    return imports.create("default", wanted, [(Split.TRAIN, "s3://b/a.csv")])


@pytest.fixture
def importer(place: Place, bucket: Bucket) -> Importer:
    return importer_of(place, bucket)


def importer_of(place: Place, bucket: Bucket) -> Importer:
    return Importer(
        database=place.database,
        registry=place.registry,
        uploads=place.uploads,
        quotas=Quotas(),
        readers={"b": bucket},
        owner="test",
        lease_seconds=60,
    )


def test_a_file_is_copied_and_handed_to_the_validators(
    place: Place, importer: Importer, record: DatasetRecord
) -> None:
    assert importer.run_one()
    assert not importer.run_one()

    after = place.registry.get("default", record.id)
    assert after.state is State.VALIDATING
    assert after.declared[Split.TRAIN].size_bytes == len(CONTENT)
    copied = place.uploads.read("default", record.id, Split.TRAIN, len(CONTENT))
    assert b"".join(copied) == CONTENT


def test_what_was_copied_is_not_read_again(
    place: Place, bucket: Bucket, importer: Importer, record: DatasetRecord
) -> None:
    writer_limit = place.uploads.limits.part_bytes
    assert writer_limit > len(CONTENT)
    place.store.create(f"default/{record.name}/raw/train/{0:020d}", CONTENT[:500])
    bucket.breaks_at = 700
    with pytest.raises(Unavailable):
        importer.run_one()
    bucket.breaks_at = None

    assert importer.run_one()

    assert bucket.reads == [500, 500]
    assert place.registry.get("default", record.id).state is State.VALIDATING


def test_another_version_of_the_file_fails_the_dataset(
    place: Place, bucket: Bucket, importer: Importer, record: DatasetRecord
) -> None:
    bucket.etag = "second"

    assert importer.run_one()

    failed = place.registry.get("default", record.id)
    assert failed.state is State.FAILED
    assert "s3://b/a.csv was removed or replaced" in failed.problems[0].message
    assert list(place.store.list("default/")) == []


def test_a_dataset_that_is_deleted_while_it_is_imported_leaves_nothing(
    place: Place, bucket: Bucket, importer: Importer, record: DatasetRecord
) -> None:
    def delete() -> None:
        bucket.meanwhile = lambda: None
        place.deletion.delete("default", record.id)

    bucket.meanwhile = delete

    assert importer.run_one()

    assert list(place.store.list("default/")) == []
    with pytest.raises(NotFound):
        place.registry.get("default", record.id)


def test_an_importer_that_was_overtaken_changes_nothing(
    place: Place, bucket: Bucket, importer: Importer, record: DatasetRecord
) -> None:
    def overtake() -> None:
        bucket.meanwhile = lambda: None
        place.lease_runs_out()
        assert importer_of(place, bucket).run_one()

    bucket.meanwhile = overtake

    assert importer.run_one()

    after = place.registry.get("default", record.id)
    assert after.state is State.VALIDATING
    copied = place.uploads.read("default", record.id, Split.TRAIN, len(CONTENT))
    assert b"".join(copied) == CONTENT


def test_callers_neither_write_nor_finalise_what_is_imported(
    place: Place, record: DatasetRecord
) -> None:
    with pytest.raises(FailedPrecondition, match="is being imported"):
        place.registry.write("default", record.id, Split.TEST)
    with pytest.raises(FailedPrecondition, match="is being imported"):
        place.registry.finalize("default", record.id, {})
