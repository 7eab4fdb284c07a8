"""One evaluation as its own process sees it: a published model and rows in, stored figures out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import json_format

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from isogloss.v1.evaluation_pb2 import Advice, Evaluation
from isogloss.v1.split_pb2 import Split
from services.common import layout, manifests
from services.common.errors import FailedPrecondition, NotFound
from services.common.storage import ObjectStore
from services.trainer import convert, datasets
from services.trainer.datasets import LabelledRow
from services.trainer.evaluating.served import ServedModel, fetch
from services.trainer.evaluating.spec import EvaluationSpec
from services.trainer.evaluation import convert as figures
from services.trainer.evaluation import predictions, stored
from services.trainer.evaluation.geometry import describe
from services.trainer.evaluation.scoring import score, worst_errors
from services.trainer.evaluation.stored import Place
from services.trainer.learning.targets import Targets, from_sets, indicators

_SEED = 0


class EvaluationFailed(Exception):
    """The evaluation cannot succeed, however often it is tried; the message says what to do."""


def carry_out(spec: EvaluationSpec, store: ObjectStore) -> dict[str, Any]:
    """Score a published model on the rows of a split.

    Returns:
        What the database keeps: `files`, by name, and `summary`, the evaluation in short.

    Raises:
        EvaluationFailed: Where a further try would fail as well.
        IsoglossError: Where the store fails or holds something broken.
    """
    scratch = Path(spec.scratch)
    manifest = _manifest(spec, store)
    rows = _rows(spec, store, scratch)
    model = fetch(store, manifest, scratch, threads=spec.threads)
    known, unknown = _known(rows, model.labels)
    if not known:
        raise EvaluationFailed(
            f"No row of the {spec.split} split of datasets/{spec.dataset} has only labels that "
            f"models/{spec.model} knows: {', '.join(model.labels[:10])}."
        )
    evaluation, decided = _score(
        model, known, manifest, scratch, unknown=unknown, left_out=len(rows) - len(known)
    )
    evaluation.name = f"models/{spec.model}/evaluations/{spec.evaluation}"
    evaluation.split = Split.Value(f"SPLIT_{spec.split.upper()}")
    evaluation.dataset = f"datasets/{spec.dataset}"
    evaluation.dataset_content_hash = spec.dataset_content_hash
    evaluation.label_mode = manifest.label_mode
    evaluation.create_time.CopyFrom(convert.timestamp(datetime.now(UTC)))
    if spec.split == "train" and manifest.lineage.dataset_content_hash == spec.dataset_content_hash:
        evaluation.advice.add(
            topic=Advice.TOPIC_GAIN,
            message="The model learnt from these rows: this says nothing of new ones.",
        )
    left = stored.leave(
        store,
        Place(figures=spec.figures, texts=spec.texts, directory=scratch),
        evaluation=evaluation,
        projection=None,
        predictions=decided,
        scored=[row.text for row in known],
    )
    files = {"evaluation": left.evaluation, "predictions": left.predictions}
    files["examples"] = left.examples
    return {
        "files": {name: json_format.MessageToDict(file) for name, file in files.items()},
        "summary": json_format.MessageToDict(_summary(evaluation)),
    }


def _manifest(spec: EvaluationSpec, store: ObjectStore) -> ModelManifest:
    try:
        return manifests.read_manifest(
            store, layout.model_manifest(spec.tenant, spec.model), ModelManifest
        )
    except NotFound as error:
        raise EvaluationFailed(f"models/{spec.model} is gone: it was deleted.") from error


def _rows(spec: EvaluationSpec, store: ObjectStore, scratch: Path) -> list[LabelledRow]:
    try:
        content_hash, rows = datasets.read_split(
            store, tenant=spec.tenant, dataset=spec.dataset, split=spec.split, directory=scratch
        )
    except (NotFound, FailedPrecondition) as error:
        raise EvaluationFailed(f"datasets/{spec.dataset} is gone: it was deleted.") from error
    if content_hash != spec.dataset_content_hash:
        raise EvaluationFailed(
            f"datasets/{spec.dataset} is another one than when the evaluation was asked for."
        )
    return rows


def _known(
    rows: Sequence[LabelledRow], labels: Sequence[str]
) -> tuple[list[LabelledRow], Counter[str]]:
    """Return the rows that have only such labels, and how many others have each other label."""
    names = set(labels)
    known = [row for row in rows if names.issuperset(row.labels)]
    unknown = Counter(
        label for row in rows for label in row.labels if not names.issuperset({label})
    )
    return known, unknown


def _score(
    model: ServedModel,
    rows: Sequence[LabelledRow],
    manifest: ModelManifest,
    scratch: Path,
    *,
    unknown: Counter[str],
    left_out: int,
) -> tuple[Evaluation, Path]:
    texts = [row.text for row in rows]
    targets = _targets(rows, model)
    embeddings, probabilities = model.answer(texts)
    found = score(
        probabilities,
        targets,
        labels=model.labels,
        thresholds=model.thresholds,
        positive_label=manifest.lineage.positive_label or None,
        seed=_SEED,
    )
    decided = scratch / "predictions.parquet"
    predictions.write(decided, texts, found, model.labels)
    geometry = describe(
        embeddings,
        indicators(targets, len(model.labels)),
        single=not model.multi_label,
        seed=_SEED,
    )
    evaluation = figures.scored(
        found,
        model.labels,
        worst_errors(found),
        geometry=geometry,
        unknown=unknown,
        left_out=left_out,
    )
    return evaluation, decided


def _targets(rows: Sequence[LabelledRow], model: ServedModel) -> Targets:
    index = {label: number for number, label in enumerate(model.labels)}
    if model.multi_label:
        sets = [tuple(index[label] for label in row.labels) for row in rows]
        return from_sets(sets, len(model.labels))
    return np.array([index[row.labels[0]] for row in rows], dtype=np.int64)


def _summary(evaluation: Evaluation) -> Evaluation:
    """Return it without single labels, confusions and rows: some 4 kB."""
    brief = Evaluation()
    brief.CopyFrom(evaluation)
    brief.metrics.ClearField("labels")
    brief.metrics.ClearField("confusion")
    brief.ClearField("worst_errors")
    return brief
