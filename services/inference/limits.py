"""What one call may ask for, and how large its answer will be. Pure arithmetic."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from services.common.errors import FieldViolation, Reason

MAX_TEXTS = 512
"""Texts in one call, at most; a server may be set to take fewer."""

MAX_TEXT_BYTES = 128 * 1024
"""Bytes of one text in UTF-8, at most."""

# Every client's default for a message it takes is 4 MiB. What all texts share of an answer
# (a model name of some 120 bytes, a digest of 64, numbers) is under 1 KiB.
_ANSWER_BYTES = 4 * 1024 * 1024 - 1024

# What stands around each text's numbers: four nested messages with a tag and at most 4 bytes
# of length each (20), two counters with their own message (1 + 1 + 6 + 2 = 10).
_TEXT_BYTES = 30

# What stands around each label: a tag and length outside (3), a tag and length of the word
# (4), a tagged float (5).
_LABEL_BYTES = 12

# Bytes of one number of a vector.
_FLOAT_BYTES = 4


def embed_answer_violation(texts: int, dimension: int) -> FieldViolation | None:
    """Return what is wrong where the vectors of that many texts exceed an answer's size."""
    fit = _ANSWER_BYTES // (dimension * _FLOAT_BYTES + _TEXT_BYTES)
    if texts <= fit:
        return None
    return FieldViolation(
        field="texts",
        description=(
            f"the vectors of {texts} texts, {dimension} numbers each, are over the 4 MiB of one "
            f"answer. Send at most {fit} texts in one call."
        ),
        reason=Reason.LIMIT_EXCEEDED,
    )


def classify_answer_violation(
    texts: int, labels: Sequence[str], *, top_k: int, predictions: int
) -> FieldViolation | None:
    """Return what is wrong where the labels of that many texts may exceed an answer's size.

    Args:
        texts: How many, at least 1.
        labels: All labels of the model; counted are the longest ones.
        top_k: How many to tell of for each text; 0 for all.
        predictions: How many may be predicted for each text.
    """
    sizes = sorted((len(label.encode()) + _LABEL_BYTES for label in labels), reverse=True)
    always = _TEXT_BYTES + sum(sizes[:predictions])
    wanted = min(top_k or len(labels), len(labels))
    fit = _ANSWER_BYTES // (always + sum(sizes[:wanted]))
    if texts <= fit:
        return None
    advice = f"Send at most {fit} texts in one call"
    room = _ANSWER_BYTES // texts - always
    told = bisect_right(list(accumulate(sizes)), room)
    if told:
        advice += f", or ask for at most {told} labels with top_k"
    return FieldViolation(
        field="texts",
        description=(
            f"{wanted} labels for each of {texts} texts may be over the 4 MiB of one answer. "
            f"{advice}."
        ),
        reason=Reason.LIMIT_EXCEEDED,
    )
