"""A training that is stopped and goes on must end as if nothing had happened, bit for bit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from services.trainer.base_import import BaseEncoder
from services.trainer.labelled_texts import LabelledTexts
from services.trainer.learning.listening import Cancelled, Progress, StepMetrics
from services.trainer.recipe import Hyperparameters
from services.trainer.training import TrainedModel, train

_ASKED = Hyperparameters(
    epochs=3,
    learning_rate=1e-3,
    batch_size=16,
    contrastive_weight=0.5,
    anchor_weight=0.5,
    frozen_layers=1,
    seed=3,
)
"""15 steps, through every part that has a state or a random choice."""


class _Shelf:
    """Checkpoints in a directory, the newest alone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.steps: list[int] = []

    def latest(self, directory: Path) -> Path | None:
        if not self._directory.exists():
            return None
        shutil.copytree(self._directory, directory, dirs_exist_ok=True)
        return directory

    def save(self, directory: Path, *, step: int) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
        shutil.copytree(directory, self._directory)
        self.steps.append(step)


class _Killed(Exception):
    """Ends a run as `kill -9` does: nothing is kept on the way out."""


class _Fate:
    """Notes what it is told, and ends the run after some steps of this try."""

    def __init__(self, *, stop_after: int | None = None, kill_after: int | None = None) -> None:
        self.progress: list[Progress] = []
        self.metrics: list[StepMetrics] = []
        self._stop_after = stop_after
        self._kill_after = kill_after

    def on_progress(self, progress: Progress) -> None:
        self.progress.append(progress)
        if self._kill_after is not None and len(self.progress) > self._kill_after:
            raise _Killed

    def on_metrics(self, metrics: StepMetrics) -> None:
        self.metrics.append(metrics)

    def should_stop(self) -> bool:
        return self._stop_after is not None and len(self.progress) > self._stop_after


Train = Callable[..., TrainedModel]


@pytest.fixture(scope="module")
def train_(base: BaseEncoder, learnt_from: LabelledTexts, held_out: LabelledTexts) -> Train:
    def run(
        shelf: _Shelf | None, fate: _Fate, asked: Hyperparameters = _ASKED, seconds: float = 0.0
    ) -> TrainedModel:
        return train(
            base=base,
            labels=("bad", "good"),
            train=learnt_from,
            validation=held_out,
            positive_label=None,
            hyperparameters=asked,
            listener=fate,
            should_stop=fate.should_stop,
            threads=1,
            checkpoints=shelf,
            checkpoint_seconds=seconds,
        )

    return run


def _assert_equal(one: TrainedModel, other: TrainedModel) -> None:
    tensors = other.encoder.state_dict()
    for name, tensor in one.encoder.state_dict().items():
        assert torch.equal(tensor, tensors[name]), name
    assert np.array_equal(one.head.weight, other.head.weight)
    assert np.array_equal(one.head.bias, other.head.bias)
    assert np.array_equal(one.baseline.head.weight, other.baseline.head.weight)
    assert one.temperature == other.temperature
    assert np.array_equal(one.neighbourhood.vectors, other.neighbourhood.vectors)
    assert np.array_equal(one.neighbourhood.held_out_cosines, other.neighbourhood.held_out_cosines)


@dataclass(frozen=True)
class _Whole:
    """What a run leaves that nothing happened to."""

    model: TrainedModel
    metrics: list[StepMetrics]


@pytest.fixture(scope="module")
def whole(train_: Train) -> _Whole:
    fate = _Fate()
    return _Whole(model=train_(None, fate), metrics=fate.metrics)


@pytest.mark.parametrize(("every", "end"), [(4, "stopped"), (6, "killed")])
def test_a_run_that_ends_after_every_few_steps_ends_as_one_that_never_did(
    train_: Train, whole: _Whole, tmp_path: Path, every: int, end: str
) -> None:
    shelf = _Shelf(tmp_path / "shelf")
    metrics: list[StepMetrics] = []
    tries = 0
    model = None
    while model is None:
        tries += 1
        # What follows the training begins anew in each try: the last one has to get through.
        left = every if 15 - (shelf.steps or [0])[-1] > every else None
        try_ = _Fate(stop_after=left if end == "stopped" else None, kill_after=left)
        with suppress(Cancelled, _Killed):
            model = train_(shelf, try_)
        metrics += try_.metrics

    assert tries > 1
    _assert_equal(model, whole.model)
    unique = {point.step: point for point in metrics}
    assert [unique[step] for step in sorted(unique)] == whole.metrics


def test_a_run_that_ended_before_its_choices_does_not_learn_again(
    train_: Train, whole: _Whole, tmp_path: Path
) -> None:
    shelf = _Shelf(tmp_path / "shelf")
    with pytest.raises(_Killed):
        train_(shelf, _Fate(kill_after=20))

    fate = _Fate()
    model = train_(shelf, fate)

    assert shelf.steps[-1] == 15
    assert fate.progress[0].step == 15
    assert fate.metrics == []
    _assert_equal(model, whole.model)


def test_a_checkpoint_of_another_training_is_not_gone_on_from(
    train_: Train, tmp_path: Path
) -> None:
    shelf = _Shelf(tmp_path / "shelf")
    with pytest.raises(Cancelled):
        train_(shelf, _Fate(stop_after=3))
    fate = _Fate()

    train_(shelf, fate, Hyperparameters(epochs=1, learning_rate=1e-3, batch_size=16))

    assert fate.progress[0].step == 0


def test_checkpoints_are_as_far_apart_as_is_asked(train_: Train, tmp_path: Path) -> None:
    shelf = _Shelf(tmp_path / "shelf")

    train_(shelf, _Fate(), seconds=3600.0)

    # What has learnt is kept before the choices that need a training of their own.
    assert shelf.steps == [15]
