from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from services.common.errors import InvalidArgument
from services.inference.classification import LabelWish, classify, label_rule
from services.inference.engine import FloatArray
from services.inference.model import LabelMode
from tests.unit.inference.models import model

LABELS = ("angry", "calm", "glad")
ONE = model(labels=LABELS)
SEVERAL = model(labels=LABELS, mode=LabelMode.MULTI, thresholds=(0.9, 0.2, 0.6))

# Confidences 0.88, 0.27 and 0.62.
LOGITS = np.array([[2.0, -1.0, 0.5]], np.float32)


def predicted(wish: LabelWish, logits: FloatArray = LOGITS) -> list[str]:
    (found,) = classify(logits, label_rule(wish, SEVERAL))
    return [label.label for label in found.predictions]


def refused(wish: LabelWish, *, several: bool) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as caught:
        label_rule(wish, SEVERAL if several else ONE)
    return {violation.field: violation.description for violation in caught.value.violations}


@given(
    arrays(
        np.float32, (4, 3), elements=st.floats(min_value=-(2.0**99), max_value=2.0**99, width=32)
    )
)
@settings(deadline=None)  # no timing decides a test
def test_confidences_add_up_to_one_in_falling_order(logits: FloatArray) -> None:
    for row, found in zip(logits, classify(logits, label_rule(LabelWish(), ONE)), strict=True):
        confidences = [label.confidence for label in found.labels]
        assert sum(confidences) == pytest.approx(1.0, abs=1e-9)
        assert confidences == sorted(confidences, reverse=True)
        assert found.predictions == found.labels[:1]
        scores = {label.label: label.raw_score for label in found.labels}
        assert scores == dict(zip(LABELS, row.tolist(), strict=True))


def test_top_k_cuts_the_labels_and_not_their_confidences() -> None:
    logits = np.log(np.array([[0.2, 0.7, 0.1]], np.float32))

    (found,) = classify(logits, label_rule(LabelWish(top_k=2), ONE))

    assert [label.label for label in found.labels] == ["calm", "angry"]
    assert [label.confidence for label in found.labels] == pytest.approx([0.7, 0.2])
    assert [label.label for label in found.predictions] == ["calm"]


def test_a_top_k_beyond_the_labels_tells_all() -> None:
    (found,) = classify(np.zeros((1, 3), np.float32), label_rule(LabelWish(top_k=99), ONE))

    assert [label.label for label in found.labels] == list(LABELS)


def test_several_labels_are_judged_each_by_its_own_threshold() -> None:
    logits = np.array([[2.0, -1.0, 0.5], [-9.0, -9.0, -1e30]], np.float32)

    first, second = classify(logits, label_rule(LabelWish(top_k=1), SEVERAL))

    # 0.88 is under its threshold, 0.27 and 0.62 are over theirs.
    assert [label.label for label in first.predictions] == ["glad", "calm"]
    assert [label.label for label in first.labels] == ["angry"]
    assert first.labels[0].confidence == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert second.predictions == []
    assert not second.abstained


@pytest.mark.parametrize(
    ("wish", "labels"),
    [
        (LabelWish(threshold=0.5), ["angry", "glad"]),
        (LabelWish(threshold=0.0), ["angry", "glad", "calm"]),
        (LabelWish(label_thresholds={"angry": 0.8}), ["angry", "glad", "calm"]),
        (LabelWish(threshold=0.5, label_thresholds={"glad": 0.7}), ["angry"]),
    ],
)
def test_a_call_has_thresholds_of_its_own(wish: LabelWish, labels: list[str]) -> None:
    assert predicted(wish) == labels


def test_one_label_a_text_knows_no_threshold() -> None:
    wish = LabelWish(threshold=0.5, label_thresholds={"calm": 0.1})

    found = refused(wish, several=False)

    assert found.keys() == {"threshold", "label_thresholds"}
    assert "abstain_below" in found["threshold"]


def test_thresholds_of_labels_that_the_model_has_not_are_refused() -> None:
    found = refused(LabelWish(label_thresholds={"sad": 0.5, "calm": 0.5}), several=True)

    assert found.keys() == {"label_thresholds[sad]"}


@pytest.mark.parametrize("several", [False, True])
def test_nothing_is_predicted_where_nothing_is_sure_enough(*, several: bool) -> None:
    asked = SEVERAL if several else ONE
    logits = np.array([[0.1, 0.0, 0.0], [9.0, 0.0, 0.0]], np.float32)

    unsure, sure = classify(logits, label_rule(LabelWish(abstain_below=0.95), asked))

    assert (unsure.abstained, list(unsure.predictions)) == (True, [])
    assert len(unsure.labels) == 3
    assert (sure.abstained, sure.predictions[0].label) == (False, "angry")
