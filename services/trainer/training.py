"""One training run: rows and a base in, encoder and head out.

Knows no dataset, no store and no service: whoever calls it listens, and may stop it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from services.common.threads import available_cpus
from services.trainer.base_import import BaseEncoder
from services.trainer.batches import length_grouped
from services.trainer.calibration import fit_temperature, keep_back
from services.trainer.encoder import SentenceEncoder, collate, embed, load_encoder
from services.trainer.evaluation import evaluate
from services.trainer.head import Floats, Head, prototypes, tuned_regression
from services.trainer.learner import Learner
from services.trainer.recipe import METRIC_POINTS, Hyperparameters, Plan, plan
from services.trainer.saving import save_encoder
from services.trainer.tokenize import Tokenizer

Ints = npt.NDArray[np.int64]

_METRIC_COST = 0.1
_STEP_COST = 3
# A row costs three times as much to train on (forward and backward) as to embed. All metric
# points together may take a tenth of the training's time; held-out rows beyond that are left to
# the evaluation at the end.
_LEAST_METRIC_ROWS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledTexts:
    """Texts, each with one label."""

    texts: Sequence[str]
    label_ids: Sequence[int]
    """Index of each text's label in the run's labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the run is."""

    step: int
    total_steps: int
    epoch: float
    """Passes over the rows that are done, with fraction."""

    epochs: int
    eta_seconds: float | None
    """Until the last step; None before the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMetrics:
    """The model on held-out rows after a step; step 0 is the untrained baseline."""

    step: int
    epoch: float
    loss: float
    """Log loss."""

    accuracy: float
    precision: float
    recall: float
    f1: float


class Listener(Protocol):
    """Who wants to know. Called between steps: whatever it raises ends the run."""

    def on_progress(self, progress: Progress) -> None:
        """Take note of a step."""

    def on_metrics(self, metrics: StepMetrics) -> None:
        """Take note of a measurement."""


class Cancelled(Exception):
    """The run was asked to stop, and did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The frozen base and the best logistic regression on it: what training has to beat."""

    base: BaseEncoder
    encoder: SentenceEncoder
    head: Head

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return [N, D], rows of length 1."""
        return _embed(self.base, self.encoder, texts)

    def classify(self, embeddings: Floats) -> Floats:
        """Return probabilities [N, K] for embeddings [N, D]."""
        return self.head.probabilities(embeddings)

    def predict(self, texts: Sequence[str]) -> Floats:
        """Return probabilities [N, K]."""
        return self.classify(self.embed(texts))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """What a run leaves."""

    base: BaseEncoder
    labels: tuple[str, ...]
    plan: Plan
    encoder: SentenceEncoder
    """In evaluation mode."""

    head: Head
    temperature: float
    """Logits are divided by it; chosen on training rows that were kept back, or 1."""

    baseline: Baseline

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return [N, D], rows of length 1."""
        return _embed(self.base, self.encoder, texts)

    def classify(self, embeddings: Floats) -> Floats:
        """Return probabilities [N, K] for embeddings [N, D]."""
        return self.head.probabilities(embeddings, self.temperature)

    def predict(self, texts: Sequence[str]) -> Floats:
        """Return probabilities [N, K]."""
        return self.classify(self.embed(texts))

    def save_encoder(self, directory: Path) -> tuple[str, ...]:
        """Write a directory that `read_base` and sentence-transformers read.

        Returns:
            The files, as paths relative to `directory`.
        """
        return save_encoder(self.base, self.encoder, self.head, self.temperature, directory)


def fit_baseline(
    *, base: BaseEncoder, labels: Sequence[str], train: LabelledTexts, seed: int
) -> Baseline:
    """Fit the baseline alone, without any training of the encoder."""
    encoder = load_encoder(base)
    head = tuned_regression(
        _embed(base, encoder, train.texts), np.asarray(train.label_ids), len(labels), seed=seed
    )
    return Baseline(base=base, encoder=encoder, head=head)


