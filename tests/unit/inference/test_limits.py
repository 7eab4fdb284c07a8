from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.v1 import inference_service_pb2 as pb
from services.inference.limits import (
    MAX_TEXTS,
    classify_answer_violation,
    embed_answer_violation,
)

MESSAGE_BYTES = 4 * 1024 * 1024


def largest_embed_answer(texts: int, dimension: int) -> int:
    response = pb.EmbedResponse(dimension=dimension)
    response.served_by.model = "models/" + "m" * 63
    response.served_by.digest = "f" * 64
    for _ in range(texts):
        result = response.results.add()
        result.vector.packed = b"\0" * (dimension * 4)
        result.usage.token_count = 1 << 20
        result.usage.truncated = True
    return response.ByteSize()


def largest_classify_answer(texts: int, labels: list[str], told: int, predictions: int) -> int:
    response = pb.ClassifyResponse()
    response.served_by.model = "models/" + "m" * 63
    response.served_by.digest = "f" * 64
    longest = sorted(labels, key=lambda label: len(label.encode()), reverse=True)
    for _ in range(texts):
        result = response.results.add()
        for label in longest[:predictions]:
            result.classification.predictions.add(label=label, confidence=0.3)
        for label in longest[:told]:
            result.classification.labels.add(label=label, confidence=0.3)
        result.usage.token_count = 1 << 20
        result.usage.truncated = True
    return response.ByteSize()


def advised(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    assert match, text
    return int(match[1])


@given(st.integers(min_value=1, max_value=MAX_TEXTS), st.sampled_from([8, 384, 1024, 4096, 9999]))
@settings(deadline=None)  # no timing decides a test
def test_no_vectors_that_are_let_through_exceed_an_answer(texts: int, dimension: int) -> None:
    violation = embed_answer_violation(texts, dimension)

    if violation is None:
        assert largest_embed_answer(texts, dimension) <= MESSAGE_BYTES
    else:
        fit = advised(r"at most (\d+) texts", violation.description)
        assert 0 < fit < texts
        assert embed_answer_violation(fit, dimension) is None


def test_models_of_today_fit_with_every_text() -> None:
    assert embed_answer_violation(MAX_TEXTS, 1024) is None


@given(
    texts=st.integers(min_value=1, max_value=MAX_TEXTS),
    labels=st.integers(min_value=1, max_value=1500).map(
        lambda count: [f"label {number} " + "é" * (number % 7) for number in range(count)]
    ),
    top_k=st.integers(min_value=0, max_value=2000),
    several=st.booleans(),
)
@settings(deadline=None)  # no timing decides a test
def test_no_labels_that_are_let_through_exceed_an_answer(
    texts: int, labels: list[str], top_k: int, *, several: bool
) -> None:
    predictions = len(labels) if several else 1
    violation = classify_answer_violation(texts, labels, top_k=top_k, predictions=predictions)

    if violation is None:
        told = min(top_k or len(labels), len(labels))
        assert largest_classify_answer(texts, labels, told, predictions) <= MESSAGE_BYTES
        return
    fit = advised(r"at most (\d+) texts", violation.description)
    assert 0 < fit < texts
    assert classify_answer_violation(fit, labels, top_k=top_k, predictions=predictions) is None
    if "top_k" in violation.description:
        fewer = advised(r"at most (\d+) labels", violation.description)
        assert (
            classify_answer_violation(texts, labels, top_k=fewer, predictions=predictions) is None
        )
