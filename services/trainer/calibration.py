"""Making probabilities mean what they say, on rows that were kept back from training."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from services.trainer.head import Floats, Head, Ints

_RANGE = (0.25, 4.0)
# Outside a factor of four either way, a few dozen rows say more about luck than about the model.


def keep_back(label_ids: Ints, rows: int, *, seed: int) -> tuple[Ints, Ints]:
    """Cut rows off for calibration, label by label in proportion.

    Args:
        label_ids: [N]
        rows: How many to keep back, about; 0 keeps none.
        seed: Of the choice.

    Returns:
        The rows to train on and the rows kept back, both ascending; every label that has a row
        keeps one to train on.
    """
    random = np.random.default_rng(seed)
    share = rows / len(label_ids)
    chosen = [np.empty(0, dtype=np.int64)]
    for label in np.unique(label_ids):
        candidates = random.permutation(np.flatnonzero(label_ids == label))
        chosen.append(candidates[: min(len(candidates) - 1, round(share * len(candidates)))])
    kept = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(label_ids)), kept), kept


def fit_temperature(head: Head, embeddings: Floats, label_ids: Ints) -> float:
    """Return what to divide logits by so that the log loss on these rows is least.

    Args:
        head: Its winners stay the same at any temperature.
        embeddings: [N, D] of rows that the model did not learn from.
        label_ids: [N]
    """

    def loss(exponent: float) -> float:
        probabilities = head.probabilities(embeddings, temperature=float(np.exp(exponent)))
        right = probabilities[np.arange(len(label_ids)), label_ids].astype(np.float64)
        return float(-np.log(np.maximum(right, np.finfo(np.float32).tiny)).mean())

    least, most = np.log(_RANGE)
    return float(np.exp(minimize_scalar(loss, bounds=(least, most), method="bounded").x))
