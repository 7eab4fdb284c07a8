"""One training by Isogloss, in a process of its own: `python -m bench.our_run FOLDER`.

Reads `FOLDER/task.json`, the form that `bench.peer_run` reads as well, and leaves
`FOLDER/outcome.json` and `FOLDER/outcome.npz`: with the regression that it has to beat, which is
fitted on the way.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bench.child import peak_bytes
from bench.course import measure_course
from bench.labelled_sets import Draw
from services.trainer.base_import import read_base
from services.trainer.labelled_texts import LabelledTexts
from services.trainer.learning.listening import Progress, StepMetrics
from services.trainer.recipe import Hyperparameters
from services.trainer.training import train


def main() -> None:
    """Train, answer, and follow the course of the training where that is asked for."""
    folder = Path(sys.argv[1])
    task = json.loads((folder / "task.json").read_text())
    began, cpu = time.monotonic(), time.process_time()
    base = read_base(Path(task["base"]))
    draw = Draw(
        labels=tuple(map(str, range(task["labels"]))),
        train=LabelledTexts(texts=task["texts"], label_ids=task["label_ids"]),
        test=LabelledTexts(texts=task["test_texts"], label_ids=task["test_label_ids"]),
    )
    model = train(
        base=base,
        labels=draw.labels,
        train=draw.train,
        validation=None,
        positive_label=None,
        hyperparameters=Hyperparameters(seed=task["seed"]),
        listener=_Terminal(),
        should_stop=lambda: False,
        threads=task["threads"],
    )
    seconds, cpu_seconds = time.monotonic() - began, time.process_time() - cpu
    vectors, frozen = (one.embed(draw.test.texts) for one in (model, model.baseline))
    np.savez(
        folder / "outcome.npz",
        probabilities=model.classify(vectors),
        vectors=vectors,
        regression_probabilities=model.baseline.classify(frozen),
        regression_vectors=frozen,
    )
    # Before it trains once more.
    peak = peak_bytes(os.getpid())
    course = measure_course(base, draw, model.plan) if task["course"] else None
    outcome = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "capped": False,
        "peak_bytes": peak,
        "course": None if course is None else asdict(course),
    }
    (folder / "outcome.json").write_text(json.dumps(outcome))


class _Terminal:
    """Tells a waiting person how far a training is."""

    def on_progress(self, progress: Progress) -> None:
        if sys.stderr.isatty() and progress.eta_seconds is not None:
            left = f"step {progress.step}/{progress.total_steps}, {progress.eta_seconds:.0f} s left"
            print(f"\r{left:40}", end="\r", file=sys.stderr, flush=True)

    def on_metrics(self, metrics: StepMetrics) -> None:
        """Nothing is held out here."""


if __name__ == "__main__":
    main()
