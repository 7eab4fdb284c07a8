"""Who trains on a draw: ours, the regression it has to beat, and peers in a place of their own."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import services.trainer
from bench.child import TooLong, run
from bench.environments import environment
from bench.labelled_sets import Draw
from services.trainer.evaluation.arrays import FloatArray

OURS = "Isogloss"
REGRESSION = "regression"
"""Logistic regression on frozen embeddings, C by cross-validation: the baseline of every run."""

PEERS: Mapping[str, Mapping[str, Any]] = {
    "HF Trainer": {"method": "trainer", "epochs": None},
    "HF Trainer 10 epochs": {"method": "trainer", "epochs": 10},
    "SetFit 1.2": {"method": "setfit", "epochs": None},
}
"""Cheapest first: what there is no time for is the dearest."""

_PACKAGES = ("setfit==1.2.0", "accelerate>=1.1")
_RUN = Path(__file__).with_name("peer_run.py")
_SPARE_SECONDS = 900.0
# Beyond the cap of a training: loading, and answering for all test rows.

_OUR_SECONDS = 6 * 3600.0


class ContenderFailed(RuntimeError):
    """A contender ended without an answer; the message ends with its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a contender made of a draw."""

    probabilities: FloatArray
    """[N, K], for the test rows."""

    vectors: FloatArray
    """[N, D], of length 1."""

    seconds: float
    """From texts to trained model, loading included."""

    cpu_seconds: float
    """Of all threads: what to compare on a machine that others use as well."""

    capped: bool
    """Whether it was stopped before it was done."""

    peak_bytes: int
    """Of memory, resident; 0 where it was no process of its own."""

    course: Mapping[str, Any] | None = None
    """The fields of `bench.course.Course`, where it was followed."""


def ours(base: Path, draw: Draw, *, seed: int, threads: int, course: bool) -> dict[str, Outcome]:
    """Train as the service does with defaults; the regression is fitted on the way.

    Args:
        base: Directory of the weights.
        draw: The rows.
        seed: Of the training.
        threads: CPU threads.
        course: Whether the training is done once more, and scored on its way.
    """
    task = {**_task(base, draw, seed=seed, threads=threads), "course": course}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.our_run", folder]
        arrays, told = _trained(OURS, command, Path(folder), task, seconds=_OUR_SECONDS)
        followed = told.pop("course")
        regression = Outcome(
            probabilities=arrays["regression_probabilities"],
            vectors=arrays["regression_vectors"],
            seconds=0.0,
            cpu_seconds=0.0,
            capped=False,
            peak_bytes=0,
        )
        return {
            REGRESSION: regression,
            OURS: Outcome(
                probabilities=arrays["probabilities"],
                vectors=arrays["vectors"],
                course=followed,
                **told,
            ),
        }


def peer(
    name: str, base: Path, draw: Draw, *, seed: int, threads: int, cap_seconds: float
) -> Outcome:
    """Let a peer train on the same rows from the same weights.

    Args:
        name: One of `PEERS`.
        base: Directory of the weights.
        draw: The rows.
        seed: Of the training.
        threads: CPU threads.
        cap_seconds: After so much training it is stopped, and answers with what it has learnt.

    Raises:
        ContenderFailed: Where it ends without an answer.
    """
    task = {
        **PEERS[name],
        **_task(base, draw, seed=seed, threads=threads),
        "cap_seconds": cap_seconds,
    }
    with tempfile.TemporaryDirectory() as folder:
        command = [str(environment("peers", _PACKAGES)), str(_RUN), folder]
        arrays, told = _trained(
            name, command, Path(folder), task, seconds=cap_seconds + _SPARE_SECONDS
        )
        return Outcome(probabilities=arrays["probabilities"], vectors=arrays["vectors"], **told)


def _task(base: Path, draw: Draw, *, seed: int, threads: int) -> dict[str, Any]:
    return {
        "base": str(base),
        "texts": draw.train.texts,
        "label_ids": list(draw.train.label_ids),
        "test_texts": draw.test.texts,
        "test_label_ids": list(draw.test.label_ids),
        "labels": len(draw.labels),
        "seed": seed,
        "threads": threads,
    }


def _trained(
    name: str, command: Sequence[str], folder: Path, task: Mapping[str, Any], *, seconds: float
) -> tuple[Mapping[str, FloatArray], dict[str, Any]]:
    """Return the arrays that a training leaves, and what it tells of itself or is seen of it."""
    (folder / "task.json").write_text(json.dumps(task))
    try:
        ended = run(command, seconds=seconds)
    except TooLong:
        raise ContenderFailed(f"{name} did not end within {seconds:.0f} s") from None
    if ended.code:
        raise ContenderFailed(f"{name}: {ended.last_words.splitlines()[-1:]}")
    with np.load(folder / "outcome.npz") as file:
        arrays = dict(file)
    told = json.loads((folder / "outcome.json").read_text())
    return arrays, {"peak_bytes": ended.peak_bytes, **told}


def fingerprint(contender: str) -> str:
    """Return what a cell of a contender depends on beside its rows: code, or packages."""
    digest = hashlib.sha256(contender.encode())
    if contender in PEERS:
        digest.update(repr((_PACKAGES, PEERS[contender])).encode() + _RUN.read_bytes())
        return digest.hexdigest()
    folder = Path(services.trainer.__path__[0])
    names = ("training", "recipe", "head", "encoder", "tokenize")
    modules = [folder / f"{name}.py" for name in names]
    modules += [Path(__file__).with_name(f"{name}.py") for name in ("our_run", "course")]
    for path in sorted([*modules, *(folder / "learning").glob("*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()
