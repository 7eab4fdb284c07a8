"""The proof that a graph computes what the model does. Publishes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from services.trainer.encoder import collate
from services.trainer.exporting.decision import Decision
from services.trainer.exporting.graph import Exportable
from services.trainer.exporting.session import Sequences, Session
from services.trainer.head import Floats

MIN_COSINE = 0.9999
MAX_PROBABILITY_DIFFERENCE = 1e-3

_TIE = 2 * MAX_PROBABILITY_DIFFERENCE
# Two labels this close may change places within the difference that is allowed.

_BATCHES = (1, 8, 32)
# Alone, and beside others that make it padded: the answer must not depend on them.


class ExportMismatch(RuntimeError):
    """The graph does not compute what the model does; it must not be published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far two ways to compute the same texts are apart."""

    min_cosine: float
    """The smallest cosine between two embeddings of one text."""

    max_probability_difference: float
    """The largest, over texts and labels; 0 without a head."""


def answers(module: Exportable, sequences: Sequences, pad_token_id: int) -> list[Floats]:
    """Return what the model itself says, each text alone and unpadded."""
    with torch.inference_mode():
        alone = [module(*collate([sequence], pad_token_id)) for sequence in sequences]
    return [np.concatenate(output) for output in zip(*alone, strict=True)]


def prove(
    expected: list[Floats],
    graph: Path,
    sequences: Sequences,
    *,
    pad_token_id: int,
    decision: Decision,
) -> Agreement:
    """Compare a graph with what the model says, in batches of several sizes.

    Args:
        expected: Of `answers`, for the same texts.
        graph: The ONNX file.
        sequences: Token ids of the texts.
        pad_token_id: Of the base.
        decision: How logits become labels.

    Raises:
        ExportMismatch: Where they differ by more than `MIN_COSINE` and
            `MAX_PROBABILITY_DIFFERENCE` allow, or on a label.
    """
    session = Session(graph, pad_token_id)
    least, most = 1.0, 0.0
    for batch in _BATCHES:
        found = session.run(sequences, batch=batch)
        agreement = compare(expected, found, decision)
        least = min(least, agreement.min_cosine)
        most = max(most, agreement.max_probability_difference)
    # Written so that a NaN, which compares false with everything, is refused.
    if not (least >= MIN_COSINE and most <= MAX_PROBABILITY_DIFFERENCE):
        raise ExportMismatch(
            f"The exported graph differs from the model: cosine {least:.6f} (at least "
            f"{MIN_COSINE}), probabilities {most:.2e} apart (at most {MAX_PROBABILITY_DIFFERENCE})."
        )
    return Agreement(min_cosine=least, max_probability_difference=most)


def compare(expected: list[Floats], found: list[Floats], decision: Decision) -> Agreement:
    """Compare embeddings and, where there are any, logits.

    Raises:
        ExportMismatch: Where a text that is clearly decided is decided otherwise.
    """
    cosines = cosine(expected[0], found[0])
    difference = 0.0 if len(found) == 1 else _difference(expected[1], found[1], decision)
    return Agreement(min_cosine=float(cosines.min()), max_probability_difference=difference)


def cosine(left: Floats, right: Floats) -> Floats:
    """Return the cosine of each row of one with the same row of the other, [N]."""
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    result: Floats = (left * right).sum(axis=1) / lengths
    return result


def _difference(expected: Floats, found: Floats, decision: Decision) -> float:
    """Return the largest difference of probabilities, given logits [N, K]."""
    right, tried = decision.probabilities(expected), decision.probabilities(found)
    clear = decision.margins(right) > _TIE
    if (decision.labels(right) != decision.labels(tried))[clear].any():
        raise ExportMismatch("The exported graph gives another label than the model.")
    return float(np.abs(right - tried).max())
