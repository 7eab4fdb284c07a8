from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from isogloss.storage.v1.example_texts_pb2 import ExampleTexts
from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from isogloss.v1.label_mode_pb2 import LabelMode
from services.common.neighbours import HELD_OUT_STEPS, NeighbourRows, write
from services.trainer.registry.bundled_rows import check

DIMENSION = 4


def vectors(*, ends: tuple[int, int] = (1, 2)) -> bytes:
    """Return two rows, the 3rd and the 8th of the training rows."""
    return write(
        NeighbourRows(
            vectors=np.eye(2, DIMENSION, dtype=np.float16),
            rows=np.array([3, 8], np.int64),
            label_ids=np.array([0, 1], np.int32),
            label_ends=np.array(ends, np.int32),
        )
    )


def model() -> ModelManifest:
    manifest = ModelManifest(
        dimension=DIMENSION, labels=["a", "b"], label_mode=LabelMode.LABEL_MODE_SINGLE
    )
    manifest.neighbours.rows = 2
    manifest.neighbours.nearest = 1
    manifest.neighbours.texts.key = "examples/neighbours.json"
    manifest.neighbours.held_out_cosines.extend(np.linspace(0, 1, HELD_OUT_STEPS))
    return manifest


def checked(
    manifest: ModelManifest,
    *,
    content: bytes | None = None,
    texts: dict[int, str] | None = None,
) -> None:
    given = {3: "one", 8: "two"} if texts is None else texts
    check(manifest, lambda: content or vectors(), lambda: ExampleTexts(train=given))


def test_rows_of_a_model_pass() -> None:
    checked(model())


def test_nothing_held_out_and_no_texts_pass() -> None:
    manifest = model()
    del manifest.neighbours.held_out_cosines[:]
    manifest.neighbours.ClearField("texts")

    checked(manifest, texts={})


def test_a_model_without_rows_is_not_asked_for_files() -> None:
    check(ModelManifest(), pytest.fail, pytest.fail)


def test_a_text_of_a_model_with_several_labels_may_have_two_or_none() -> None:
    manifest = model()
    manifest.label_mode = LabelMode.LABEL_MODE_MULTI

    checked(manifest, content=vectors(ends=(0, 2)))


def _cosines(*, change: Callable[[list[float]], object]) -> Callable[[ModelManifest], None]:
    def apply(manifest: ModelManifest) -> None:
        cosines = list(manifest.neighbours.held_out_cosines)
        change(cosines)
        del manifest.neighbours.held_out_cosines[:]
        manifest.neighbours.held_out_cosines.extend(cosines)

    return apply


WRONG: dict[str, tuple[Callable[[ModelManifest], object], str]] = {
    "no rows": (lambda m: setattr(m.neighbours, "rows", 0), "0 rows"),
    "fewer rows": (lambda m: setattr(m.neighbours, "rows", 1), "shape"),
    "too many rows": (lambda m: setattr(m.neighbours, "rows", 5001), "5001 rows"),
    "no nearest": (lambda m: setattr(m.neighbours, "nearest", 0), "nearest number 0"),
    "a nearest that is none": (lambda m: setattr(m.neighbours, "nearest", 3), "nearest number 3"),
    "another dimension": (lambda m: setattr(m, "dimension", 5), "shape"),
    "fewer labels": (lambda m: m.labels.pop(), "the model has not"),
    "too few cosines": (_cosines(change=lambda c: c.pop()), "100 cosines"),
    "a cosine that is no number": (
        _cosines(change=lambda c: c.__setitem__(5, float("nan"))),
        "none, or do not",
    ),
    "a cosine above 1": (_cosines(change=lambda c: c.__setitem__(-1, 1.5)), "none, or do not"),
    "cosines that fall": (_cosines(change=lambda c: c.reverse()), "do not ascend"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_its_manifest_cannot_say_is_refused(name: str) -> None:
    change, says = WRONG[name]
    manifest = model()
    change(manifest)

    with pytest.raises(ValueError, match=says):
        checked(manifest)


def test_rows_with_any_number_of_labels_are_refused_where_a_text_has_one() -> None:
    with pytest.raises(ValueError, match="not one label"):
        checked(model(), content=vectors(ends=(0, 2)))


@pytest.mark.parametrize("rows", [(3,), (3, 9), (3, 8, 9)])
def test_texts_of_other_rows_are_refused(rows: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="texts of other rows"):
        checked(model(), texts=dict.fromkeys(rows, "one"))


def test_a_text_that_no_trainer_keeps_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 500"):
        checked(model(), texts={3: "x" * 501, 8: "two"})
