"""Comparisons of models by what is stored of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common import layout, manifests
from services.common.errors import FailedPrecondition, ResourceExhausted
from services.common.storage import ObjectStore, open_store
from services.trainer import publishing
from services.trainer.bell import Bell
from services.trainer.evaluating.calls import EvaluationCalls
from services.trainer.evaluating.requests import ComparisonWish
from services.trainer.evaluating.rows import Evaluations
from services.trainer.state import State
from services.trainer.tables import ModelRow
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
