"""Whether the training rows in a bundle are what its manifest says, and can be a model's. Pure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from isogloss.storage.v1.example_texts_pb2 import ExampleTexts
from isogloss.storage.v1.model_manifest_pb2 import ModelManifest, Neighbours
from isogloss.v1.label_mode_pb2 import LabelMode
from services.common import neighbours
from services.common.neighbours import HELD_OUT_STEPS, MAX_ROWS
from services.trainer.evaluation.stored import TEXT_CHARACTERS

_MOST_COSINE = 1.01
# Of vectors whose length is nearly 1.


def check(
    manifest: ModelManifest, vectors: Callable[[], bytes], texts: Callable[[], ExampleTexts]
) -> None:
    """Check the rows of a model that has any.

    Args:
        manifest: Of the model.
        vectors: Reads the file of their vectors.
        texts: Reads their texts.

    Raises:
        ValueError: Where they are not what they must be; says what, as a clause.
    """
    if not manifest.HasField("neighbours"):
        return
    told = manifest.neighbours
    _check_figures(told)
    found = neighbours.read(
        vectors(), rows=told.rows, dimension=manifest.dimension, labels=len(manifest.labels)
    )
    counts = np.diff(found.label_ends, prepend=0)
    if manifest.label_mode == LabelMode.LABEL_MODE_SINGLE and (counts != 1).any():
        raise ValueError("has rows that have not one label, other than its model's texts")
    if told.HasField("texts"):
        _check_texts(texts(), found.rows.tolist())


def _check_figures(told: Neighbours) -> None:
    if not 1 <= told.rows <= MAX_ROWS:
        raise ValueError(f"has {told.rows} rows, 1 to {MAX_ROWS} are taken")
    if not 1 <= told.nearest <= told.rows:
        raise ValueError(f"has {told.rows} rows, and counts the nearest number {told.nearest}")
    cosines = np.array(told.held_out_cosines)
    if len(cosines) not in (0, HELD_OUT_STEPS):
        raise ValueError(
            f"has {len(cosines)} cosines of texts held out, instead of {HELD_OUT_STEPS}"
        )
    # Not "greater than", which is false of what is no number.
    if not (abs(cosines) <= _MOST_COSINE).all() or (np.diff(cosines) < 0).any():
        raise ValueError("has cosines of texts held out that are none, or do not ascend")


def _check_texts(texts: ExampleTexts, rows: list[int]) -> None:
    if sorted(texts.train) != rows:
        raise ValueError("has texts of other rows than it has vectors of")
    if any(len(text) > TEXT_CHARACTERS for text in texts.train.values()):
        raise ValueError(f"has a text of more than {TEXT_CHARACTERS} characters")
