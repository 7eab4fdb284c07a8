"""What one call may ask for, and how large its answer will be. Pure arithmetic."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from services.common.errors import FieldViolation, Reason

if TYPE_CHECKING:
    from services.inference.classification import LabelRule
    from services.inference.vectors import VectorForm

MAX_TEXTS = 512
"""Texts in one call, at most; a server may be set to take fewer."""

MAX_TEXT_BYTES = 128 * 1024
"""Bytes of one text in UTF-8, at most."""

MAX_SHOWN_BYTES = 1024 * 1024
"""Bytes of all texts together whose tokens are shown in one call: these are read to their end,
some 0.3 s of work."""

MAX_LABEL_THRESHOLDS = 10_000
"""Thresholds of single labels in one call: each is looked at where all calls are read, some 10 ms
for so many."""

# UTF-8 takes at most 4 bytes for a character: shorter texts need not be encoded to be sure.
_SURELY_SHORT = MAX_TEXT_BYTES // 4

ANSWER_BYTES = 4 * 1024 * 1024 - 1024
"""What the texts of one answer may take. Every client's default for a message it takes is 4 MiB;
what all texts share (a model name of some 120 bytes, a digest of 64, times, numbers) is under
1 KiB."""

# What stands around each text's numbers: four nested messages with a tag and at most 4 bytes
# of length each (20), two counters with their own message (1 + 1 + 6 + 2 = 10), one flag (2).
_TEXT_BYTES = 32

# What stands around each label: a tag and length outside (3), a tag and length of the word
# (4), a tagged float (5).
_LABEL_BYTES = 12
_RAW_SCORE_BYTES = 5

# What stands around each neighbour: a tag and length outside (4), a tagged place (11), a tag and
# length of its text (3), a tagged float (5); and around each of its labels a tag and length (4).
_NEIGHBOUR_BYTES = 23
_NEIGHBOURS_LABEL_BYTES = 4

OUT_OF_SCOPE_BYTES = 12
"""What it takes to say whether a text is out of scope: a tag and length, two tagged floats."""

# Bytes of one number in a list: whole numbers between -128 and 255 take at most two.
_FLOAT_BYTES = 4
_INTEGER_BYTES = 2


def text_violation(position: int, text: str) -> FieldViolation | None:
    """Return what is wrong with a text whatever the model."""
    if not text or text.isspace():
        return FieldViolation(
            field=f"texts[{position}]",
            description="is empty. Leave it out, or send what it should say.",
        )
    if len(text) > _SURELY_SHORT and (size := len(text.encode())) > MAX_TEXT_BYTES:
        return FieldViolation(
            field=f"texts[{position}]",
            description=(
                f"has {size} bytes in UTF-8, {MAX_TEXT_BYTES} are taken at most. Send a part of "
                "it, or several parts as texts of their own."
            ),
            reason=Reason.LIMIT_EXCEEDED,
        )
    return None


def tokenize_violation(texts: Sequence[str]) -> FieldViolation | None:
    """Return what is wrong where texts are too long to show the tokens of all of them."""
    size = sum(len(text.encode()) for text in texts)
    if size <= MAX_SHOWN_BYTES:
        return None
    return FieldViolation(
        field="texts",
        description=(
            f"has {size} bytes in UTF-8, the tokens of {MAX_SHOWN_BYTES} are shown in one call. "
            "Send them in several calls."
        ),
        reason=Reason.LIMIT_EXCEEDED,
    )


def tokenize_answer_violation(texts: int, size: int) -> FieldViolation | None:
    """Return what is wrong where an answer with the tokens of that many texts is too large.

    Args:
        texts: How many.
        size: Bytes of the answer.
    """
    if size <= ANSWER_BYTES:
        return None
    return FieldViolation(
        field="texts",
        description=(
            f"the tokens of {texts} texts take {size} bytes, over the 4 MiB of one answer. Send "
            "fewer or shorter texts in one call, or leave with_spans out."
        ),
        reason=Reason.LIMIT_EXCEEDED,
    )


def vector_bytes(form: VectorForm, *, as_list: bool) -> int:
    """Return the bytes that one vector takes in an answer, at most."""
    if not as_list:
        return form.packed_bytes
    if form.vector_type.floating:
        return form.dimension * _FLOAT_BYTES
    return form.packed_bytes * _INTEGER_BYTES


def embed_answer_violation(texts: int, vector: int) -> FieldViolation | None:
    """Return what is wrong where the vectors of that many texts exceed an answer's size.

    Args:
        texts: How many, at least 1.
        vector: Bytes of each vector.
    """
    fit = ANSWER_BYTES // (vector + _TEXT_BYTES)
    if texts <= fit:
        return None
    return FieldViolation(
        field="texts",
        description=(
            f"the vectors of {texts} texts, {vector} bytes each, are over the 4 MiB of one "
            f"answer. Send at most {fit} texts in one call."
        ),
        reason=Reason.LIMIT_EXCEEDED,
    )


def neighbour_bytes(labels: Iterable[Sequence[str]], texts: Iterable[str]) -> int:
    """Return the bytes that any of these rows takes as a neighbour, at most.

    Args:
        labels: Of each row.
        texts: Those that are known.
    """
    longest = max((len(text.encode()) for text in texts), default=0)
    most = max(
        (sum(len(label.encode()) + _NEIGHBOURS_LABEL_BYTES for label in row) for row in labels),
        default=0,
    )
    return _NEIGHBOUR_BYTES + longest + most


def classify_answer_violation(
    texts: int, rule: LabelRule, *, vector: int = 0, explained: int = 0
) -> FieldViolation | None:
    """Return what is wrong where the labels of that many texts may exceed an answer's size.

    Args:
        texts: How many, at least 1.
        rule: What is told of each; counted are the longest labels.
        vector: Bytes of the vector that comes with the labels.
        explained: Bytes of what explains the labels of a text.
    """
    around = _LABEL_BYTES + (_RAW_SCORE_BYTES if rule.raw_scores else 0)
    sizes = sorted((len(label.encode()) + around for label in rule.labels), reverse=True)
    always = _TEXT_BYTES + vector + explained + sum(sizes[: rule.most_predictions])
    fit = ANSWER_BYTES // (always + sum(sizes[: rule.told]))
    if texts <= fit:
        return None
    and_why = " and what explains them" if explained else ""
    room = ANSWER_BYTES // texts - always
    told = bisect_right(list(accumulate(sizes)), room)
    advice = [
        f"send at most {fit} texts in one call",
        *([f"ask for at most {told} labels with top_k"] if told else []),
        *(["ask for fewer neighbours with explain"] if explained else []),
    ]
    return FieldViolation(
        field="texts",
        description=(
            f"{rule.told} labels{and_why} for each of {texts} texts may be over the 4 MiB of one "
            f"answer: {', or '.join(advice)}."
        ),
        reason=Reason.LIMIT_EXCEEDED,
    )
