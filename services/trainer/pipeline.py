"""One attempt as its own process sees it: rows and base in, uploaded files and a manifest out.

Publishes nothing: the manifest goes to the supervisor, which holds the lease.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from google.protobuf import json_format

from isogloss.v1.evaluation_pb2 import Evaluation as EvaluationProto
from services.common.storage import ObjectStore
from services.trainer import convert, packing
from services.trainer.datasets import Rows
from services.trainer.evaluation import Evaluation, evaluate, neighbour_share
from services.trainer.export import export_trained
from services.trainer.forecast import Forecast
from services.trainer.material import Material, RunFailed, gather
from services.trainer.messages import Entered, Finished, Logged, Measured, Planned, Tell
from services.trainer.recipe import Hyperparameters, plan
from services.trainer.spec import RunSpec
from services.trainer.state import State
from services.trainer.training import (
    Baseline,
    LabelledTexts,
    Progress,
    StepMetrics,
    TrainedModel,
    train,
)

_PROBE_TEXTS = 64
# Enough lengths to show a padding fault, and a second of forward passes at most.


def execute(spec: RunSpec, store: ObjectStore, tell: Tell) -> None:
    """Carry the attempt out.

    Args:
        spec: What to do.
        store: Where from and where to.
        tell: Takes what happens, in order; the last message is `Finished`.

    Raises:
        RunFailed: Where a further try would fail as well.
        ExportMismatch: Where the exported graph does not compute what the model does.
        IsoglossError: Where the store fails or holds something broken.
    """
    scratch = Path(spec.scratch)
    material = gather(spec, store, tell)
    hyperparameters = Hyperparameters(**spec.hyperparameters)
    chosen = plan(hyperparameters, rows=len(material.train), labels=len(material.dataset.labels))
    tell(
        Planned(
            epochs=chosen.epochs,
            learning_rate=chosen.learning_rate,
            batch_size=chosen.batch_size,
            seed=chosen.seed,
        )
    )
    forecast = Forecast(
        parameters=material.base.parameters,
        rows=len(material.train),
        held_out=len(material.held_out),
        spent=(datetime.now(UTC) - spec.start_time).total_seconds(),
    )
    model = train(
        base=material.base,
        labels=material.dataset.labels,
        train=_labelled(material.train),
        validation=None if material.validation is None else _labelled(material.validation),
        positive_label=spec.positive_label or None,
        hyperparameters=hyperparameters,
        listener=_Listener(tell, forecast),
        # The supervisor ends this process: nothing has to be asked.
        should_stop=lambda: False,
        threads=spec.threads,
    )
    tell(Entered(state=State.EXPORTING, reason="Learnt; being scored and exported."))
    tell(forecast.scoring())
    evaluation = _score(model, material, spec)
    tell(forecast.exporting())
    report = export_trained(
        model,
        scratch / "model.onnx",
        probe_texts=material.held_out.texts[:_PROBE_TEXTS],
    )
    tell(
        Logged(
            level="info",
            message=f"The exported graph agrees with the trained model on {report.texts} texts: "
            f"cosine at least {report.min_cosine:.6f}, probabilities within "
            f"{report.max_probability_difference:.1e}.",
        )
    )
    tell(forecast.uploading())
    scores = scratch / "evaluation.json"
    scores.write_text(json_format.MessageToJson(evaluation), encoding="utf-8")
    manifest = packing.upload(
        store, spec, material=material, model=model, report=report, scores=scores
    )
    tell(Finished(manifest=json_format.MessageToJson(manifest, indent=None)))


def _score(model: TrainedModel, material: Material, spec: RunSpec) -> EvaluationProto:
    label_ids = np.asarray(material.held_out.label_ids, dtype=np.int64)
    texts = material.held_out.texts

    def scores(predictor: TrainedModel | Baseline) -> Evaluation:
        return evaluate(
            probabilities=predictor.predict(texts),
            label_ids=label_ids,
            labels=material.dataset.labels,
            positive_label=spec.positive_label or None,
        )

    def agreement(predictor: TrainedModel | Baseline) -> float:
        return neighbour_share(predictor.embed(texts), label_ids, neighbours=1)

    return convert.evaluation(
        model=spec.model,
        split=material.split,
        tuned=scores(model),
        baseline=scores(model.baseline),
        agreement=(agreement(model), agreement(model.baseline)),
        moment=datetime.now(UTC),
    )


def _labelled(rows: Rows) -> LabelledTexts:
    return LabelledTexts(texts=rows.texts, label_ids=rows.label_ids)


class _Listener:
    """Turns what the training tells into messages."""

    def __init__(self, tell: Tell, forecast: Forecast) -> None:
        self._tell = tell
        self._forecast = forecast

    def on_progress(self, progress: Progress) -> None:
        self._tell(
            self._forecast.trained(
                step=progress.step,
                total_steps=progress.total_steps,
                epoch=progress.epoch,
                total_epochs=float(progress.epochs),
                eta=progress.eta_seconds,
            )
        )

    def on_metrics(self, metrics: StepMetrics) -> None:
        if not math.isfinite(metrics.loss):
            raise RunFailed(
                "The training diverged: the loss is no longer a number. "
                "Choose a smaller learning_rate, or leave it to be chosen."
            )
        self._tell(
            Measured(
                step=metrics.step,
                epoch=metrics.epoch,
                loss=metrics.loss,
                accuracy=metrics.accuracy,
                precision=metrics.precision,
                recall=metrics.recall,
                f1=metrics.f1,
            )
        )
