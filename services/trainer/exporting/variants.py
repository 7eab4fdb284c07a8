"""Every form of a model that is published: made, compared, or refused with a reason."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
import onnx
import onnx_ir

from services.trainer.base_import import BaseEncoder
from services.trainer.encoder import load_encoder
from services.trainer.exporting.decision import SINGLE, Decision, Truth
from services.trainer.exporting.exactness import ExportMismatch, answers, prove
from services.trainer.exporting.fusing import fuse, fuse_between_products
from services.trainer.exporting.graph import Exportable, trace
from services.trainer.exporting.half import write_half
from services.trainer.exporting.quantized import Examples, NotWorthIt, Stopwatch, search
from services.trainer.exporting.session import Session, first_tokens
from services.trainer.tokenize import Tokenizer
from services.trainer.training import TrainedModel

_PROBE_TEXTS = 64
# Enough lengths to show a padding fault, and a second of forward passes at most.

_JUDGED_TEXTS = 528
_JUDGED_TOKENS = 20_000
# Of an 8-bit variant: 128 that it is made on, and 400 others, of which half a point is two. 20,000
# tokens take all-MiniLM-L6-v2 six seconds.


class Form(StrEnum):
    """How exactly a graph computes; the names of `isogloss.v1.Precision`."""

    EXACT = "PRECISION_EXACT"
    QUANTIZED = "PRECISION_QUANTIZED"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedVariant:
    """A graph that passed, and how far it is from the model."""

    form: Form
    path: Path
    min_cosine: float
    """The smallest cosine of an embedding with the model's own."""

    max_probability_difference: float
    """The largest, over texts and labels; 0 without a head."""

    accuracy_loss: float = 0.0
    """Share of `texts` that fp32 gets right and this one does not, net."""

    speedup: float = 1.0
    """Processor time of fp32 divided by its own, on the machine that made it."""

    texts: int
    """On how many texts this was measured."""

    half: Path | None = None
    """The same in 16-bit floats, where that passed too."""

    @property
    def summary(self) -> str:
        """What was measured, in a sentence."""
        agreement = (
            f"The {self.form.name} graph agrees with the trained model on {self.texts} texts: "
            f"cosine at least {self.min_cosine:.6f}, probabilities within "
            f"{self.max_probability_difference:.1e}"
        )
        if self.form is Form.EXACT:
            return f"{agreement}{', in 16 bits too' if self.half else ''}."
        return (
            f"{agreement}; accuracy changes by {0.0 - 100 * self.accuracy_loss:+.1f} points, "
            f"and it is {self.speedup:.1f} times as fast here."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What came of a model."""

    variants: tuple[ExportedVariant, ...]
    """The exact one first."""

    vector_range: float
    """How far from 0 the numbers of its embeddings reach, on the texts that proved the exact one.
    Few suffice: with the range of 10 texts instead of 1,000, INT8 vectors of 3,000 other ones had
    as many of the ten nearest right (0.995 instead of 0.993) and 5 numbers in 10,000 cut off."""

    refused: tuple[str, ...]
    """Why what was looked for is not published, in sentences."""

    seconds: float

    @property
    def exact(self) -> ExportedVariant:
        """The variant that every model has."""
        return self.variants[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """Texts on which variants are made and judged, none of them a held-out row."""

    texts: Sequence[str]
    """At least one."""

    truth: Truth
    """[N, K]"""


def export_trained(
    model: TrainedModel,
    directory: Path,
    *,
    probes: Probes,
    quantise: bool,
    halve: bool = False,
    stopwatch: Stopwatch = Session.seconds,
) -> Export:
    """Export encoder and head: `sentence_embedding` and `logits`, temperature divided out.

    Args:
        model: Left on the CPU, in evaluation mode.
        directory: Where the graphs go; it exists.
        probes: What they are compared on.
        quantise: Whether an 8-bit variant is looked for.
        halve: Whether the exact graph is wanted in 16-bit floats too.
        stopwatch: What "faster" is measured with.

    Raises:
        ExportFailed: Where the exporter makes no graph of the encoder.
        ExportMismatch: Where the exact graph does not compute what the model does.
    """
    begin = time.monotonic()
    decision = Decision(multi_label=model.multi_label, thresholds=model.thresholds)
    module = Exportable(model.encoder.to("cpu"), model.head, model.temperature).eval()
    sequences = Tokenizer.load(model.base).encode(probes.texts[:_JUDGED_TEXTS])
    plain = directory / "plain.onnx"
    exact, vector_range = _exact(
        module, model.base, directory, sequences[:_PROBE_TEXTS], plain=plain, decision=decision
    )
    variants, refused = [exact], []
    if halve:
        try:
            variants[0] = _halved(
                exact, module, model.base, sequences[:_PROBE_TEXTS], decision=decision
            )
        except ExportMismatch as reason:
            refused.append(f"There is no graph in 16 bits: {reason} GPUs compute in 32.")
    if quantise:
        judged = first_tokens(sequences, _JUDGED_TOKENS)
        try:
            variants.append(
                _quantised(
                    plain,
                    exact,
                    examples=Examples(
                        sequences=judged,
                        truth=probes.truth[: len(judged)],
                        pad_token_id=model.base.pad_token_id,
                    ),
                    decision=decision,
                    stopwatch=stopwatch,
                )
            )
        except NotWorthIt as reason:
            refused.append(f"There is no QUANTIZED variant: {reason}. EXACT serves.")
    plain.unlink()
    return Export(
        variants=tuple(variants),
        vector_range=vector_range,
        refused=tuple(refused),
        seconds=time.monotonic() - begin,
    )


def export_base(base: BaseEncoder, directory: Path, *, probe_texts: Sequence[str]) -> Export:
    """Export an untrained base: `sentence_embedding` alone, in fp32 alone.

    Without labels nobody could tell what a quantised base loses.

    Raises:
        ExportFailed, ExportMismatch: As `export_trained`.
    """
    begin = time.monotonic()
    module = Exportable(load_encoder(base), None, 1.0).eval()
    sequences = Tokenizer.load(base).encode(probe_texts)
    exact, vector_range = _exact(module, base, directory, sequences, plain=None, decision=SINGLE)
    return Export(
        variants=(exact,),
        vector_range=vector_range,
        refused=(),
        seconds=time.monotonic() - begin,
    )


def _exact(
    module: Exportable,
    base: BaseEncoder,
    directory: Path,
    sequences: list[list[int]],
    *,
    plain: Path | None,
    decision: Decision,
) -> tuple[ExportedVariant, float]:
    """Write the fused graph, and the unfused one where it is wanted; return its range as well."""
    traced = trace(module, base)
    if plain is not None:
        onnx_ir.save(traced, plain)
    path = directory / "model.onnx"
    onnx_ir.save(fuse(traced), path)
    onnx.checker.check_model(path)
    expected = answers(module, sequences, base.pad_token_id)
    agreement = prove(
        expected,
        path,
        sequences,
        pad_token_id=base.pad_token_id,
        decision=decision,
    )
    variant = ExportedVariant(
        form=Form.EXACT,
        path=path,
        min_cosine=agreement.min_cosine,
        max_probability_difference=agreement.max_probability_difference,
        texts=len(sequences),
    )
    return variant, float(np.abs(expected[0]).max())


def _halved(
    exact: ExportedVariant,
    module: Exportable,
    base: BaseEncoder,
    sequences: list[list[int]],
    *,
    decision: Decision,
) -> ExportedVariant:
    path = exact.path.with_name("model_half.onnx")
    write_half(exact.path, path)
    prove(
        answers(module, sequences, base.pad_token_id),
        path,
        sequences,
        pad_token_id=base.pad_token_id,
        decision=decision,
    )
    return replace(exact, half=path)


def _quantised(
    plain: Path,
    exact: ExportedVariant,
    *,
    examples: Examples,
    decision: Decision,
    stopwatch: Stopwatch,
) -> ExportedVariant:
    # Not earlier: the one that was traced is let go of by now.
    onnx_ir.save(fuse_between_products(onnx_ir.load(plain)), plain)
    path = exact.path.with_name("model_quantized.onnx")
    judgement = search(
        plain, exact.path, path, examples=examples, decision=decision, stopwatch=stopwatch
    )
    return ExportedVariant(
        form=Form.QUANTIZED,
        path=path,
        min_cosine=judgement.min_cosine,
        max_probability_difference=judgement.max_probability_difference,
        accuracy_loss=judgement.accuracy_loss,
        speedup=judgement.speedup,
        texts=judgement.texts,
    )