def train(
    *,
    base: BaseEncoder,
    labels: Sequence[str],
    train: LabelledTexts,
    validation: LabelledTexts | None,
    positive_label: str | None,
    hyperparameters: Hyperparameters,
    listener: Listener,
    should_stop: Callable[[], bool],
    threads: int | None = None,
) -> TrainedModel:
    """Train an encoder and its head on labelled texts.

    With the same arguments, libraries and number of threads, the result is the same on a CPU,
    bit for bit. torch's thread count and random state are set for the whole process.

    Args:
        base: Where to start.
        labels: At least two.
        train: At least two labels have a row.
        validation: Only measured, never learnt from; without it nothing is measured.
        positive_label: Whose precision, recall and F1 are told, with two labels; else the macro
            average.
        hyperparameters: Within `recipe.RANGES`.
        listener: Told of every step and measurement.
        should_stop: Asked before every batch.
        threads: For torch; None takes what affinity and cgroup leave.

    Raises:
        Cancelled: Within a step after `should_stop` says so.
    """
    torch.set_num_threads(threads or available_cpus())
    chosen = plan(hyperparameters, rows=len(train.texts), labels=len(labels))
    torch.manual_seed(chosen.seed)

    def check() -> None:
        if should_stop():
            raise Cancelled("The run was asked to stop.")

    tokenizer = Tokenizer.load(base)
    sequences = tokenizer.encode(train.texts)
    label_ids = np.asarray(train.label_ids, dtype=np.int64)
    learnt, kept = keep_back(label_ids, chosen.calibration_rows, seed=chosen.seed)
    # Cut label by label, the rows kept back are about as many as planned, not just as many.
    chosen = replace(chosen, total_steps=chosen.epochs * -(-len(learnt) // chosen.batch_size))
    encoder = load_encoder(base)
    frozen = embed(encoder, sequences, base.pad_token_id, before_batch=check)
    baseline = Baseline(
        base=base,
        encoder=load_encoder(base),
        head=tuned_regression(frozen, label_ids, len(labels), seed=chosen.seed),
    )
    check()
    gauge = None
    if validation is not None:
        rows = _metric_rows(len(validation.texts), len(sequences), chosen)
        gauge = _Gauge(
            base=base,
            sequences=tokenizer.encode([validation.texts[row] for row in rows]),
            label_ids=np.asarray(validation.label_ids, dtype=np.int64)[rows],
            labels=labels,
            positive_label=positive_label,
            listener=listener,
            check=check,
        )
        gauge.measure(encoder, baseline.head, step=0, epoch=0.0)
    start = prototypes(frozen[learnt], label_ids[learnt], len(labels))
    watch = _Watch(base=base, plan=chosen, listener=listener, gauge=gauge, check=check)
    head = _learn(
        Learner(encoder, start, chosen),
        [sequences[row] for row in learnt],
        label_ids[learnt],
        watch,
    )
    temperature = 1.0
    if len(kept):
        unseen = [sequences[row] for row in kept]
        embeddings = embed(encoder, unseen, base.pad_token_id, before_batch=check)
        temperature = fit_temperature(head, embeddings, label_ids[kept])
    return TrainedModel(
        base=base,
        labels=tuple(labels),
        plan=chosen,
        encoder=encoder.eval(),
        head=head,
        temperature=temperature,
        baseline=baseline,
    )


class _Gauge:
    """Scores held-out rows and tells the listener."""

    def __init__(
        self,
        *,
        base: BaseEncoder,
        sequences: list[list[int]],
        label_ids: Ints,
        labels: Sequence[str],
        positive_label: str | None,
        listener: Listener,
        check: Callable[[], None],
    ) -> None:
        self._base = base
        self._sequences = sequences
        self._label_ids = label_ids
        self._labels = labels
        self._positive_label = positive_label
        self._listener = listener
        self._check = check

    def measure(self, encoder: SentenceEncoder, head: Head, *, step: int, epoch: float) -> None:
        embeddings = embed(
            encoder, self._sequences, self._base.pad_token_id, before_batch=self._check
        )
        scores = evaluate(
            probabilities=head.probabilities(embeddings),
            label_ids=self._label_ids,
            labels=self._labels,
            positive_label=self._positive_label,
        )
        self._listener.on_metrics(
            StepMetrics(
                step=step,
                epoch=epoch,
                loss=scores.log_loss,
                accuracy=scores.accuracy,
                precision=scores.precision,
                recall=scores.recall,
                f1=scores.f1,
            )
        )


class _Watch:
    """What happens between two steps: stop, tell the progress, measure."""

    def __init__(
        self,
        *,
        base: BaseEncoder,
        plan: Plan,
        listener: Listener,
        gauge: _Gauge | None,
        check: Callable[[], None],
    ) -> None:
        self.base = base
        self.plan = plan
        self.check = check
        self._listener = listener
        self._gauge = gauge
        self._begin = time.monotonic()
        self._tell(0, None)

    def after(self, step: int, learner: Learner) -> None:
        spent = time.monotonic() - self._begin
        self._tell(step, spent / step * (self.plan.total_steps - step))
        if self._gauge is not None and self.plan.is_measured(step):
            with learner.average.applied():
                self._gauge.measure(
                    learner.encoder, learner.head, step=step, epoch=self._epoch(step)
                )

    def _tell(self, step: int, eta: float | None) -> None:
        self._listener.on_progress(
            Progress(
                step=step,
                total_steps=self.plan.total_steps,
                epoch=self._epoch(step),
                epochs=self.plan.epochs,
                eta_seconds=eta,
            )
        )

    def _epoch(self, step: int) -> float:
        return step * self.plan.epochs / self.plan.total_steps


def _learn(
    learner: Learner, sequences: Sequence[Sequence[int]], label_ids: Ints, watch: _Watch
) -> Head:
    """Take all steps; encoder and head end as their moving averages."""
    random = np.random.default_rng(watch.plan.seed)
    lengths = [len(sequence) for sequence in sequences]
    targets = torch.from_numpy(label_ids)
    step = 0
    for _ in range(watch.plan.epochs):
        for rows in length_grouped(lengths, watch.plan.batch_size, random):
            watch.check()
            batch = collate([sequences[row] for row in rows], watch.base.pad_token_id)
            learner.step(*batch, targets[torch.from_numpy(rows)])
            step += 1
            watch.after(step, learner)
    learner.average.apply()
    return learner.head


def _metric_rows(held_out: int, rows: int, chosen: Plan) -> Ints:
    """Choose the held-out rows that the metric points look at: the same at every point."""
    affordable = int(_METRIC_COST * _STEP_COST * rows * chosen.epochs / METRIC_POINTS)
    count = min(held_out, max(_LEAST_METRIC_ROWS, affordable))
    chosen_rows = np.random.default_rng(0).permutation(held_out)[:count]
    return np.sort(chosen_rows)


def _embed(base: BaseEncoder, encoder: SentenceEncoder, texts: Sequence[str]) -> Floats:
    return embed(encoder, Tokenizer.load(base).encode(texts), base.pad_token_id)
