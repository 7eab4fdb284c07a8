"""One training on its way: how right it is after how much time, and what its steps cost.

What it costs is told beside the least that it could: the same encoder's forward and backward
passes on full batches of texts of one length, without padding, a loss or an optimiser.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from bench.labelled_sets import Draw
from services.trainer.base_import import BaseEncoder
from services.trainer.encoder import embed, load_encoder
from services.trainer.head import prototypes
from services.trainer.learning.fitting import Fitting
from services.trainer.learning.regression import tuned_regression
from services.trainer.learning.rows import TrainingRows
from services.trainer.recipe import Plan
from services.trainer.tokenize import Tokenizer

_POINTS = 16
_BARE_BATCHES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A training after some of its steps; what scoring took is left out."""

    seconds: float
    """From texts on, loading and the regression included."""

    cpu_seconds: float
    accuracy: float
    """On the test rows, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A training from its first step to its last."""

    points: Sequence[Point]
    tokens_per_second: float
    """That it learnt from, by CPU seconds of all threads; padding does not count."""

    bare_tokens_per_second: float
    """Of the bare loop, likewise."""


def measure_course(base: BaseEncoder, draw: Draw, plan: Plan) -> Course:
    """Carry out the training that a run publishes, and score it on its way.

    Args:
        base: Where to start.
        draw: Rows to learn from, and rows to score.
        plan: What to do.
    """
    clock = _Clock()
    labels = len(draw.labels)
    rows = TrainingRows(
        base=base,
        plan=plan,
        tokens=Tokenizer.load(base).encode_compactly(draw.train.texts),
        targets=draw.train.targets(labels),
        groups=draw.train.group_numbers,
        device="cpu",
        check=lambda: None,
    )
    everything = np.arange(len(rows.targets))
    frozen = rows.embed(load_encoder(base), everything)
    tuned_regression(frozen, rows.targets, labels, seed=plan.seed)
    learnt = rows.main().learnt
    start = prototypes(frozen[learnt], rows.targets[learnt], labels)
    fitting = rows.fitting(learnt, start, seed=plan.seed)
    begun = clock.cpu_seconds
    points = _points(fitting, base, draw, clock)
    tokens = rows.tokens.lengths[learnt]
    return Course(
        points=points,
        tokens_per_second=plan.epochs * int(tokens.sum()) / (clock.cpu_seconds - begun),
        bare_tokens_per_second=_bare(base, plan.batch_size, round(float(tokens.mean()))),
    )


def _points(fitting: Fitting, base: BaseEncoder, draw: Draw, clock: _Clock) -> list[Point]:
    test = Tokenizer.load(base).encode_compactly(draw.test.texts)
    label_ids = np.asarray(draw.test.label_ids)
    points: list[Point] = []

    def after(done: int, _: float) -> None:
        if done * _POINTS // fitting.steps == (done - 1) * _POINTS // fitting.steps:
            return
        with clock.stopped(), fitting.learner.average.applied():
            logits = fitting.learner.head.logits(embed(fitting.encoder, test, base.pad_token_id))
        points.append(
            Point(
                seconds=clock.seconds,
                cpu_seconds=clock.cpu_seconds,
                accuracy=float((logits.argmax(axis=1) == label_ids).mean()),
            )
        )

    fitting.run(0, before=lambda _: None, after=after)
    return points


def _bare(base: BaseEncoder, batch: int, tokens: int) -> float:
    """Return the tokens a CPU second of forward and backward passes alone."""
    encoder = load_encoder(base).train()
    # As ours does: word vectors do not learn.
    encoder.backbone.get_submodule("embeddings.word_embeddings").requires_grad_(False)  # noqa: FBT003 (torch's own signature)
    random = torch.Generator().manual_seed(0)
    shape = (batch, tokens)
    ids = torch.randint(0, base.vocabulary_size, shape, generator=random)
    mask = torch.ones(shape, dtype=torch.int64)
    encoder(ids, mask).sum().backward()  # what is set up once
    begun = time.process_time()
    for _ in range(_BARE_BATCHES):
        encoder.zero_grad()
        encoder(ids, mask).sum().backward()
    return _BARE_BATCHES * batch * tokens / (time.process_time() - begun)


class _Clock:
    """Time since it was made, of the wall and of all threads of this process."""

    def __init__(self) -> None:
        self._begun = time.monotonic(), time.process_time()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun[0]

    @property
    def cpu_seconds(self) -> float:
        return time.process_time() - self._begun[1]

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Leave out what happens meanwhile."""
        now = time.monotonic(), time.process_time()
        yield
        spent = time.monotonic() - now[0], time.process_time() - now[1]
        self._begun = self._begun[0] + spent[0], self._begun[1] + spent[1]
