"""Who trains on a draw: ours, the regression it has to beat, and peers in a place of their own."""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import services.trainer
from bench.environments import environment
from bench.labelled_sets import Draw
from services.trainer.base_import import BaseEncoder
from services.trainer.evaluation.arrays import FloatArray
from services.trainer.learning.listening import Progress, StepMetrics
from services.trainer.recipe import Hyperparameters
from services.trainer.training import Baseline, TrainedModel, train

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


class PeerFailed(RuntimeError):
    """A peer ended without an answer; the message ends with its last words."""


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


def ours(base: BaseEncoder, draw: Draw, *, seed: int, threads: int) -> dict[str, Outcome]:
    """Train as the service does with defaults; the regression is fitted on the way."""
    began, cpu = time.monotonic(), _cpu_seconds()
    model = train(
        base=base,
        labels=draw.labels,
        train=draw.train,
        validation=None,
        positive_label=None,
        hyperparameters=Hyperparameters(seed=seed),
        listener=_Terminal(),
        should_stop=lambda: False,
        threads=threads,
    )
    seconds, cpu_seconds = time.monotonic() - began, _cpu_seconds() - cpu
    return {
        REGRESSION: _answered(model.baseline, draw, seconds=0.0, cpu_seconds=0.0),
        OURS: _answered(model, draw, seconds=seconds, cpu_seconds=cpu_seconds),
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
        PeerFailed: Where it ends without an answer.
    """
    task = {
        **PEERS[name],
        "base": str(base),
        "texts": draw.train.texts,
        "label_ids": list(draw.train.label_ids),
        "test_texts": draw.test.texts,
        "labels": len(draw.labels),
        "seed": seed,
        "threads": threads,
        "cap_seconds": cap_seconds,
    }
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "task.json").write_text(json.dumps(task))
        command = [str(environment("peers", _PACKAGES)), str(_RUN), folder]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=cap_seconds + _SPARE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PeerFailed(f"{name} did not end {_SPARE_SECONDS:.0f} s after its cap") from None
        if done.returncode:
            raise PeerFailed(f"{name}: {done.stderr.strip().splitlines()[-1:]}")
        arrays = np.load(place / "outcome.npz")
        return Outcome(
            probabilities=arrays["probabilities"],
            vectors=arrays["vectors"],
            **json.loads((place / "outcome.json").read_text()),
        )


def fingerprint(contender: str) -> str:
    """Return what a cell of a contender depends on beside its rows: code, or packages."""
    digest = hashlib.sha256(contender.encode())
    if contender in PEERS:
        digest.update(repr((_PACKAGES, PEERS[contender])).encode() + _RUN.read_bytes())
        return digest.hexdigest()
    folder = Path(services.trainer.__path__[0])
    names = ("training", "recipe", "head", "encoder", "tokenize")
    modules = [folder / f"{name}.py" for name in names]
    for path in sorted([*modules, *(folder / "learning").glob("*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _answered(
    predictor: Baseline | TrainedModel, draw: Draw, *, seconds: float, cpu_seconds: float
) -> Outcome:
    vectors = predictor.embed(draw.test.texts)
    return Outcome(
        probabilities=predictor.classify(vectors),
        vectors=vectors,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        capped=False,
    )


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class _Terminal:
    """Tells a waiting person how far a training is."""

    def on_progress(self, progress: Progress) -> None:
        if sys.stderr.isatty() and progress.eta_seconds is not None:
            left = f"step {progress.step}/{progress.total_steps}, {progress.eta_seconds:.0f} s left"
            print(f"\r{left:40}", end="\r", file=sys.stderr, flush=True)

    def on_metrics(self, metrics: StepMetrics) -> None:
        """Nothing is held out here."""
