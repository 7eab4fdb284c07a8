from __future__ import annotations

import numpy as np
import pytest

from services.trainer.exporting.decision import SINGLE, Decision

_SEVERAL = Decision(multi_label=True, thresholds=np.array([0.5, 0.3], dtype=np.float32))


def _floats(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def test_of_one_label_a_text_the_most_likely_one_is_given() -> None:
    probabilities = SINGLE.probabilities(_floats([0.0, np.log(3.0)], [1000.0, -1000.0]))

    np.testing.assert_allclose(probabilities, [[0.25, 0.75], [1.0, 0.0]], atol=1e-6)
    assert SINGLE.labels(probabilities).tolist() == [[False, True], [True, False]]
    np.testing.assert_allclose(SINGLE.margins(probabilities), [0.5, 1.0], atol=1e-6)


def test_of_several_labels_each_has_a_threshold_of_its_own() -> None:
    probabilities = _SEVERAL.probabilities(_floats([0.0, -1.0], [-1000.0, 1000.0]))

    np.testing.assert_allclose(probabilities, [[0.5, 0.2689], [0.0, 1.0]], atol=1e-4)
    assert _SEVERAL.labels(probabilities).tolist() == [[True, False], [False, True]]
    np.testing.assert_allclose(_SEVERAL.margins(probabilities), [0.0, 0.5], atol=1e-6)


def test_the_score_is_accuracy_with_one_label_and_micro_f1_with_several() -> None:
    one = _floats([0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.2, 0.8])
    truth = np.array([[1, 0], [0, 1], [0, 1], [0, 1]], dtype=bool)
    several = _floats([0.9, 0.9], [0.1, 0.1])

    assert SINGLE.score(one, truth) == pytest.approx(0.75)
    # Two given, one of them right; three to be given: 2 * 1 / (2 + 3).
    assert _SEVERAL.score(several, np.array([[1, 0], [1, 1]], dtype=bool)) == pytest.approx(0.4)
