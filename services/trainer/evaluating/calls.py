"""What the calls on evaluations, maps, cards and comparisons do. Blocking: for threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf import json_format

from isogloss.storage.v1.stored_file_pb2 import StoredFile
from isogloss.v1.comparison_pb2 import Comparison
from isogloss.v1.evaluation_pb2 import Evaluation
from isogloss.v1.label_mode_pb2 import LabelMode
from isogloss.v1.model_card_pb2 import ModelCard
from isogloss.v1.projection_pb2 import Projection
from isogloss.v1.split_pb2 import Split
from services.common import layout, manifests
from services.common.errors import (
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotFound,
    Reason,
    ResourceExhausted,
)
from services.common.pagination import Page, PageRequest
from services.common.storage import ObjectStore
from services.trainer import convert, datasets, publishing
from services.trainer.evaluating.naming import EvaluationName
from services.trainer.evaluating.requests import ComparisonWish, Wish, summary
from services.trainer.evaluating.rows import Evaluations, NewEvaluation
from services.trainer.evaluating.state import State
from services.trainer.evaluation import stored
from services.trainer.models import Models, Request
from services.trainer.tables import EvaluationRow

_BY_PREFERENCE = ("test", "validation", "train")

_COMPARED_BYTES = 32 * 1024 * 1024
# A row has 16 bytes that nothing compresses and takes some 500 in memory: two million rows of all
# models together, and 1 GB.


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """One model's predictions."""

    model: str
    evaluation: str
    """Full name."""

    dataset: str
    split: str
    predictions: StoredFile


