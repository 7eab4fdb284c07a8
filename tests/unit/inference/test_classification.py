from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from services.inference.classification import classify
from services.inference.engine import FloatArray
from services.inference.model import LabelMode

LABELS = ("angry", "calm", "glad")


@given(
    arrays(
        np.float32, (4, 3), elements=st.floats(min_value=-(2.0**99), max_value=2.0**99, width=32)
    )
)
@settings(deadline=None)  # no timing decides a test
def test_confidences_add_up_to_one_in_falling_order(logits: FloatArray) -> None:
    for found in classify(logits, labels=LABELS, mode=LabelMode.SINGLE, thresholds=(), top_k=0):
        confidences = [label.confidence for label in found.labels]
        assert sum(confidences) == pytest.approx(1.0, abs=1e-9)
        assert confidences == sorted(confidences, reverse=True)
        assert found.predictions == found.labels[:1]
        assert {label.label for label in found.labels} == set(LABELS)


def test_top_k_cuts_the_labels_and_not_their_confidences() -> None:
    logits = np.log(np.array([[0.2, 0.7, 0.1]], np.float32))

    (found,) = classify(logits, labels=LABELS, mode=LabelMode.SINGLE, thresholds=(), top_k=2)

    assert [label.label for label in found.labels] == ["calm", "angry"]
    assert [label.confidence for label in found.labels] == pytest.approx([0.7, 0.2])
    assert [label.label for label in found.predictions] == ["calm"]


def test_a_top_k_beyond_the_labels_tells_all() -> None:
    (found,) = classify(
        np.zeros((1, 3), np.float32), labels=LABELS, mode=LabelMode.SINGLE, thresholds=(), top_k=99
    )

    assert [label.label for label in found.labels] == list(LABELS)


def test_several_labels_are_judged_each_by_its_own_threshold() -> None:
    logits = np.array([[2.0, -1.0, 0.5], [-9.0, -9.0, -1e30]], np.float32)

    first, second = classify(
        logits, labels=LABELS, mode=LabelMode.MULTI, thresholds=(0.9, 0.2, 0.6), top_k=1
    )

    # 0.88 is under its threshold, 0.27 and 0.62 are over theirs.
    assert [label.label for label in first.predictions] == ["glad", "calm"]
    assert [label.label for label in first.labels] == ["angry"]
    assert first.labels[0].confidence == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert second.predictions == []
