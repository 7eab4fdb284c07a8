from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.v1 import inference_service_pb2 as pb
from services.inference.classification import LabelRule, LabelWish, label_rule
from services.inference.convert.responses import (
    classify_response,
    embed_and_classify_response,
    embed_response,
)
from services.inference.engine import FloatArray, Output
from services.inference.limits import (
    MAX_TEXT_BYTES,
    MAX_TEXTS,
    classify_answer_violation,
    embed_answer_violation,
    neighbour_bytes,
    text_violation,
    vector_bytes,
)
from services.inference.model import Computed, LabelMode, Model, Timings
from services.inference.neighbours.explaining import Explainer, Scope
from services.inference.neighbours.rows import Rows
from services.inference.resolving import Loaded
from services.inference.tokenization import TokenisedText
from services.inference.vectors import VectorType, VectorWish, vector_form
from tests.unit.inference.models import model

MESSAGE_BYTES = 4 * 1024 * 1024
DAYS = 1e6 + 0.123456789
IDS = [0] * (1 << 21)


def served(found: Model) -> Loaded:
    return Loaded(model=replace(found, name="models/" + "m" * 63, digest="f" * 64), seconds=DAYS)


def computed(texts: int, embedding: FloatArray, logits: FloatArray) -> Computed:
    return Computed(
        rows={Output.EMBEDDING: embedding, Output.LOGITS: logits},
        texts=[TokenisedText(ids=IDS, truncated=True)] * texts,
        errors={},
        timings=Timings(queue=DAYS, tokenise=DAYS, infer=DAYS),
    )


def rows(texts: int, width: int) -> FloatArray:
    return np.ones((texts, width), np.float32)


def advised(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    assert match, text
    return int(match[1])


@given(
    texts=st.integers(min_value=1, max_value=MAX_TEXTS),
    dimension=st.sampled_from([1, 8, 384, 1024, 4096, 9999]),
    vector_type=st.sampled_from(VectorType),
    as_list=st.booleans(),
)
@settings(deadline=None, max_examples=20)  # no timing decides a test
def test_no_vectors_that_are_let_through_exceed_an_answer(
    texts: int, dimension: int, vector_type: VectorType, *, as_list: bool
) -> None:
    asked = replace(model(dimension=dimension), vector_range=1.0)
    form = vector_form(VectorWish(vector_type=vector_type), asked)
    size = vector_bytes(form, as_list=as_list)
    violation = embed_answer_violation(texts, size)

    if violation is None:
        found = computed(texts, rows(texts, dimension), rows(texts, 1))
        answer = embed_response(served(asked), form, found, as_list=as_list)
        assert answer.ByteSize() <= MESSAGE_BYTES
    else:
        fit = advised(r"at most (\d+) texts", violation.description)
        assert 0 < fit < texts
        assert embed_answer_violation(fit, size) is None


def test_models_of_today_fit_with_every_text() -> None:
    form = vector_form(VectorWish(), model(dimension=1024))

    assert embed_answer_violation(MAX_TEXTS, vector_bytes(form, as_list=False)) is None


def most_confident(rule: LabelRule, texts: int) -> FloatArray:
    """Return logits by which the longest labels are told, and all that may be are predicted."""
    logits = rows(texts, len(rule.labels)) * 9
    logits += np.array([len(label.encode()) for label in rule.labels], np.float32)
    return logits


@given(
    texts=st.integers(min_value=1, max_value=MAX_TEXTS),
    labels=st.integers(min_value=1, max_value=1500).map(
        lambda count: tuple(f"label {number} " + "é" * (number % 7) for number in range(count))
    ),
    wish=st.builds(LabelWish, top_k=st.integers(0, 2000), raw_scores=st.booleans()),
    several=st.booleans(),
    dimension=st.sampled_from([0, 384, 4096]),
)
@settings(deadline=None, max_examples=20)  # no timing decides a test
def test_no_labels_that_are_let_through_exceed_an_answer(
    texts: int, labels: tuple[str, ...], wish: LabelWish, dimension: int, *, several: bool
) -> None:
    mode = LabelMode.MULTI if several else LabelMode.SINGLE
    asked = model(dimension=dimension or 1, labels=labels, mode=mode)
    rule, form = label_rule(wish, asked), vector_form(VectorWish(), asked)
    size = vector_bytes(form, as_list=False) if dimension else 0
    violation = classify_answer_violation(texts, rule, vector=size)

    if violation is None:
        answer = _answer(asked, rule, texts, dimension)
        assert answer.ByteSize() <= MESSAGE_BYTES
        return
    fit = advised(r"at most (\d+) texts", violation.description)
    assert 0 < fit < texts
    assert classify_answer_violation(fit, rule, vector=size) is None
    if "top_k" in violation.description:
        fewer = replace(rule, told=advised(r"at most (\d+) labels", violation.description))
        assert classify_answer_violation(texts, fewer, vector=size) is None


@given(
    texts=st.integers(min_value=1, max_value=MAX_TEXTS),
    text=st.sampled_from(["", "a", "é" * 500, "\U0001f600" * 500]),
    labels=st.lists(st.sampled_from(["a", "b" * 200, "é" * 300]), min_size=2, max_size=4),
    explain=st.integers(0, 20),
    out_of_scope=st.booleans(),
)
@settings(deadline=None, max_examples=20)  # no timing decides a test
def test_no_neighbours_that_are_let_through_exceed_an_answer(
    texts: int, text: str, labels: list[str], explain: int, *, out_of_scope: bool
) -> None:
    asked = model(labels=("x", "y"))
    rule = label_rule(LabelWish(), asked)
    known = Rows(vectors=rows(20, 1), places=range(2**31 - 20, 2**31), labels=[tuple(labels)] * 20)
    explainer = Explainer(
        rows=known,
        row_bytes=neighbour_bytes(known.labels, [text]),
        texts=dict.fromkeys(known.places, text),
        explain=explain,
        scope=Scope(nearest=1, held_out_cosines=[0.0, 0.5]) if out_of_scope else None,
        dataset="datasets/" + "d" * 63,
    )
    violation = classify_answer_violation(texts, rule, explained=explainer.text_bytes)

    if violation is None:
        found = computed(texts, rows(texts, 1), rows(texts, 2))
        answer = classify_response(served(asked), rule, found, explainer=explainer)
        assert answer.ByteSize() <= MESSAGE_BYTES
        return
    assert violation.description.endswith("or ask for fewer neighbours with explain.")
    fit = advised(r"at most (\d+) texts", violation.description)
    assert 0 < fit < texts
    assert classify_answer_violation(fit, rule, explained=explainer.text_bytes) is None


def _answer(
    asked: Model, rule: LabelRule, texts: int, dimension: int
) -> pb.ClassifyResponse | pb.EmbedAndClassifyResponse:
    logits = most_confident(rule, texts)
    if not dimension:
        return classify_response(served(asked), rule, computed(texts, rows(texts, 1), logits))
    found = computed(texts, rows(texts, dimension), logits)
    form = vector_form(VectorWish(), asked)
    return embed_and_classify_response(served(asked), form, rule, found, as_list=False)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "is empty"), (" \n", "is empty"), ("é" * MAX_TEXT_BYTES, "has 262144 bytes")],
)
def test_no_model_takes_nothing_or_too_much(text: str, problem: str) -> None:
    violation = text_violation(3, text)

    assert violation is not None
    assert violation.field == "texts[3]"
    assert violation.description.startswith(problem)
    assert text_violation(3, "é" * (MAX_TEXT_BYTES // 2)) is None