class EvaluationCalls:
    """The calls.

    Args:
        models: The models' rows.
        evaluations: The evaluations' rows.
        store: Where files are.
    """

    def __init__(self, models: Models, evaluations: Evaluations, store: ObjectStore) -> None:
        """Keep the parts."""
        self._models = models
        self._evaluations = evaluations
        self._store = store

    def evaluate(self, tenant: str, wish: Wish, request: Request) -> Evaluation:
        """Queue an evaluation; the same request again returns the same one.

        Raises:
            NotFound: Where there is no such model or dataset.
            FailedPrecondition: Where one of them is not READY, or they do not fit.
        """
        model, dataset = wish.model, wish.dataset
        manifest = publishing.required(self._store, self._models.get(tenant, model))
        facts = datasets.find(self._store, tenant=tenant, dataset=dataset)
        there = datasets.splits(self._store, tenant=tenant, dataset=dataset)
        multi = manifest.label_mode == LabelMode.LABEL_MODE_MULTI
        if facts.multi != multi:
            raise _unsuitable(
                facts.name,
                f"gives its texts {_kind(multi=facts.multi)} and models/{model} gives "
                f"{_kind(multi=multi)}: evaluate on a dataset of the model's own kind.",
            )
        chosen = wish.split or next(name for name in _BY_PREFERENCE if name in there)
        if chosen not in there:
            raise _unsuitable(
                facts.name, f"has no {chosen} rows; it has {', '.join(sorted(there))} rows."
            )
        row = self._evaluations.add(
            NewEvaluation(
                tenant=tenant,
                model=model,
                dataset=dataset,
                dataset_content_hash=facts.content_hash,
                split=chosen,
            ),
            request,
        )
        # After the row, by which a deletion of the model knows what to take back.
        datasets.note_use(self._store, tenant=tenant, dataset=dataset, model=model)
        return summary(row)

    def get(self, tenant: str, name: EvaluationName) -> Evaluation:
        """Return an evaluation.

        Raises:
            NotFound: Where there is none.
            FailedPrecondition: Where the model is not READY.
            DataLoss: Where a stored file is missing or damaged.
        """
        model = self._models.get(tenant, name.model)
        if not name.evaluation:
            manifest = publishing.required(self._store, model)
            found = stored.read_evaluation(self._store, manifest.evaluation, manifest.examples)
            # An imported model was called otherwise when it was scored.
            found.name = f"{model.name}/evaluation"
            return found
        row = self._evaluations.get(tenant, name.model, name.evaluation)
        if row.state != State.READY:
            return summary(row)
        found = stored.read_evaluation(
            self._store, _file(row, "evaluation"), _file(row, "examples")
        )
        found.create_time.CopyFrom(convert.timestamp(row.create_time))
        return found

    def list(self, tenant: str, model: str, page: PageRequest) -> Page[EvaluationRow]:
        """Return a page of the evaluations of a model, newest first.

        Raises:
            NotFound: Where there is no such model.
        """
        self._models.get(tenant, model)
        return self._evaluations.list(tenant, model, page)

    def delete(self, tenant: str, name: EvaluationName) -> None:
        """Delete an evaluation and all that is stored of it.

        Raises:
            InvalidArgument: Where it is the one that the run left.
            NotFound: Where there is none.
        """
        if not name.evaluation:
            description = "is what the run left, and goes with the model: delete that."
            raise InvalidArgument(FieldViolation(field="name", description=description))
        row = self._evaluations.get(tenant, name.model, name.evaluation)
        self._evaluations.forget(tenant, name.model, name.evaluation)
        for prefix in (layout.evaluation_prefix, layout.evaluation_examples_prefix):
            for item in list(self._store.list(prefix(tenant, name.model, name.evaluation))):
                self._store.delete(item.key)
        learnt_from = self._models.get(tenant, name.model).dataset
        if row.dataset not in {learnt_from, *self._evaluations.datasets(tenant, name.model)}:
            datasets.forget_use(self._store, tenant=tenant, dataset=row.dataset, model=name.model)
            if row.dataset in self._evaluations.datasets(tenant, name.model):
                # Asked for between the two: its mark may be the one that was just removed.
                datasets.note_use(self._store, tenant=tenant, dataset=row.dataset, model=name.model)

    def drop(self, tenant: str, model: str) -> None:
        """Forget all evaluations of a model that is being deleted; its files go with it."""
        read = self._evaluations.datasets(tenant, model)
        self._evaluations.forget(tenant, model)
        for dataset in read:
            datasets.forget_use(self._store, tenant=tenant, dataset=dataset, model=model)

    def projection(self, tenant: str, model: str) -> Projection:
        """Return the map of a READY model.

        Raises:
            NotFound: Where there is no such model.
            FailedPrecondition: Where it is not READY.
            DataLoss: Where a stored file is missing or damaged.
        """
        manifest = publishing.required(self._store, self._models.get(tenant, model))
        name = f"models/{model}/projection"
        if not manifest.projection.key:
            raise NotFound(name, hint="The model came without a map.")
        found = stored.read_projection(self._store, manifest.projection, manifest.examples)
        found.name = name
        return found

    def card(self, tenant: str, model: str) -> ModelCard:
        """Return the model card of a READY model.

        Raises:
            NotFound: Where there is no such model, or it came without a card.
            FailedPrecondition: Where it is not READY.
            DataLoss: Where the stored file is missing or damaged.
        """
        manifest = publishing.required(self._store, self._models.get(tenant, model))
        name = f"models/{model}/card"
        if not manifest.model_card.key:
            raise NotFound(name, hint="The model came without a card.")
        content = b"".join(manifests.verified(self._store, manifest.model_card))
        return ModelCard(name=name, markdown=content.decode(errors="replace"))

    def compare(self, tenant: str, wish: ComparisonWish) -> Comparison:
        """Compare models on the rows that all of them scored.

        Raises:
            NotFound: Where there is no such model.
            FailedPrecondition: Where one is not READY or was not evaluated there.
            ResourceExhausted: Where there are more rows than one call takes.
            DataLoss: Where a stored file is missing or damaged.
        """
        # Imported here: it takes scipy, which no other call needs.
        from services.trainer.evaluation import comparison, predictions  # noqa: PLC0415
        from services.trainer.evaluation import convert as figures  # noqa: PLC0415

        first = self._predictions(tenant, wish.models[0], wish.dataset, wish.split)
        others = [
            self._predictions(tenant, model, first.dataset, first.split)
            for model in wish.models[1:]
        ]
        found = [first, *others]
        _check_size(found)
        contents = [b"".join(manifests.verified(self._store, each.predictions)) for each in found]
        try:
            read = [predictions.read(content) for content in contents]
        except predictions.Unreadable as error:
            raise ResourceExhausted(
                f"Predictions of {', '.join(each.evaluation for each in found)} {error}: evaluate "
                "the models on a smaller split.",
                reason=Reason.LIMIT_EXCEEDED,
            ) from error
        try:
            compared = comparison.compare(read)
        except ValueError as error:
            raise FailedPrecondition(
                f"The evaluations of {', '.join(each.evaluation for each in found)} have no row in "
                "common: evaluate all of the models on the same rows.",
                reason=Reason.EVALUATION_MISSING,
            ) from error
        return Comparison(
            dataset=f"datasets/{first.dataset}",
            split=Split.Value(f"SPLIT_{first.split.upper()}"),
            row_count=compared.rows,
            left_out_count=compared.left_out,
            scores=[
                figures.comparison_score(f"models/{each.model}", each.evaluation, spread)
                for each, spread in zip(found, compared.spreads, strict=True)
            ],
            pairs=[
                Comparison.Pair(
                    first=f"models/{wish.models[pair.first]}",
                    second=f"models/{wish.models[pair.second]}",
                    improvement=figures.improvement(pair.difference),
                )
                for pair in compared.pairs
            ],
        )

    def _predictions(
        self, tenant: str, model: str, dataset: str | None, split: str | None
    ) -> _Found:
        manifest = publishing.required(self._store, self._models.get(tenant, model))
        own = json_format.Parse(
            b"".join(manifests.verified(self._store, manifest.evaluation)),
            Evaluation(),
            ignore_unknown_fields=True,  # an imported one may be a later release's
        )
        own_dataset = own.dataset.removeprefix("datasets/")
        own_split = Split.Name(own.split).removeprefix("SPLIT_").lower()
        dataset = dataset or own_dataset
        row = self._evaluations.latest(tenant, model, dataset=dataset, split=split)
        if row is not None:
            return _Found(
                model=model,
                evaluation=row.name,
                dataset=dataset,
                split=row.split,
                predictions=_file(row, "predictions"),
            )
        if manifest.predictions.key and dataset == own_dataset and split in (None, own_split):
            return _Found(
                model=model,
                evaluation=f"models/{model}/evaluation",
                dataset=dataset,
                split=own_split,
                predictions=manifest.predictions,
            )
        asked = f"--dataset datasets/{dataset}" + (f" --split {split}" if split else "")
        raise FailedPrecondition(
            f"models/{model} has no READY evaluation of datasets/{dataset}"
            f"{f', {split} rows' if split else ''}: `isogloss models evaluate models/{model} "
            f"{asked}` makes one.",
            reason=Reason.EVALUATION_MISSING,
            metadata={"model": f"models/{model}", "dataset": f"datasets/{dataset}"},
        )


def _check_size(found: Sequence[_Found]) -> None:
    size = sum(each.predictions.size for each in found)
    if size > _COMPARED_BYTES:
        raise ResourceExhausted(
            f"The predictions of {len(found)} models have {size} bytes, and {_COMPARED_BYTES} are "
            "compared at once: compare fewer models, or evaluate them on a smaller split.",
            reason=Reason.LIMIT_EXCEEDED,
            metadata={"size": str(size), "limit": str(_COMPARED_BYTES)},
        )


def _file(row: EvaluationRow, name: str) -> StoredFile:
    if row.result is None:
        raise AssertionError("only READY evaluations have files")
    return json_format.ParseDict(row.result["files"][name], StoredFile())


def _kind(*, multi: bool) -> str:
    return "several labels" if multi else "one label"


def _unsuitable(name: str, problem: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"{name} {problem}", reason=Reason.DATASET_UNSUITABLE, metadata={"name": name}
    )
