"""One attempt as its own process sees it: rows and base in, uploaded files and a manifest out.

Publishes nothing: the manifest goes to the supervisor, which holds the lease.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from google.protobuf import json_format

from services.common.storage import ObjectStore
from services.trainer import packing
from services.trainer.checkpoints import StoredCheckpoints
from services.trainer.datasets import Rows
from services.trainer.devices import choose_device
from services.trainer.exporting.variants import Export, Probes, export_trained
from services.trainer.forecast import Forecast
from services.trainer.judging import judge
from services.trainer.labelled_texts import LabelledTexts
from services.trainer.learning.calibration import shared_remark
from services.trainer.learning.group import ALONE, Group
from services.trainer.learning.listening import Diverged, Progress, StepMetrics
from services.trainer.learning.targets import indicators
from services.trainer.material import gather
from services.trainer.messages import Entered, Finished, Logged, Measured, Planned, Tell
from services.trainer.recipe import Hyperparameters, plan
from services.trainer.spec import RunSpec
from services.trainer.state import State
from services.trainer.training import shape_of, train

_PROBE_TEXTS = 1000
# More than the export compares, were each of them the shortest text.


def execute(
    spec: RunSpec,
    store: ObjectStore,
    tell: Tell,
    *,
    should_stop: Callable[[], bool],
    group: Group = ALONE,
) -> None:
    """Carry the attempt out.

    Args:
        spec: What to do.
        store: Where from and where to.
        tell: Takes what happens, in order; the last message is `Finished`.
        should_stop: Asked while the model learns, not while it is exported.
        group: The workers that carry it out together. The first one tells, scores and exports;
            the others are done when the model has learnt.

    Raises:
        Cancelled: Within a step after `should_stop` says so; a checkpoint is left.
        RunFailed, Diverged: Where a further try would fail as well.
        ExportMismatch: Where the exported graph does not compute what the model does.
        IsoglossError: Where the store fails or holds something broken.
    """
    scratch = Path(spec.scratch)
    device, description = choose_device(spec.device)
    tell(Logged(level="info", message=f"Computing on {description}."))
    material = gather(spec, store, tell)
    hyperparameters = Hyperparameters(**spec.hyperparameters)
    shape = shape_of(material.base, rows=len(material.train), labels=len(material.dataset.labels))
    tell(Planned(hyperparameters=plan(hyperparameters, shape).hyperparameters()))
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
        former=material.former,
        listener=_Listener(tell, forecast),
        should_stop=should_stop,
        threads=spec.threads,
        device=device,
        checkpoints=StoredCheckpoints(
            store, tenant=spec.tenant, model=spec.model, token=spec.token, tell=tell
        ),
        checkpoint_seconds=spec.checkpoint_seconds,
        group=group,
    )
    if group.rank > 0:
        return
    if model.shared_thresholds:
        tell(Logged(level="info", message=shared_remark(model.shared_thresholds)))
    tell(Entered(state=State.EXPORTING, reason="Learnt; being scored and exported."))
    tell(forecast.scoring())
    judged = judge(
        model,
        train=_labelled(material.train),
        held_out=_labelled(material.held_out),
        material=material,
        spec=spec,
        store=store,
    )
    tell(forecast.exporting())
    export = export_trained(
        model,
        scratch,
        probes=_probes(model.dev or _labelled(material.train), labels=len(model.labels)),
        quantise=spec.quantise,
        halve=device.startswith("cuda"),
    )
    _tell_export(export, tell)
    tell(forecast.uploading())
    manifest = packing.upload(
        store, spec, material=material, model=model, export=export, judged=judged
    )
    tell(Finished(manifest=json_format.MessageToJson(manifest, indent=None)))


def _probes(rows: LabelledTexts, *, labels: int) -> Probes:
    """Draw the texts that graphs are compared and 8-bit ones are made on."""
    drawn = np.random.default_rng(0).permutation(len(rows.texts))[:_PROBE_TEXTS]
    some = rows.take(drawn)
    return Probes(texts=some.texts, truth=indicators(some.targets(labels), labels))


def _tell_export(export: Export, tell: Tell) -> None:
    for variant in export.variants:
        tell(Logged(level="info", message=variant.summary))
    for reason in export.refused:
        tell(Logged(level="warning", message=reason))


def _labelled(rows: Rows) -> LabelledTexts:
    return LabelledTexts(
        texts=rows.texts,
        label_ids=rows.label_ids,
        label_sets=rows.label_sets,
        groups=rows.groups,
    )


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
            raise Diverged
        self._tell(
            Measured(
                step=metrics.step,
                epoch=metrics.epoch,
                loss=metrics.loss,
                accuracy=metrics.accuracy,
                precision=metrics.precision,
                recall=metrics.recall,
                f1=metrics.f1,
                train_loss=metrics.train_loss,
            )
        )
