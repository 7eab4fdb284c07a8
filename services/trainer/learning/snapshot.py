"""What a training needs to go on as if it had never stopped: tensors and a few numbers.

No state of a random generator is among them: which rows a step learns from and what its dropout
drops follow from the seed and the step's number alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from services.trainer.head import Floats, Head
from services.trainer.learning.learner import Learner
from services.trainer.learning.regression import Regression
from services.trainer.learning.targets import Targets
from services.trainer.recipe import Plan
from services.trainer.tokenize import TokenIds

_TENSORS = "training.safetensors"
_FACTS = "training.json"
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(slots=True, kw_only=True)
class Losses:
    """The losses of some steps, added up."""

    total: float = 0.0
    steps: int = 0

    def add(self, loss: float) -> None:
        """Take a step's loss in."""
        self.total += loss
        self.steps += 1

    def settle(self) -> float:
        """Return the mean and begin anew."""
        mean = self.total / self.steps
        self.total, self.steps = 0.0, 0
        return mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A training between two steps."""

    step: int
    """Steps done."""

    losses: Losses
    """Since the last measurement."""

    baseline: Regression
    tensors: dict[str, Tensor]
    """Weights, moments and averages; `restore` puts them in their places."""


def fingerprint(plan: Plan, tokens: TokenIds, targets: Targets) -> str:
    """Name a training: a snapshot of another one must not be gone on from."""
    digest = hashlib.sha256(repr((plan, torch.__version__)).encode())
    for array in (tokens.ids, tokens.offsets, targets):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def save(
    directory: Path,
    learner: Learner,
    *,
    name: str,
    step: int,
    losses: Losses,
    baseline: Regression,
) -> None:
    """Write a snapshot into a directory, which is emptied first.

    Args:
        directory: Made where it is missing.
        learner: After that step.
        name: `fingerprint` of the training.
        step: Steps done.
        losses: As in `Snapshot`.
        baseline: Fitted before the first step.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    tensors = {f"baseline.{part}": torch.from_numpy(array) for part, array in _parts(baseline)}
    for number, parameter in enumerate(learner.parameters):
        tensors[f"weight.{number}"] = parameter.detach()
        tensors[f"average.{number}"] = learner.average.tensors[number]
        for moment in _MOMENTS if step else ():
            tensors[f"{moment}.{number}"] = learner.optimizer.state[parameter][moment]
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, directory / _TENSORS)
    facts = {
        "fingerprint": name,
        "step": step,
        "losses": asdict(losses),
        "multi_label": baseline.head.multi_label,
    }
    (directory / _FACTS).write_text(json.dumps(facts), encoding="utf-8")


def load(directory: Path, name: str) -> Snapshot | None:
    """Read a snapshot; None where it is of another training than `name` says."""
    facts = json.loads((directory / _FACTS).read_text(encoding="utf-8"))
    if facts["fingerprint"] != name:
        return None
    tensors = load_file(directory / _TENSORS)
    weight, bias, thresholds = (
        tensors.pop(f"baseline.{part}").numpy() for part in ("weight", "bias", "thresholds")
    )
    head = Head(weight=weight, bias=bias, multi_label=facts["multi_label"])
    return Snapshot(
        step=facts["step"],
        losses=Losses(**facts["losses"]),
        baseline=Regression(head=head, thresholds=thresholds),
        tensors=tensors,
    )


def restore(snapshot: Snapshot, learner: Learner) -> None:
    """Bring a new learner of the same training to where the snapshot was taken."""
    with torch.no_grad():
        for number, parameter in enumerate(learner.parameters):
            parameter.copy_(snapshot.tensors[f"weight.{number}"])
            learner.average.tensors[number].copy_(snapshot.tensors[f"average.{number}"])
            if snapshot.step:
                learner.optimizer.state[parameter] = {
                    "step": torch.tensor(float(snapshot.step), device=parameter.device),
                    **{
                        moment: snapshot.tensors[f"{moment}.{number}"].to(parameter.device)
                        for moment in _MOMENTS
                    },
                }


def _parts(baseline: Regression) -> tuple[tuple[str, Floats], ...]:
    return (
        ("weight", baseline.head.weight),
        ("bias", baseline.head.bias),
        ("thresholds", baseline.thresholds),
    )
