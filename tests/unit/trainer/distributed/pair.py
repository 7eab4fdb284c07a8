"""What each of two processes does that train together; the tests look at what they found."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

from services.trainer.base_import import read_base
from services.trainer.distributed.errors import ClusterFailed
from services.trainer.distributed.torch_group import TorchGroup, joined, meet
from services.trainer.labelled_texts import LabelledTexts
from services.trainer.learning.group import ALONE, Group
from services.trainer.learning.listening import Cancelled, Progress, StepMetrics
from services.trainer.recipe import Hyperparameters
from services.trainer.training import TrainedModel, train

SIZE = 2
CALM = {"epochs": 2, "learning_rate": 1e-3, "batch_size": 15, "dropout": 0.0, "token_dropout": 0.0}
"""Nothing random but the order of the rows. 80 rows: the last batch of an epoch has five."""

EVERYTHING = {**CALM, "contrastive_weight": 0.5, "anchor_weight": 0.5, "class_balance": 0.5}
RANDOM = {"epochs": 2, "learning_rate": 1e-3, "batch_size": 79, "max_steps": 4}
"""With dropout, and a last batch that has fewer rows than there are workers."""


class Notes:
    """Takes down the losses, and may ask to stop."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.steps = 0
        self.losses: list[float] = []
        self._stop_after = stop_after

    def on_progress(self, progress: Progress) -> None:
        self.steps = progress.step

    def on_metrics(self, metrics: StepMetrics) -> None:
        if metrics.train_loss is not None:
            self.losses.append(metrics.train_loss)

    def should_stop(self) -> bool:
        return self._stop_after is not None and self.steps >= self._stop_after


def learn(base: Path, asked: dict[str, float], notes: Notes, group: Group = ALONE) -> TrainedModel:
    """Train on messages that a tiny base can tell apart."""
    return train(
        base=read_base(base),
        labels=("bad", "good"),
        train=_messages(0, 80),
        validation=_messages(1000, 40),
        positive_label=None,
        hyperparameters=Hyperparameters(**asked),  # type: ignore[arg-type] # whole numbers are
        listener=notes,
        should_stop=notes.should_stop,
        threads=1,
        group=group,
    )


def _messages(start: int, count: int) -> LabelledTexts:
    numbers = range(start, start + count)
    tones = ("bad", "awful"), ("good", "great")
    texts = [
        f"the box was {tones[number % 2][number // 2 % 2]} {number}" + " again" * (number % 7)
        for number in numbers
    ]
    return LabelledTexts(texts=texts, label_ids=[number % 2 for number in numbers])


def weights(model: TrainedModel) -> np.ndarray:
    """Return all weights of a model in one row."""
    encoder = [tensor.numpy().ravel() for tensor in model.encoder.state_dict().values()]
    return np.concatenate([*encoder, model.head.weight.ravel(), model.head.bias])


def work(group: TorchGroup, base: Path, found: Path) -> None:
    """Do everything once, and leave what came of it in files of this worker's name."""
    arrays = {"gathered": _gathered(group)}
    facts: dict[str, object] = {"total": group.total(group.rank + 1.0)}
    try:
        group.agree(f"I am {group.rank}")
    except ClusterFailed as error:
        facts["disagreement"] = str(error)
    for name, asked in {"everything": EVERYTHING, "one": RANDOM, "again": RANDOM}.items():
        notes = Notes()
        arrays[name] = weights(learn(base, asked, notes, group))
        facts[f"{name} losses"] = notes.losses
    # Asked of the first worker only, as a supervisor does.
    notes = Notes(stop_after=3 if group.rank == 0 else None)
    try:
        learn(base, EVERYTHING, notes, group)
    except Cancelled:
        facts["stopped at"] = notes.steps
    for name, array in arrays.items():
        np.save(found / f"{name}.{group.rank}.npy", array)
    (found / f"{group.rank}.json").write_text(json.dumps(facts))


def _gathered(group: TorchGroup) -> np.ndarray:
    """Return rows that were dealt and put together, and what moved this worker's own."""
    rows = torch.arange(10.0).reshape(5, 2)
    mine = rows[group.rank :: group.size].clone().requires_grad_()
    whole = group.gather(mine, 5)
    # Each worker weighs the rows in its own way: their own weights come to 1 + 2.
    torch.autograd.backward(whole.sum() * (group.rank + 1))
    assert mine.grad is not None
    return np.concatenate([whole.detach().numpy(), mine.grad.numpy()])


def main() -> None:
    rank, port, base, found = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    torch.set_num_threads(1)
    meeting, _ = meet("127.0.0.1", port, SIZE, first=rank == 0)
    with joined(meeting, rank=rank, size=SIZE, device="cpu") as group:
        work(group, Path(base), Path(found))


if __name__ == "__main__":
    main()
