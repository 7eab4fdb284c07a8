"""A tiny model, trained, assessed whole, and written as messages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from isogloss.v1.evaluation_pb2 import Advice as AdviceProto
from isogloss.v1.evaluation_pb2 import ClassificationMetrics
from services.common import layout
from services.common.storage import open_store
from services.trainer.evaluation import convert, predictions, stored
from services.trainer.evaluation.advice import Topic, advise
from services.trainer.evaluation.assessment import Assessment, Sample, assess
from services.trainer.evaluation.stored import Place

LABELS = ("bad", "good", "mixed")
_MOST_BYTES = 4 * 1024 * 1024


class Encoder:
    """Texts that are numbers, placed by them: enough of a model to be assessed."""

    def __init__(self, *, spread: float, several: bool) -> None:
        self._spread = spread
        self.thresholds = np.full(len(LABELS), 0.4) if several else np.empty(0)
        self._several = several
        self.known = np.arange(120)
        self.known_embeddings = self.embed([str(number) for number in self.known])

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        rows = [np.random.default_rng(int(text) if text.isdigit() else len(text)) for text in texts]
        points = np.stack(
            [
                np.eye(6)[int(text) % 3 if text.isdigit() else 4]
                + self._spread * row.normal(size=6)
                for text, row in zip(texts, rows, strict=True)
            ]
        )
        unit: np.ndarray = points / np.linalg.norm(points, axis=1, keepdims=True)
        return unit.astype(np.float32)

    def classify(self, embeddings: np.ndarray) -> np.ndarray:
        logits = 8 * embeddings[:, :3]
        if self._several:
            apart: np.ndarray = 1 / (1 + np.exp(4 - logits))
            return apart
        powers = np.exp(logits)
        together: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
        return together


def _sample(start: int, count: int, *, several: bool) -> Sample:
    texts = [str(number) for number in range(start, start + count)]
    label_ids = np.arange(start, start + count) % 3
    if not several:
        return Sample(texts=texts, targets=label_ids)
    targets = np.eye(3, dtype=bool)[label_ids]
    targets[::10] = False
    return Sample(texts=texts, targets=targets)


def _assessed(*, several: bool, cuts: Sequence[int] = ()) -> Assessment:
    return assess(
        Encoder(spread=0.2, several=several),
        Encoder(spread=0.5, several=several),
        labels=LABELS,
        train=_sample(0, 120, several=several),
        held_out=_sample(1000, 90, several=several),
        positive_label=None,
        cuts=cuts,
    )


@pytest.fixture(scope="module")
def single() -> Assessment:
    return _assessed(several=False)


def test_the_same_model_is_assessed_alike(single: Assessment) -> None:
    again = _assessed(several=False)

    for found in (single, again):
        assert found.tuned.evaluation.accuracy > found.baseline.evaluation.accuracy
    assert convert.assessment(single, advise(single)) == convert.assessment(again, advise(again))


def test_the_change_is_from_the_baseline_to_the_model(single: Assessment) -> None:
    gain = single.tuned.evaluation.accuracy - single.baseline.evaluation.accuracy

    assert single.over_baseline.accuracy.value == pytest.approx(gain, abs=1e-6)
    assert single.over_baseline.only_second > single.over_baseline.only_first
    assert single.geometry.neighbour_accuracy > single.baseline_geometry.neighbour_accuracy
    assert len(single.projection.rows) == 90


def test_the_message_holds_both_models_and_no_text(single: Assessment) -> None:
    message = convert.assessment(single, advise(single))

    assert message.metrics.headline == ClassificationMetrics.AVERAGING_MACRO
    assert [label.label for label in message.baseline.labels] == list(LABELS)
    assert len(message.nearest_neighbors.labels) == 0
    assert sum(cell.count for cell in message.metrics.confusion) == 90
    assert len(message.learning_curve.label_f1_per_doubling) == len(LABELS)
    assert {error.text for error in message.worst_errors} <= {""}
    cells = [cell.count for cell in message.metrics.confusion]
    assert cells == sorted(cells, reverse=True)
    assert message.ByteSize() < _MOST_BYTES


def test_with_several_labels_a_text_there_is_no_confusion() -> None:
    found = _assessed(several=True)
    message = convert.assessment(found, advise(found))

    averages = {average.averaging for average in message.metrics.averages}
    assert ClassificationMetrics.AVERAGING_SAMPLES in averages
    assert len(message.metrics.confusion) == len(message.metrics.coverage) == 0
    assert not message.geometry.HasField("silhouette")
    assert message.metrics.calibration.bins
    assert len(convert.projection(found).points) == 90


@pytest.mark.parametrize("several", [False, True])
def test_what_is_left_of_a_cut_embedding_is_told(several: bool) -> None:  # noqa: FBT001 (a parameter)
    found = _assessed(several=several, cuts=[3, 6])
    message = convert.assessment(found, [])

    short, whole = message.cuts
    assert (short.dimension, whole.dimension) == (3, 6)
    assert whole.accuracy == pytest.approx(found.tuned.evaluation.accuracy)
    assert whole.neighbor_accuracy == pytest.approx(found.geometry.neighbour_accuracy)
    assert 0.5 < short.neighbor_accuracy <= 1


def test_texts_are_kept_apart_and_come_back_until_they_are_purged(
    single: Assessment, tmp_path: Path
) -> None:
    store = open_store(str(tmp_path / "store"))
    held_out = [f"text {number}" for number in range(90)]
    train = [f"learnt {number}" for number in range(120)]
    decided = tmp_path / "predictions.parquet"
    predictions.write(decided, held_out, single.tuned, LABELS)
    place = Place(
        figures=layout.attempt_prefix("t", "m", 1, 1),
        texts=layout.attempt_examples_prefix("t", "m", 1, 1),
        directory=tmp_path,
    )

    left = stored.leave(
        store,
        place,
        evaluation=convert.assessment(single, ()),
        projection=convert.projection(single),
        predictions=decided,
        scored=held_out,
        train=train,
    )
    assert left.projection is not None
    evaluation = stored.read_evaluation(store, left.evaluation, left.examples)
    projection = stored.read_projection(store, left.projection, left.examples)
    for item in list(store.list(layout.model_examples_prefix("t", "m"))):
        store.delete(item.key)
    purged = stored.read_evaluation(store, left.evaluation, left.examples)

    assert [point.text for point in projection.points] == held_out
    assert [error.text for error in evaluation.worst_errors] == [
        f"text {error.row}" for error in evaluation.worst_errors
    ]
    assert [error.text for error in evaluation.suspicious_labels] == [
        f"learnt {error.row}" for error in evaluation.suspicious_labels
    ]
    assert not evaluation.texts_removed
    assert purged.texts_removed
    assert purged.metrics == evaluation.metrics
    for item in list(store.list("t/models/m/runs/")):
        assert b"text 1" not in b"".join(store.get(item.key))


def test_every_topic_of_the_domain_is_one_of_the_contract() -> None:
    assert {f"TOPIC_{topic}" for topic in Topic} == set(AdviceProto.Topic.keys()) - {
        "TOPIC_UNSPECIFIED"
    }
