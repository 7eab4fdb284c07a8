from __future__ import annotations

import numpy as np
import pytest

from services.trainer.base_import import BaseEncoder
from services.trainer.head import Floats
from services.trainer.labelled_texts import LabelledTexts
from services.trainer.learning.listening import Progress, StepMetrics
from services.trainer.learning.nearness import Outlook, cosines, draw, neighbourhood
from services.trainer.recipe import Hyperparameters
from services.trainer.training import TrainedModel, train
from tests.unit.trainer.conftest import messages


class _Deaf:
    def on_progress(self, progress: Progress) -> None:
        """Keep nothing."""

    def on_metrics(self, metrics: StepMetrics) -> None:
        """Keep nothing."""


def _trained(base: BaseEncoder, rows: LabelledTexts) -> TrainedModel:
    return train(
        base=base,
        labels=("bad", "good"),
        train=rows,
        validation=None,
        positive_label=None,
        hyperparameters=Hyperparameters(max_steps=4, batch_size=16),
        listener=_Deaf(),
        should_stop=lambda: False,
        threads=1,
    )


def _unit(vectors: np.ndarray) -> Floats:
    found: Floats = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return found


def test_labels_are_drawn_in_proportion_and_none_is_missing() -> None:
    targets = np.repeat([3, 0, 2, 1], [600, 300, 100, 1])

    rows = draw(targets, 100, seed=0)

    assert np.all(np.diff(rows) > 0)
    assert np.bincount(targets[rows], minlength=4).tolist() == pytest.approx([30, 1, 10, 59], abs=1)
    assert np.array_equal(draw(targets, 100, seed=0), rows)
    assert not np.array_equal(draw(targets, 100, seed=1), rows)


def test_no_more_rows_are_drawn_than_there_are_or_may_be() -> None:
    targets = np.arange(9)

    assert draw(targets, 20, seed=0).tolist() == list(range(9))
    assert len(draw(targets, 5, seed=0)) == 5


def test_of_several_labels_none_is_missing_although_another_is_rarer_wherever_it_is() -> None:
    targets = np.zeros((1000, 4), dtype=np.bool_)
    targets[:900, 0] = True
    targets[500, 1] = True
    # The third label is never a row's rarest, and nobody has the fourth.
    targets[990:, 1] = targets[990, 2] = True
    targets[991:, 2] = True

    drawn = targets[draw(targets, 12, seed=0)]

    assert drawn.any(axis=0).tolist() == [True, True, True, False]


def test_a_text_is_as_near_as_its_nearest_row() -> None:
    random = np.random.default_rng(0)
    known, asked = _unit(random.normal(size=(30, 8))), _unit(random.normal(size=(3000, 8)))

    assert cosines(asked, known) == pytest.approx((asked @ known.T).max(axis=1))
    assert cosines(known, known) == pytest.approx(np.ones(30))


def test_what_was_held_is_told_in_equal_steps() -> None:
    vectors = _unit(np.random.default_rng(0).normal(size=(3, 8)))
    main = Outlook(
        known=np.arange(3),
        vectors=vectors,
        logits=np.empty((0, 2), np.float32),
        cosines=np.empty(0, np.float32),
    )
    held = np.random.default_rng(1).permutation(np.linspace(0.5, 1.0, 1001)).astype(np.float32)

    assert neighbourhood(main, held).held_out_cosines == pytest.approx(np.linspace(0.5, 1.0, 101))
    assert neighbourhood(main, held[:0]).held_out_cosines.tolist() == []
    assert neighbourhood(main, held[:1]).held_out_cosines.tolist() == [held[0]] * 101


@pytest.mark.parametrize("copies", [1, 15])
def test_a_training_keeps_what_it_learnt_from_as_it_places_it(
    base: BaseEncoder, learnt_from: LabelledTexts, copies: int
) -> None:
    """Once with a fold held out, once with rows cut off."""
    rows = LabelledTexts(
        texts=[f"{text} {copy}" for copy in range(copies) for text in learnt_from.texts],
        label_ids=[*learnt_from.label_ids] * copies,
    )
    model = _trained(base, rows)
    kept = model.neighbourhood

    texts = [rows.texts[row] for row in kept.known]
    assert len(texts) + len(model.dev.texts if model.dev else ()) == len(rows.texts)
    assert not model.dev or not {*texts} & {*model.dev.texts}
    assert kept.vectors == pytest.approx(model.embed(texts), abs=1e-5)
    assert len(kept.held_out_cosines) == 101
    assert np.all(np.diff(kept.held_out_cosines) >= 0)
    # A row that was learnt from has itself: those that were not are farther away.
    assert kept.held_out_cosines[50] < 1.0 - 1e-6


def test_nothing_is_told_of_held_rows_where_there_are_none(base: BaseEncoder) -> None:
    kept = _trained(base, messages(0, 2)).neighbourhood

    assert kept.known.tolist() == [0, 1]
    assert kept.nearest == 1
    assert kept.held_out_cosines.tolist() == []
