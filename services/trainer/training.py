"""One training run: rows and a base in, encoder and head out.

Knows no dataset, no store and no service: whoever calls it listens, and may stop it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from services.common.threads import available_cpus
from services.trainer.base_import import BaseEncoder
from services.trainer.checkpoints import Checkpoints
from services.trainer.encoder import SentenceEncoder, embed, load_encoder
from services.trainer.head import Floats, FormerHead, Head, prototypes
from services.trainer.labelled_texts import LabelledTexts
from services.trainer.learning import nearness, snapshot
from services.trainer.learning.calibration import choose
from services.trainer.learning.course import Course
from services.trainer.learning.gauge import Gauge, metric_rows
from services.trainer.learning.group import ALONE, Group
from services.trainer.learning.keeper import Keeper
from services.trainer.learning.listening import Cancelled, Listener
from services.trainer.learning.nearness import Neighbourhood
from services.trainer.learning.regression import Regression, tuned_regression
from services.trainer.learning.rows import TrainingRows
from services.trainer.learning.selection import Rows, sample
from services.trainer.learning.snapshot import Snapshot
from services.trainer.recipe import Hyperparameters, Plan, Shape, plan
from services.trainer.saving import save_encoder
from services.trainer.tokenize import Tokenizer

CHECKPOINT_SECONDS = 60.0
"""A lost machine costs a run at most that much, and the upload."""

_BASELINE_ROWS = 20_000
# The regression and the first head learn from at most these: more would not move them.


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The frozen base and the best logistic regression on it: what training has to beat."""

    base: BaseEncoder
    labels: tuple[str, ...]
    encoder: SentenceEncoder
    head: Head
    thresholds: Floats
    """[K] where a text can have several labels, else empty."""

    known: Rows
    """[M], the training rows that the regression was fitted on."""

    known_embeddings: Floats
    """[M, D], theirs: whoever judges the model need not embed them again."""

    @property
    def multi_label(self) -> bool:
        """Whether a text can have several labels."""
        return self.head.multi_label

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
    """Logits are divided by it; chosen on training rows that were not learnt from."""

    thresholds: Floats
    """[K], the probability from which on each label is given; empty with one label a text."""

    shared_thresholds: tuple[str, ...]
    """Labels that too few rows had for a threshold of their own: they have that of all together."""

    baseline: Baseline
    dev: LabelledTexts | None
    """Training rows that were not learnt from; None where all were."""

    neighbourhood: Neighbourhood
    """Training rows that were, as it places them."""

    @property
    def multi_label(self) -> bool:
        """Whether a text can have several labels."""
        return self.head.multi_label

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return [N, D], rows of length 1."""
        return _embed(self.base, self.encoder, texts)

    def classify(self, embeddings: Floats) -> Floats:
        """Return probabilities [N, K] for embeddings [N, D], or for their first numbers."""
        return self.head.probabilities(embeddings, self.temperature)

    def predict(self, texts: Sequence[str]) -> Floats:
        """Return probabilities [N, K]."""
        return self.classify(self.embed(texts))

    def save_encoder(self, directory: Path) -> tuple[str, ...]:
        """Write a directory that `read_base` and sentence-transformers read.

        Returns:
            The files, as paths relative to `directory`.
        """
        return save_encoder(
            self.base,
            self.encoder,
            self.head,
            self.temperature,
            directory,
            matryoshka_dimensions=self.plan.matryoshka_dimensions,
        )


def shape_of(base: BaseEncoder, *, rows: int, labels: int) -> Shape:
    """Return what the recipe looks at in a training from `base`."""
    return Shape(
        rows=rows,
        labels=labels,
        layers=base.layers,
        max_tokens=base.max_tokens,
        matryoshka_dimensions=tuple(
            length for length in base.matryoshka_dimensions if length < base.dimensions
        ),
    )


def fit_baseline(
    *, base: BaseEncoder, labels: Sequence[str], train: LabelledTexts, seed: int
) -> Baseline:
    """Fit the baseline alone, without any training of the encoder."""
    encoder = load_encoder(base)
    targets = train.targets(len(labels))
    frozen = _embed(base, encoder, train.texts)
    regression = tuned_regression(frozen, targets, len(labels), seed=seed)
    return _baseline(base, labels, regression, np.arange(len(frozen)), frozen)


def train(
    *,
    base: BaseEncoder,
    labels: Sequence[str],
    train: LabelledTexts,
    validation: LabelledTexts | None,
    positive_label: str | None,
    hyperparameters: Hyperparameters,
    former: FormerHead | None = None,
    listener: Listener,
    should_stop: Callable[[], bool],
    threads: int | None = None,
    device: str = "cpu",
    checkpoints: Checkpoints | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    group: Group = ALONE,
) -> TrainedModel:
    """Train an encoder and its head on labelled texts.

    With the same arguments, libraries and number of threads, the result is the same on a CPU,
    bit for bit, however often the run was stopped and went on from a checkpoint. torch's thread
    count and random state are set for the whole process.

    Args:
        base: Where to start.
        labels: At least two.
        train: At least two labels have a row.
        validation: Only measured, never learnt from; without it nothing is measured.
        positive_label: Whose precision, recall and F1 are told, with two labels; else the macro
            average.
        hyperparameters: Within `recipe.RANGES`.
        former: The head that the base was trained with, where it is a fine-tuned model.
        listener: Told of every step and measurement.
        should_stop: Asked before every batch.
        threads: For torch; None takes what affinity and cgroup leave.
        device: Where to compute, as torch names it.
        checkpoints: Where the run is kept on its way, and gone on from; None keeps nothing.
        checkpoint_seconds: How far apart checkpoints are at least.
        group: The workers that were called with the same arguments and share the work. The first
            one measures and keeps; the model is the same on all.

    Raises:
        Cancelled: Within a step after `should_stop` says so.
    """
    torch.set_num_threads(threads or available_cpus())
    chosen = plan(hyperparameters, shape_of(base, rows=len(train.texts), labels=len(labels)))
    base = replace(base, max_tokens=chosen.max_tokens)

    def check() -> None:
        if should_stop():
            raise Cancelled("The run was asked to stop.")

    rows = TrainingRows(
        base=base,
        plan=chosen,
        tokens=Tokenizer.load(base).encode_compactly(train.texts),
        targets=train.targets(len(labels)),
        groups=train.group_numbers,
        device=device,
        check=check,
        group=group,
    )
    gauge = None
    if validation is not None and group.rank == 0:
        gauge = _gauge(base, labels, validation, positive_label, chosen.epochs * len(train.texts))
    with tempfile.TemporaryDirectory(prefix="training-") as scratch:
        keeper = Keeper(
            checkpoints,
            name=snapshot.fingerprint(chosen, rows.tokens, rows.targets),
            scratch=Path(scratch),
            seconds=checkpoint_seconds,
            reads_only=group.rank > 0,
        )
        course = Course(
            plan=chosen,
            listener=listener,
            should_stop=should_stop,
            gauge=gauge,
            keeper=keeper,
            group=group,
        )
        found = keeper.latest()
        group.agree(f"{keeper.name} {None if found is None else found.step}")
        return _carry_out(course, rows, tuple(labels), train, former=former, found=found)


def _carry_out(
    course: Course,
    rows: TrainingRows,
    labels: tuple[str, ...],
    train: LabelledTexts,
    *,
    former: FormerHead | None,
    found: Snapshot | None,
) -> TrainedModel:
    encoder = load_encoder(rows.base).to(rows.device)
    known = sample(rows.targets, _BASELINE_ROWS, seed=rows.plan.seed)
    frozen = rows.embed(encoder, known)

    def start(learnt: Rows) -> Head:
        among = np.isin(known, learnt)
        head = prototypes(frozen[among], rows.targets[known[among]], len(labels))
        return head if former is None else former.onto(head, labels)

    if found is None:
        regression = tuned_regression(frozen, rows.targets[known], len(labels), seed=rows.plan.seed)
        rows.check()
        course.measure_baseline(encoder, regression)
    else:
        regression = found.baseline
    main, folds = rows.main(), rows.folds()
    course.expect(rows.plan.steps(len(part.learnt)) for part in (main, *folds))
    fitting = rows.fitting(main.learnt, start(main.learnt), seed=rows.plan.seed)
    course.learn(fitting, regression, found)
    outlooks = [nearness.look(rows, main, fitting)]
    for number, part in enumerate(folds, start=1):
        rehearsal = rows.fitting(part.learnt, start(part.learnt), seed=rows.plan.seed + number)
        course.rehearse(rehearsal)
        outlooks.append(nearness.look(rows, part, rehearsal))
    unseen = np.concatenate([part.held for part in (main, *folds)])
    choice = choose(np.concatenate([one.logits for one in outlooks]), rows.targets[unseen])
    return TrainedModel(
        base=rows.base,
        labels=labels,
        plan=rows.plan,
        encoder=fitting.encoder.cpu(),
        head=fitting.learner.head,
        temperature=choice.temperature,
        thresholds=choice.thresholds,
        shared_thresholds=tuple(labels[label] for label in choice.shared),
        baseline=_baseline(rows.base, labels, regression, known, frozen),
        dev=train.take(main.held) if len(main.held) else None,
        neighbourhood=nearness.neighbourhood(
            outlooks[0], np.concatenate([one.cosines for one in outlooks])
        ),
    )


def _gauge(
    base: BaseEncoder,
    labels: Sequence[str],
    validation: LabelledTexts,
    positive_label: str | None,
    seen: int,
) -> Gauge:
    rows = metric_rows(len(validation.texts), seen)
    return Gauge(
        tokens=Tokenizer.load(base).encode_compactly([validation.texts[row] for row in rows]),
        targets=validation.targets(len(labels))[rows],
        labels=labels,
        positive_label=positive_label,
        pad_token_id=base.pad_token_id,
    )


def _baseline(
    base: BaseEncoder, labels: Sequence[str], regression: Regression, known: Rows, frozen: Floats
) -> Baseline:
    return Baseline(
        base=base,
        labels=tuple(labels),
        encoder=load_encoder(base),
        head=regression.head,
        thresholds=regression.thresholds,
        known=known,
        known_embeddings=frozen,
    )


def _embed(base: BaseEncoder, encoder: SentenceEncoder, texts: Sequence[str]) -> Floats:
    tokens = Tokenizer.load(base).encode_compactly(texts)
    return embed(encoder, tokens, base.pad_token_id)
