"""The step of a run that scores its model and stores what is told of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from isogloss.v1.label_mode_pb2 import LabelMode
from isogloss.v1.split_pb2 import Split
from services.common import layout
from services.common.storage import ObjectStore
from services.trainer import convert
from services.trainer.evaluation import convert as figures
from services.trainer.evaluation import predictions, stored
from services.trainer.evaluation.advice import advise
from services.trainer.evaluation.assessment import Sample, assess
from services.trainer.evaluation.stored import Left, Place
from services.trainer.labelled_texts import LabelledTexts
from services.trainer.material import Material
from services.trainer.spec import RunSpec
from services.trainer.training import TrainedModel


def judge(
    model: TrainedModel,
    *,
    train: LabelledTexts,
    held_out: LabelledTexts,
    material: Material,
    spec: RunSpec,
    store: ObjectStore,
) -> Left:
    """Score a model beside its baseline, and store figures, predictions, map and texts.

    Args:
        model: What was learnt.
        train: From what.
        held_out: What it is scored on.
        material: Where both come from.
        spec: The attempt, under whose keys everything is stored.
        store: Where to.
    """
    found = assess(
        model,
        model.baseline,
        labels=model.labels,
        train=_sample(train, model),
        held_out=_sample(held_out, model),
        positive_label=spec.positive_label or None,
        cuts=model.plan.matryoshka_dimensions,
    )
    split = Split.Value(f"SPLIT_{material.split.upper()}")
    evaluation = figures.assessment(found, advise(found))
    evaluation.name = f"models/{spec.model}/evaluation"
    evaluation.split = split
    evaluation.dataset = material.dataset.name
    evaluation.dataset_content_hash = material.dataset.content_hash
    evaluation.label_mode = (
        LabelMode.LABEL_MODE_MULTI if model.multi_label else LabelMode.LABEL_MODE_SINGLE
    )
    evaluation.create_time.CopyFrom(convert.timestamp(datetime.now(UTC)))
    projection = figures.projection(found)
    projection.name = f"models/{spec.model}/projection"
    projection.split = split
    decided = Path(spec.scratch) / "predictions.parquet"
    predictions.write(decided, held_out.texts, found.tuned, model.labels)
    return stored.leave(
        store,
        Place(
            figures=spec.prefix,
            texts=layout.attempt_examples_prefix(spec.tenant, spec.model, spec.attempt, spec.token),
            directory=Path(spec.scratch),
        ),
        evaluation=evaluation,
        projection=projection,
        predictions=decided,
        scored=held_out.texts,
        train=train.texts,
    )


def _sample(rows: LabelledTexts, model: TrainedModel) -> Sample:
    return Sample(texts=rows.texts, targets=rows.targets(len(model.labels)))
