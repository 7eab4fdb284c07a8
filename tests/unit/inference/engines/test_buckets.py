from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.engine import Output
from services.inference.engines.buckets import BUCKETS, Bucket, BucketedSession, bucket_for
from tests.tiny_base import VOCABULARY
from tests.tiny_model import DIMENSION, tiny_graph


@pytest.fixture(scope="module")
def session() -> ort.InferenceSession:
    return ort.InferenceSession(tiny_graph(labels=3), providers=["CPUExecutionProvider"])


@given(texts=st.integers(1, 40), tokens=st.integers(1, 600))
def test_the_smallest_bucket_that_fits_is_taken(texts: int, tokens: int) -> None:
    found = bucket_for(texts, tokens)

    fitting = [one for one in BUCKETS if one.texts >= texts and one.tokens >= tokens]
    if not fitting:
        assert found is None
        return
    assert found in fitting
    assert found.texts * found.tokens == min(one.texts * one.tokens for one in fitting)


@pytest.mark.parametrize(
    ("texts", "tokens", "expected"),
    [
        (1, 1, Bucket(1, 16)),
        (1, 17, Bucket(1, 32)),
        (3, 16, Bucket(4, 16)),
        (8, 128, Bucket(8, 128)),
        (9, 1, None),
        (1, 129, None),
    ],
)
def test_buckets_double(texts: int, tokens: int, expected: Bucket | None) -> None:
    assert bucket_for(texts, tokens) == expected


@given(
    shape=st.tuples(st.integers(1, 10), st.integers(1, 140)),
    outputs=st.sampled_from([(Output.EMBEDDING,), (Output.LOGITS, Output.EMBEDDING)]),
    seed=st.integers(0, 2**16),
)
def test_a_bucket_answers_what_the_batch_alone_does(
    session: ort.InferenceSession, shape: tuple[int, int], outputs: tuple[Output, ...], seed: int
) -> None:
    widths = {Output.EMBEDDING: DIMENSION, Output.LOGITS: 3}
    bucketed = BucketedSession(session, widths, device="cpu")
    random = np.random.default_rng(seed)

    for _ in range(2):  # the second finds what the first left in the buffers
        ids = random.integers(1, len(VOCABULARY), shape)
        mask = (np.arange(shape[1]) < random.integers(1, shape[1] + 1, (shape[0], 1))).astype(int)
        feed = {"input_ids": ids, "attention_mask": mask}
        found = bucketed.run(ids, mask, outputs)

        for rows, expected in zip(found, session.run(list(outputs), feed), strict=True):
            np.testing.assert_allclose(rows, expected, atol=1e-4)
