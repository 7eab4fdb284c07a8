"""An evaluation carried out in this process, on a model of ten nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import json_format

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest
from isogloss.storage.v1.stored_file_pb2 import StoredFile
from isogloss.v1.cleaning_pb2 import Cleaning
from isogloss.v1.evaluation_pb2 import Evaluation
from isogloss.v1.label_mode_pb2 import LabelMode
from isogloss.v1.split_pb2 import Split
from services.common import layout
from services.common.errors import DataLoss
from services.common.storage import ObjectStore, StoreOptions, open_store
from services.trainer.evaluating.carrying_out import EvaluationFailed, carry_out
from services.trainer.evaluating.served import fetch
from services.trainer.evaluating.spec import EvaluationSpec
from services.trainer.evaluation import predictions, stored
from tests.integration.trainer.published import CONTENT_HASH, POST, publish_dataset
from tests.tiny_model import publish_tiny_model

MODEL = "tone-abcdef"
TONES = ("angry", "happy", "plain")


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"))


def spec(folder: Path, **changes: str) -> EvaluationSpec:
    fields = {
        "tenant": "default",
        "model": MODEL,
        "evaluation": "abcdefghij27",
        "dataset": "tone-aaaaaa",
        "dataset_content_hash": CONTENT_HASH,
        "split": "test",
        "figures": layout.evaluation_prefix("default", MODEL, "abcdefghij27") + "0001-1/",
        "texts": layout.evaluation_examples_prefix("default", MODEL, "abcdefghij27") + "0001-1/",
        "store_url": "",
        "scratch": str(folder),
        **changes,
    }
    return EvaluationSpec(**fields, store_options=StoreOptions(), threads=1, niceness=0, parent=1)


def answers(
    store: ObjectStore, manifest: ModelManifest, folder: Path, texts: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    return fetch(store, manifest, folder, threads=1).answer(texts)


def test_a_spec_survives_its_line(tmp_path: Path) -> None:
    given = spec(tmp_path)

    assert EvaluationSpec.from_json(given.to_json()) == given
    assert "\n" not in given.to_json()


def test_an_answer_does_not_depend_on_the_texts_beside_it(
    store: ObjectStore, tmp_path: Path
) -> None:
    manifest = publish_tiny_model(store, "default", MODEL)
    texts = ["the order was good", "bad", "the card was bad and the order was good again", ""]

    embeddings, probabilities = answers(store, manifest, tmp_path, texts)
    alone = [answers(store, manifest, tmp_path, [text]) for text in texts]

    np.testing.assert_allclose(embeddings, np.concatenate([one for one, _ in alone]), atol=1e-6)
    np.testing.assert_allclose(probabilities, np.concatenate([one for _, one in alone]), atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-5)


def test_texts_are_cleaned_and_prefixed_as_they_are_served(
    store: ObjectStore, tmp_path: Path
) -> None:
    plain = publish_tiny_model(store, "default", "plain")
    served = publish_tiny_model(
        store, "default", "served", cleaning=Cleaning(strip_html=True), prefix="order "
    )

    given, _ = answers(store, served, tmp_path / "a", ["<b>was</b> good"])
    expected, _ = answers(store, plain, tmp_path / "b", ["order was good"])

    np.testing.assert_allclose(given, expected, atol=1e-6)


def test_rows_are_scored_and_left_without_their_texts(store: ObjectStore, tmp_path: Path) -> None:
    publish_tiny_model(store, "default", MODEL, labels=TONES)
    publish_dataset(store, tmp_path)

    found = carry_out(spec(tmp_path), store)

    files = {
        name: json_format.ParseDict(file, StoredFile()) for name, file in found["files"].items()
    }
    summary = json_format.ParseDict(found["summary"], Evaluation())
    whole = stored.read_evaluation(store, files["evaluation"], files["examples"])
    decided = predictions.read(b"".join(store.get(files["predictions"].key)))
    assert whole.row_count == len(decided.keys) == 60
    assert whole.metrics.accuracy == summary.metrics.accuracy
    assert sum(
        labels == given for labels, given in zip(decided.labels, decided.predicted, strict=True)
    ) == round(60 * whole.metrics.accuracy)
    assert (whole.split, whole.dataset) == (Split.SPLIT_TEST, "datasets/tone-aaaaaa")
    assert whole.worst_errors[0].text.startswith("your ")
    assert len(summary.metrics.labels) == len(summary.worst_errors) == 0
    assert json_format.MessageToJson(summary).count("your ") == 0


def test_several_labels_a_text_are_scored_by_the_models_thresholds(
    store: ObjectStore, tmp_path: Path
) -> None:
    labels = ("angry", "happy", POST)
    publish_tiny_model(store, "default", MODEL, labels=labels, thresholds=(0.0, 1.0, 0.0))
    publish_dataset(store, tmp_path, label_mode=LabelMode.LABEL_MODE_MULTI)

    found = carry_out(spec(tmp_path), store)

    file = json_format.ParseDict(found["files"]["predictions"], StoredFile())
    decided = predictions.read(b"".join(store.get(file.key)))
    assert set(decided.predicted) == {("angry", POST)}
    assert () in decided.labels
    summary = json_format.ParseDict(found["summary"], Evaluation())
    assert summary.label_mode == LabelMode.LABEL_MODE_MULTI


def test_a_row_of_two_unknown_labels_is_left_out_once(store: ObjectStore, tmp_path: Path) -> None:
    publish_tiny_model(store, "default", MODEL, labels=("green", "red"), thresholds=(0.5, 0.5))
    publish_dataset(store, tmp_path, label_mode=LabelMode.LABEL_MODE_MULTI)

    found = carry_out(spec(tmp_path), store)

    summary = json_format.ParseDict(found["summary"], Evaluation())
    assert summary.row_count + summary.unknown_label_row_count == 60
    assert sum(unknown.row_count for unknown in summary.unknown_labels) > 60 - summary.row_count


def test_rows_that_were_learnt_from_are_called_so(store: ObjectStore, tmp_path: Path) -> None:
    manifest = publish_tiny_model(store, "default", MODEL, labels=TONES)
    manifest.lineage.dataset_content_hash = CONTENT_HASH
    store.put(layout.model_manifest("default", MODEL), json_format.MessageToJson(manifest).encode())
    publish_dataset(store, tmp_path)

    train, test = (
        json_format.ParseDict(
            carry_out(spec(tmp_path, split=split), store)["summary"], Evaluation()
        )
        for split in ("train", "test")
    )

    assert "learnt from these rows" in train.advice[0].message
    assert len(test.advice) == 0


def test_what_cannot_succeed_says_why(store: ObjectStore, tmp_path: Path) -> None:
    publish_dataset(store, tmp_path)
    with pytest.raises(EvaluationFailed, match=f"models/{MODEL} is gone"):
        carry_out(spec(tmp_path), store)

    publish_tiny_model(store, "default", MODEL, labels=("red", "green"))
    for changes, says in (
        ({"dataset": "gone-aaaaaa"}, "datasets/gone-aaaaaa is gone"),
        ({"dataset_content_hash": "0" * 64}, "another one than when"),
        ({}, "No row of the test split .* has only labels that .* red, green"),
    ):
        with pytest.raises(EvaluationFailed, match=says):
            carry_out(spec(tmp_path, **changes), store)


def test_a_damaged_graph_is_no_graph(store: ObjectStore, tmp_path: Path) -> None:
    manifest = publish_tiny_model(store, "default", MODEL, labels=TONES)
    publish_dataset(store, tmp_path)
    store.put(manifest.variants[0].graph.key, b"not the graph")

    with pytest.raises(DataLoss):
        carry_out(spec(tmp_path), store)
