from __future__ import annotations

from pathlib import Path

import pytest

from services.common.storage import BeforeEnd, Content, ObjectStore, open_store
from services.trainer.checkpoints import KEPT, Checkpoints, StoredCheckpoints, discard
from services.trainer.messages import Logged, Message
from tests.stores import FailingStore, PassingStore


class Desk:
    """One model's checkpoints, and what a training would write."""

    def __init__(self, tmp_path: Path) -> None:
        self.store = open_store(str(tmp_path / "store"))
        self.work = tmp_path / "work"
        self.fetched = tmp_path / "fetched"
        self.told: list[Message] = []

    def attempt(self, token: int = 1, store: ObjectStore | None = None) -> Checkpoints:
        return StoredCheckpoints(
            store or self.store,
            tenant="default",
            model="tone-abcdef",
            token=token,
            tell=self.told.append,
        )

    def write(self, content: str) -> Path:
        """Return a directory as a training leaves one."""
        (self.work / "deep").mkdir(parents=True, exist_ok=True)
        (self.work / "encoder.safetensors").write_text(content)
        (self.work / "deep" / "manifest.json").write_text("{}")
        (self.work / "manifest.json").write_text("a file of the training's own")
        return self.work

    def read(self, token: int = 9) -> str | None:
        place = self.attempt(token).latest(self.fetched)
        return None if place is None else (place / "encoder.safetensors").read_text()

    def stored(self) -> list[str]:
        return [item.key for item in self.store.list("default/models/tone-abcdef/")]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


class DiscardingStore(PassingStore):
    """Has all checkpoints removed as soon as a manifest is written, as a deletion may."""

    def create(self, key: str, data: Content, *, before_end: BeforeEnd = None) -> bool:
        created = super().create(key, data, before_end=before_end)
        discard(self, "default", "tone-abcdef")
        return created


def test_a_checkpoint_that_is_removed_at_once_ends_no_run(desk: Desk) -> None:
    desk.attempt(store=DiscardingStore(desk.store)).save(desk.write("one"), step=60)

    assert desk.stored() == []


def test_a_run_without_a_checkpoint_begins_anew(desk: Desk) -> None:
    assert desk.attempt().latest(desk.fetched) is None
    assert desk.told == []


def test_all_files_come_back_under_their_names(desk: Desk) -> None:
    desk.attempt().save(desk.write("one"), step=60)

    place = desk.attempt(2).latest(desk.fetched)

    assert place is not None
    files = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    assert files == {"encoder.safetensors", "manifest.json", "deep/manifest.json"}
    found = "Found the checkpoint of step 60 to go on from."
    assert desk.told == [Logged(level="info", message=found)]


def test_the_newest_step_wins_and_of_one_step_the_later_attempt(desk: Desk) -> None:
    desk.attempt(1).save(desk.write("step 9"), step=9)
    desk.attempt(1).save(desk.write("step 10"), step=10)
    assert desk.read() == "step 10"

    desk.attempt(2).save(desk.write("step 10 again"), step=10)
    assert desk.read() == "step 10 again"


def test_only_the_newest_are_kept(desk: Desk) -> None:
    for step in range(1, 6):
        desk.attempt().save(desk.write(f"step {step}"), step=step)

    steps = {key.split("/")[4] for key in desk.stored()}
    assert len(steps) == KEPT
    assert desk.read() == "step 5"


def test_the_same_step_of_the_same_attempt_is_not_written_over(desk: Desk) -> None:
    desk.attempt().save(desk.write("first"), step=7)
    desk.attempt().save(desk.write("other bytes"), step=7)

    assert desk.read() == "first"


@pytest.mark.parametrize("writes", range(4))
def test_a_save_that_breaks_off_is_invisible(desk: Desk, writes: int) -> None:
    desk.attempt(1).save(desk.write("whole"), step=1)
    desk.attempt(2, FailingStore(desk.store, writes)).save(desk.write("in part"), step=2)

    (told,) = desk.told
    assert isinstance(told, Logged)
    assert (told.level, "step 2 is not stored" in told.message) == ("warning", True)
    assert desk.read() == "whole"

    for step in (3, 4):
        desk.attempt(3).save(desk.write(f"step {step}"), step=step)
    assert not any("0000000002-" in key for key in desk.stored())


@pytest.mark.parametrize("damage", ["changed", "gone", "manifest"])
def test_a_damaged_one_is_passed_over_and_told(desk: Desk, damage: str) -> None:
    for step in (1, 2):
        desk.attempt().save(desk.write(f"step {step}"), step=step)
    newest = [key for key in desk.stored() if "0000000002-" in key]
    file = next(key for key in newest if key.endswith("encoder.safetensors"))
    if damage == "changed":
        desk.store.put(file, b"step X")
    elif damage == "gone":
        desk.store.delete(file)
    else:
        desk.store.put(next(key for key in newest if key.endswith("1/manifest.json")), b"{")

    assert desk.read() == "step 1"
    levels = [message.level for message in desk.told if isinstance(message, Logged)]
    assert levels == ["warning", "info"]


def test_a_file_outside_its_directory_is_not_written(desk: Desk, tmp_path: Path) -> None:
    desk.attempt().save(desk.write("one"), step=1)
    (key,) = (key for key in desk.stored() if key.endswith("1/manifest.json"))
    content = b"".join(desk.store.get(key)).replace(b"deep/manifest.json", b"../../../escaped")
    desk.store.put(key, content)

    assert desk.read() is None
    assert not (tmp_path / "escaped").exists()


def test_all_can_be_discarded(desk: Desk) -> None:
    desk.attempt().save(desk.write("one"), step=1)

    discard(desk.store, "default", "tone-abcdef")

    assert desk.stored() == []
