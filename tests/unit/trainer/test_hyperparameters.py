"""Each hyperparameter does what it says, on a tiny encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from services.trainer.base_import import BaseEncoder
from services.trainer.encoder import collate, embed, load_encoder
from services.trainer.evaluation.cuts import shortened
from services.trainer.head import Floats, Head, prototypes
from services.trainer.labelled_texts import LabelledTexts
from services.trainer.learning import losses
from services.trainer.learning.calibration import log_loss
from services.trainer.learning.frozen import FrozenLayers
from services.trainer.learning.learner import Batch, CutTooLong, Learner, _hide
from services.trainer.learning.rows import TrainingRows
from services.trainer.learning.targets import is_multi
from services.trainer.recipe import Hyperparameters, Shape, plan
from services.trainer.tokenize import Tokenizer

_PLAIN: dict[str, Any] = {
    "epochs": 2,
    "learning_rate": 1e-3,
    "batch_size": 16,
    "token_dropout": 0.0,
}


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """What a short training leaves."""

    weights: dict[str, torch.Tensor]
    embeddings: Floats
    """Of the rows that were learnt from."""

    head: Head
    losses: list[float]

    def distance(self, other: _Fitted, *parts: str) -> float:
        """Return how far apart the weights are whose names hold all parts."""
        return sum(
            float((tensor - other.weights[name]).norm())
            for name, tensor in self.weights.items()
            if all(part in name for part in parts)
        )


Fit = Callable[..., _Fitted]


@pytest.fixture(scope="module")
def fit(base: BaseEncoder, learnt_from: LabelledTexts) -> Fit:
    """Train on the rows, without folds and measurements."""
    everything = np.arange(len(learnt_from.texts))
    shape = Shape(rows=80, labels=2, layers=base.layers, max_tokens=base.max_tokens)

    def run(targets: np.ndarray | None = None, **asked: Any) -> _Fitted:  # noqa: ANN401 (a table of cases)
        answers = learnt_from.targets(2) if targets is None else targets
        chosen = plan(Hyperparameters(**{**_PLAIN, **asked}), shape)
        shortened = replace(base, max_tokens=chosen.max_tokens)
        tokens = Tokenizer.load(shortened).encode_compactly(learnt_from.texts)
        rows = TrainingRows(
            base=shortened,
            plan=chosen,
            tokens=tokens,
            targets=answers,
            groups=learnt_from.group_numbers,
            device="cpu",
            check=lambda: None,
        )
        start = prototypes(rows.embed(load_encoder(base), everything), answers, 2)
        fitting = rows.fitting(everything, start, seed=rows.plan.seed)
        told: list[float] = []
        fitting.run(0, before=lambda _: None, after=lambda _, loss: told.append(loss))
        return _Fitted(
            weights=fitting.encoder.state_dict(),
            embeddings=embed(fitting.encoder, tokens, base.pad_token_id),
            head=fitting.learner.head,
            losses=told,
        )

    return run


@pytest.fixture(scope="module")
def plain(fit: Fit) -> _Fitted:
    return fit()


@pytest.fixture(scope="module")
def untrained(base: BaseEncoder, learnt_from: LabelledTexts) -> _Fitted:
    encoder = load_encoder(base)
    tokens = Tokenizer.load(base).encode_compactly(learnt_from.texts)
    return _Fitted(
        weights=encoder.state_dict(),
        embeddings=embed(encoder, tokens, base.pad_token_id),
        head=Head(weight=np.zeros((2, 1), np.float32), bias=np.zeros(2, np.float32)),
        losses=[],
    )


def test_epochs_and_max_steps_and_batch_size_make_the_steps(fit: Fit, plain: _Fitted) -> None:
    assert len(plain.losses) == 10
    assert len(fit(epochs=1).losses) == 5
    assert len(fit(max_steps=3).losses) == 3
    assert len(fit(batch_size=40).losses) == 4


@pytest.mark.parametrize(
    "asked",
    [
        {"warmup": 0.5},
        {"weight_decay": 1.0},
        {"label_smoothing": 0.3},
        {"dropout": 0.0},
        {"token_dropout": 0.3},
        {"max_tokens": 8},
        {"seed": 1},
        {"contrastive_weight": 1.0},
        {"average_decay": 0.0},
        {"matryoshka_dimensions": [8]},
    ],
    ids=str,
)
def test_each_is_heard(fit: Fit, plain: _Fitted, asked: dict[str, Any]) -> None:
    assert fit(**asked).distance(plain) > 0


def test_learning_rates_move_their_own_part(fit: Fit, plain: _Fitted, untrained: _Fitted) -> None:
    slow = fit(learning_rate=1e-6, head_learning_rate=1e-2)
    still = fit(head_learning_rate=1e-6)

    assert slow.distance(untrained) < 0.01 * plain.distance(untrained)
    assert np.abs(still.head.bias).max() < 1e-4 < np.abs(plain.head.bias).max()


def test_layer_decay_moves_lower_layers_less(fit: Fit, plain: _Fitted, untrained: _Fitted) -> None:
    decayed = fit(layer_decay=0.1)

    def share(fitted: _Fitted) -> float:
        return fitted.distance(untrained, "layer.0.") / fitted.distance(untrained, "layer.1.")

    assert share(decayed) < 0.5 * share(plain)


@pytest.mark.parametrize("layers", [1, 2])
def test_frozen_layers_stay_and_the_others_learn(fit: Fit, untrained: _Fitted, layers: int) -> None:
    frozen = fit(frozen_layers=layers)

    assert frozen.distance(untrained, "embeddings") == 0
    assert frozen.distance(untrained, "layer.0.") == 0
    assert (frozen.distance(untrained, "layer.1.") == 0) == (layers == 2)
    assert np.abs(frozen.head.bias).max() > 0


def test_kept_states_of_frozen_layers_are_what_is_computed_anew(fit: Fit) -> None:
    # One epoch computes them on the way, two keep them: half floats, so not to the last bit.
    once = fit(frozen_layers=1, epochs=1, dropout=0.0)
    kept = fit(frozen_layers=1, epochs=2, dropout=0.0)

    assert kept.losses[0] == pytest.approx(once.losses[0], rel=1e-3)


def test_the_contrastive_loss_draws_rows_of_one_label_together(fit: Fit, plain: _Fitted) -> None:
    drawn = fit(contrastive_weight=5.0)

    def spread(fitted: _Fitted) -> float:
        halves = fitted.embeddings[0::2], fitted.embeddings[1::2]
        return sum(1 - float((half @ half.T).mean()) for half in halves)

    assert spread(drawn) < spread(plain)
    assert fit(contrastive_weight=5.0, contrastive_temperature=1.0).distance(drawn) > 0


def test_an_anchor_keeps_embeddings_where_they_were(
    fit: Fit, plain: _Fitted, untrained: _Fitted
) -> None:
    anchored = fit(anchor_weight=10.0)

    def moved(fitted: _Fitted) -> float:
        return float((1 - (fitted.embeddings * untrained.embeddings).sum(axis=1)).mean())

    assert moved(anchored) < 0.9 * moved(plain)


@pytest.mark.parametrize("multi", [False, True])
def test_class_balance_gives_rare_labels_more(fit: Fit, multi: bool) -> None:  # noqa: FBT001 (a parameter)
    targets = np.zeros(80, dtype=np.int64)
    targets[1::10] = 1
    answers = np.stack([targets == 0, targets == 1], axis=1) if multi else targets

    usual, balanced = (fit(answers, class_balance=balance) for balance in (0.0, 1.0))

    rare = [
        fitted.head.probabilities(fitted.embeddings)[:, 1].mean() for fitted in (usual, balanced)
    ]
    assert is_multi(answers) == multi
    assert rare[1] > 1.5 * rare[0]


@pytest.mark.parametrize("multi", [False, True])
def test_embeddings_that_may_be_cut_are_worth_more_cut(fit: Fit, multi: bool) -> None:  # noqa: FBT001 (a parameter)
    targets = np.arange(80) % 2
    answers = np.stack([targets == 0, targets == 1], axis=1) if multi else targets

    def loss_at_eight(fitted: _Fitted) -> float:
        cut = shortened(fitted.embeddings, 8).astype(np.float32)
        return log_loss(fitted.head.logits(cut), answers)

    usual, nested = (
        fit(answers, epochs=6, matryoshka_dimensions=lengths) for lengths in ([], [8, 16])
    )

    assert loss_at_eight(nested) < loss_at_eight(usual)


def test_embeddings_are_not_cut_to_more_than_they_have(fit: Fit) -> None:
    with pytest.raises(CutTooLong, match="embeddings have 32 numbers"):
        fit(matryoshka_dimensions=[16, 32])


def test_hidden_tokens_are_a_share_and_never_the_first() -> None:
    torch.manual_seed(0)
    mask = torch.ones((400, 20), dtype=torch.int64)
    mask[:, 15:] = 0

    shown = _hide(mask, 0.3)

    assert (shown[:, 0] == 1).all()
    assert (shown <= mask).all()
    assert float(shown[:, 1:15].float().mean()) == pytest.approx(0.7, abs=0.03)
    assert _hide(mask, 0.0) is mask


def test_a_batch_in_parts_moves_the_weights_as_the_whole_does(
    base: BaseEncoder, learnt_from: LabelledTexts
) -> None:
    shape = Shape(rows=80, labels=2, layers=base.layers, max_tokens=base.max_tokens)
    chosen = plan(Hyperparameters(**_PLAIN, dropout=0.0), shape)
    sequences = Tokenizer.load(base).encode(learnt_from.texts[:10])
    targets = torch.from_numpy(learnt_from.targets(2)[:10])

    def step(*parts: slice) -> tuple[float, Head, torch.Tensor]:
        encoder = load_encoder(base)
        start = Head(weight=np.ones((2, 32), np.float32), bias=np.zeros(2, np.float32))
        frozen = FrozenLayers(encoder, 0, layers=base.layers)
        learner = Learner(encoder, frozen, start, None, chosen, steps=10)
        batches = [
            Batch(
                input_ids=ids,
                attention_mask=mask,
                targets=targets[part],
                states=None,
                anchors=None,
                weight=len(targets[part]) / 10,
                dealt=len(targets[part]),
            )
            for part in parts
            for ids, mask in [collate(sequences[part], 0)]
        ]
        loss = learner.step(0, batches)
        return loss, learner.head, learner.parameters[0]

    whole, parts = step(slice(0, 10)), step(slice(0, 7), slice(7, 10))

    assert parts[0] == pytest.approx(whole[0], rel=1e-5)
    assert np.allclose(parts[1].weight, whole[1].weight, atol=1e-5)
    assert torch.allclose(parts[2], whole[2], atol=1e-5)


def test_smoothing_spreads_the_target() -> None:
    sure = torch.tensor([[20.0, 0.0]])

    assert losses.classification(sure, torch.tensor([0]), smoothing=0.0) < 1e-6
    assert losses.classification(sure, torch.tensor([0]), smoothing=0.2) == pytest.approx(2.0)
    several = torch.tensor([[1.0, 0.0]])
    assert losses.classification(sure, several, smoothing=0.0) == pytest.approx(np.log(2))
    assert losses.classification(sure, several, smoothing=0.2) == pytest.approx(
        0.1 * 20 + np.log(2), rel=1e-3
    )


def test_the_contrastive_loss_is_that_of_a_softmax_over_the_others() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    label_ids = torch.tensor([0, 0, 1])

    loss = losses.contrastive(embeddings, label_ids, temperature=0.5)

    first = -np.log(np.exp(1.2) / (np.exp(1.2) + np.exp(0.0)))
    second = -np.log(np.exp(1.2) / (np.exp(1.2) + np.exp(1.6)))
    assert float(loss) == pytest.approx((first + second) / 2, rel=1e-5)
    several = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert losses.contrastive(embeddings, several, temperature=0.5) == pytest.approx(float(loss))
    alone = losses.contrastive(embeddings, torch.tensor([0, 1, 2]), temperature=0.5)
    assert float(alone) == 0.0
