"""What nobody wants any more goes, and nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from services.common import layout
from services.common.errors import Aborted, FailedPrecondition, NotFound
from services.common.storage import ObjectStore
from services.ingest.creation import Creation, NewDataset
from services.ingest.dataset import DatasetOptions, Split, State
from services.ingest.record import DatasetRecord
from services.ingest.sweep import Sweep
from services.ingest.tables import DatasetRow
from services.ingest.uploading.quotas import Quotas
from tests.integration.ingest.places import PROFILES, Place
from tests.messages import as_csv

NONE = timedelta()
LONG = timedelta(days=1)


def sweep(place: Place, *, abandoned_after: timedelta = NONE, grace: timedelta = NONE) -> Sweep:
    return Sweep(
        database=place.database,
        store=place.store,
        deletion=place.deletion,
        abandoned_after=abandoned_after,
        grace=grace,
    )


def ready(place: Place) -> DatasetRecord:
    record = place.finalised(as_csv())
    assert place.worker.run_one()
    return place.registry.get("default", record.id)


def keys(store: ObjectStore, prefix: str = "") -> set[str]:
    return {info.key for info in store.list(prefix)}


def expire(place: Place, record: DatasetRecord) -> None:
    with place.database.write() as session:
        session.execute(
            sa.update(DatasetRow)
            .where(DatasetRow.id == record.id)
            .values(expire_time=datetime.now(UTC) - timedelta(seconds=1))
        )


def test_datasets_go_when_their_time_is_over(place: Place) -> None:
    over, lasting = ready(place), ready(place)
    expire(place, over)

    sweep(place).remove_expired()

    with pytest.raises(NotFound):
        place.registry.get("default", over.id)
    assert place.registry.get("default", lasting.id).state is State.READY
    assert keys(place.store, layout.dataset_prefix("default", over.id)) == set()


def test_a_dataset_in_use_outlives_its_time(place: Place) -> None:
    record = ready(place)
    expire(place, record)
    mark = layout.dataset_use("default", record.id, "tone-abc")
    place.store.put(mark, b"{}")
    before = keys(place.store)

    sweep(place).remove_expired()
    assert keys(place.store) == before
    place.store.delete(mark)
    sweep(place).remove_expired()

    assert keys(place.store) == set()


def test_an_upload_to_which_nothing_comes_goes(place: Place) -> None:
    abandoned, done = place.created(), ready(place)
    writer = place.registry.write("default", abandoned.id, Split.TRAIN)
    writer.add(0, b"some,1\n")
    writer.flush()

    sweep(place, abandoned_after=LONG).remove_abandoned()
    assert place.registry.get("default", abandoned.id).state is State.UPLOADING
    with place.database.write() as session:
        # Begun long ago, but a part came just now.
        old = datetime.now(UTC) - 2 * LONG
        session.execute(sa.update(DatasetRow).values(update_time=old))
    sweep(place, abandoned_after=LONG).remove_abandoned()
    assert place.registry.get("default", abandoned.id).state is State.UPLOADING
    sweep(place).remove_abandoned()

    with pytest.raises(NotFound):
        place.registry.get("default", abandoned.id)
    assert keys(place.store, layout.dataset_prefix("default", abandoned.id)) == set()
    assert place.registry.get("default", done.id).state is State.READY


def test_orphans_go_when_they_are_old_enough_and_everything_else_stays(place: Place) -> None:
    record, uploading = ready(place), place.created()
    kept = keys(place.store) | {
        layout.dataset_use("default", record.id, "tone-abc"),
        layout.dataset_changes("default", record.id),
        layout.raw_chunk("default", uploading.id, "train", 0),
        # Of a dataset that the database forgot.
        layout.dataset_manifest("other", "forgotten"),
        layout.dataset_file("other", "forgotten", "hash", "1/train.parquet"),
        "other/models/m/model.json",
        "_shared/base_models/small/model.json",
    }
    orphans = {
        # A part that was sent past the service after the dataset was finalised.
        layout.raw_chunk("default", record.id, "train", 10**6),
        layout.dataset_file("default", record.id, "hash", "99/train.parquet"),
        layout.raw_chunk("default", "deleted", "train", 0),
        layout.raw_chunk("gone", "deleted", "train", 0),
    }
    for key in (kept | orphans) - keys(place.store):
        place.store.put(key, b"x")

    sweep(place, grace=LONG).remove_orphans()
    assert keys(place.store) == kept | orphans
    sweep(place).remove_orphans()

    assert keys(place.store) == kept
    assert place.registry.get("default", record.id) == record


def test_a_purge_removes_what_finished_models_copied(place: Place) -> None:
    record = ready(place)
    place.store.put(layout.dataset_use("default", record.id, "done"), b"{}")
    place.store.put(layout.model_manifest("default", "done"), b"{}")
    place.store.put(f"{layout.model_examples_prefix('default', 'done')}worst.json", b"texts")

    with pytest.raises(FailedPrecondition, match="models/done uses it") as raised:
        place.deletion.delete("default", record.id)
    assert raised.value.subjects == ("models/done",)
    place.deletion.delete("default", record.id, purge=True)

    assert keys(place.store) == {layout.model_manifest("default", "done")}


def test_a_purge_waits_for_a_model_that_is_being_trained(place: Place) -> None:
    record = ready(place)
    for model in ("done", "busy"):
        place.store.put(layout.dataset_use("default", record.id, model), b"{}")
    place.store.put(layout.model_manifest("default", "done"), b"{}")
    place.store.put(layout.model_pending("default", "busy"), b"{}")
    before = keys(place.store)

    with pytest.raises(FailedPrecondition, match="models/busy is not READY") as raised:
        place.deletion.delete("default", record.id, purge=True)

    assert raised.value.subjects == ("models/busy",)
    assert keys(place.store) == before


def test_a_purge_that_was_cut_short_is_finished(place: Place) -> None:
    record = ready(place)
    copies = f"{layout.model_examples_prefix('default', 'done')}worst.json"
    place.store.put(layout.dataset_use("default", record.id, "done"), b"{}")
    place.store.put(copies, b"texts")
    with place.database.write() as session:
        session.execute(sa.update(DatasetRow).values(deleting=True))
    place.store.delete(layout.dataset_manifest("default", record.id))

    place.deletion.finish()

    assert keys(place.store) == set()


def test_a_dataset_that_changed_since_is_not_deleted(place: Place) -> None:
    record = ready(place)

    with pytest.raises(Aborted):
        place.deletion.delete("default", record.id, etag="other")
    place.deletion.delete("default", record.id, etag=record.etag)

    assert keys(place.store) == set()


def test_the_operator_says_how_long_datasets_are_kept(place: Place) -> None:
    creation = Creation(place.database, PROFILES, quotas=Quotas(), retention=LONG)
    wanted = NewDataset(display_name="Tone", options=DatasetOptions())

    record = creation.create("default", wanted)

    assert record.expire_time == record.create_time + LONG
