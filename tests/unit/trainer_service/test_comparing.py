"""Comparisons of models by what is stored of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common import layout, manifests
from services.common.errors import FailedPrecondition, ResourceExhausted
from services.common.pagination import page_request
from services.common.storage import ObjectStore, open_store
from services.trainer import publishing
from services.trainer.bell import Bell
from services.trainer.evaluating.calls import EvaluationCalls
from services.trainer.evaluating.naming import EvaluationName
from services.trainer.evaluating.requests import ComparisonWish
from services.trainer.evaluating.rows import Evaluations, NewEvaluation
from services.trainer.models import Request
from services.trainer.state import State
from services.trainer.tables import EvaluationRow, ModelRow
from tests.stores import PassingStore
from tests.tiny_model import store_file
from tests.unit.trainer_service.desk import Desk
from tests.whole_model import publish_whole_model

MODELS = ("tone", "mood")
WISH = ComparisonWish(models=MODELS, dataset=None, split=None)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def calls(desk: Desk, store: ObjectStore, tmp_path: Path) -> EvaluationCalls:
    """What compares two READY models."""
    for model in MODELS:
        desk.add(model)
        with desk.database.write() as session:
            session.get_one(ModelRow, ("default", model)).state = State.READY
        publish_whole_model(store, tmp_path / model, model)
    return EvaluationCalls(desk.models, Evaluations(desk.database, Bell()), store)


class AskedMeanwhile(PassingStore):
    """Has another evaluation asked for just before a mark is removed."""

    def __init__(self, store: ObjectStore, evaluations: Evaluations) -> None:
        super().__init__(store)
        self._evaluations = evaluations

    def delete(self, key: str) -> None:
        if key == layout.dataset_use("default", "d", "tone"):
            ask(self._evaluations)
        super().delete(key)


def ask(evaluations: Evaluations) -> EvaluationRow:
    new = NewEvaluation(
        tenant="default", model="tone", dataset="d", dataset_content_hash="0" * 64, split="test"
    )
    return evaluations.add(new, Request(actor="anna", request_id="", fingerprint=b""))


def test_an_evaluation_that_is_asked_for_while_another_goes_keeps_its_mark(
    calls: EvaluationCalls, desk: Desk, store: ObjectStore
) -> None:
    evaluations = Evaluations(desk.database, Bell())
    old = ask(evaluations)
    meanwhile = EvaluationCalls(desk.models, evaluations, AskedMeanwhile(store, evaluations))

    meanwhile.delete("default", EvaluationName(model="tone", evaluation=old.id))

    assert store.stat(layout.dataset_use("default", "d", "tone")) is not None
    [left] = calls.list("default", "tone", page_request(page_size=0, page_token="", scope=())).items
    calls.delete("default", EvaluationName(model="tone", evaluation=left.id))
    assert store.stat(layout.dataset_use("default", "d", "tone")) is None


def change_predictions(store: ObjectStore, **fields: object) -> None:
    manifest = publishing.find(store, "default", "mood")
    assert manifest is not None
    for name, value in fields.items():
        setattr(manifest.predictions, name, value)
    manifests.replace_manifest(store, layout.model_manifest("default", "mood"), manifest)


def test_what_a_later_release_has_added_is_no_obstacle(
    calls: EvaluationCalls, store: ObjectStore
) -> None:
    manifest = publishing.find(store, "default", "mood")
    assert manifest is not None
    later = store_file(store, manifest.evaluation.key, b'{"later_figure": 1}')
    manifest.evaluation.CopyFrom(later)
    manifests.replace_manifest(store, layout.model_manifest("default", "mood"), manifest)

    assert calls.compare("default", WISH).row_count == 1


def test_more_rows_than_fit_the_memory_are_refused_unread(
    calls: EvaluationCalls, store: ObjectStore
) -> None:
    change_predictions(store, size=40_000_000)

    with pytest.raises(ResourceExhausted, match="compare fewer models"):
        calls.compare("default", WISH)


def test_a_model_that_came_without_predictions_is_told(
    calls: EvaluationCalls, store: ObjectStore
) -> None:
    change_predictions(store, key="")

    with pytest.raises(FailedPrecondition, match="isogloss models evaluate"):
        calls.compare("default", WISH)
