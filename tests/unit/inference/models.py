"""A model that computes nothing, for what only looks at it."""

from __future__ import annotations

from services.inference.engine import EngineLimits, FloatArray, Output
from services.inference.model import LabelMode, Model, Precision
from services.inference.tokenization import TextReader
from tests.tiny_model import tiny_tokenizer


class NoEngine:
    """Stands where an engine must be and nothing is computed."""

    limits = EngineLimits(texts=1, padded_tokens=1, runs=1)

    def run(self, token_ids: object, outputs: tuple[Output, ...]) -> tuple[FloatArray, ...]:
        raise NotImplementedError


def model(
    *,
    dimension: int = 4,
    labels: tuple[str, ...] = (),
    mode: LabelMode = LabelMode.SINGLE,
    thresholds: tuple[float, ...] = (),
) -> Model:
    """Return a model; with several labels a text its thresholds are 0.5 unless they are given."""
    several = (0.5,) * len(labels) if mode is LabelMode.MULTI else ()
    return Model(
        name="models/tone",
        precision=Precision.EXACT,
        digest="0" * 64,
        dimension=dimension,
        max_tokens=16,
        labels=labels,
        label_mode=mode,
        thresholds=thresholds or several,
        cleaner=None,
        reader=TextReader(tiny_tokenizer().to_str().encode(), max_tokens=16),
        engine=NoEngine(),
    )
