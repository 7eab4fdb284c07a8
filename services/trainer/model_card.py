"""The model card: what a model is, how good it is and how it came about, as Markdown. Pure.

Holds no text of the dataset, so that it may go wherever the model goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isogloss.storage.v1.model_manifest_pb2 import ModelManifest, Variant
from isogloss.v1.evaluation_pb2 import ClassificationMetrics, Evaluation
from isogloss.v1.label_mode_pb2 import LabelMode
from isogloss.v1.precision_pb2 import Precision
from isogloss.v1.split_pb2 import Split

_SHOWN_LABELS = 50
_WEAKEST_LABELS = 5
_MEGABYTE = 1e6
_FAR = 5
# Of a hundred steps: a twentieth is farther away.

_MODELS = "models/"


def write(manifest: ModelManifest, evaluation: Evaluation) -> str:
    """Return the card.

    Args:
        manifest: Of a fine-tuned model; everything but the card itself.
        evaluation: What it scored.
    """
    sections = (
        _head(manifest),
        _labels(manifest),
        _quality(manifest.lineage.base_model, evaluation),
        _variants(manifest),
        _reading(manifest),
        _making(manifest),
        _limits(manifest, evaluation),
    )
    return "\n".join(line for section in sections for line in (*section, ""))


def _head(manifest: ModelManifest) -> Iterator[str]:
    lineage = manifest.lineage
    yield f"# {_plain(manifest.display_name)}"
    yield ""
    yield (
        f"`{manifest.name}`, fine-tuned from `{lineage.base_model}` on `{lineage.dataset}`, "
        f"{manifest.create_time.ToDatetime():%Y-%m-%d}. It embeds texts in {manifest.dimension} "
        f"dimensions and classifies them into {len(manifest.labels)} labels."
    )


def _labels(manifest: ModelManifest) -> Iterator[str]:
    several = manifest.label_mode == LabelMode.LABEL_MODE_MULTI
    yield "## Labels"
    yield ""
    yield "A text can have several labels, or none." if several else "A text has one label."
    yield ""
    shown = manifest.labels[:_SHOWN_LABELS]
    for row, label in enumerate(shown):
        given = f", given from {manifest.thresholds[row]:.2f} on" if several else ""
        yield f"- {_plain(label)}{given}"
    if len(manifest.labels) > len(shown):
        yield f"- and {len(manifest.labels) - len(shown)} more"


def _quality(start: str, evaluation: Evaluation) -> Iterator[str]:
    split = Split.Name(evaluation.split).removeprefix("SPLIT_").lower()
    tuned, baseline = evaluation.metrics, evaluation.baseline
    averaging = ClassificationMetrics.Averaging.Name(tuned.headline)
    yield "## Quality"
    yield ""
    unseen = (
        f"which this run did not learn from; `{start}`, from which it started, may have"
        if start.startswith(_MODELS)
        else "of which none was learnt from"
    )
    yield (
        f"On {evaluation.row_count} {split} rows, {unseen}. The baseline is a tuned logistic "
        "regression on the embeddings that it started from."
    )
    yield ""
    yield from _table(
        ("", "this model", "baseline"),
        [
            ("accuracy", f"{tuned.accuracy:.4f}", f"{baseline.accuracy:.4f}"),
            (
                f"F1, {averaging.removeprefix('AVERAGING_').lower()}",
                f"{tuned.f1:.4f}",
                f"{baseline.f1:.4f}",
            ),
            ("log loss", f"{tuned.log_loss:.4f}", f"{baseline.log_loss:.4f}"),
            (
                "nearest neighbour has the same label",
                f"{evaluation.neighbor_agreement:.4f}",
                f"{evaluation.baseline_neighbor_agreement:.4f}",
            ),
        ],
    )
    if evaluation.cuts:
        yield ""
        yield "Its embeddings may be cut; on the same rows they are then worth:"
        yield ""
        yield from _table(
            ("first numbers", "accuracy", "five nearest vote for the label"),
            [
                (str(cut.dimension), f"{cut.accuracy:.4f}", f"{cut.neighbor_accuracy:.4f}")
                for cut in evaluation.cuts
            ],
        )
    yield ""
    weakest = sorted(tuned.labels, key=lambda label: label.f1)[:_WEAKEST_LABELS]
    yield "The labels that it finds hardest:"
    yield ""
    yield from _table(
        ("label", "precision", "recall", "F1", "rows"),
        [
            (
                _plain(label.label),
                f"{label.precision:.4f}",
                f"{label.recall:.4f}",
                f"{label.f1:.4f}",
                str(label.support),
            )
            for label in weakest
        ],
    )


def _variants(manifest: ModelManifest) -> Iterator[str]:
    yield "## Variants"
    yield ""
    yield "Compared with the model as it was trained, on training rows that chose them."
    yield ""
    yield from _table(
        ("precision", "MB", "smallest cosine", "accuracy", "speed"),
        [
            (
                Precision.Name(variant.precision).removeprefix("PRECISION_"),
                f"{variant.graph.size / _MEGABYTE:.1f}",
                f"{variant.min_cosine:.4f}",
                *_price(variant),
            )
            for variant in manifest.variants
        ],
    )


def _price(variant: Variant) -> tuple[str, str]:
    if variant.precision == Precision.PRECISION_EXACT:
        return "", ""
    # From 0, as a minus before it would print -0.0.
    points = 0.0 - 100 * variant.accuracy_loss
    return f"{points:+.1f} points", f"{variant.speedup:.1f} times"


def _reading(manifest: ModelManifest) -> Iterator[str]:
    reads = manifest.input
    steps = [field.name for field, _ in reads.cleaning.ListFields()]
    yield "## How it reads texts"
    yield ""
    yield f"- at most {reads.max_tokens} tokens"
    yield f"- cleaned as its dataset was: {', '.join(steps) or 'Unicode NFC, no blanks around'}"
    if reads.prefix:
        yield f"- with `{reads.prefix}` before every text"


def _making(manifest: ModelManifest) -> Iterator[str]:
    lineage = manifest.lineage
    base = manifest.base
    yield "## How it was made"
    yield ""
    rows = [
        ("base", f"`{lineage.base_model}`, sha256 `{lineage.base_digest}`"),
        ("parameters", f"{base.parameter_count / 1e6:.1f} million"),
        ("licence of the base", base.license or "not known"),
        ("dataset", f"`{lineage.dataset}`, content hash `{lineage.dataset_content_hash}`"),
    ]
    rows += [
        (f"`{field.name}`", f"{value:g}" if isinstance(value, float) else str(value))
        for field, value in lineage.hyperparameters.ListFields()
    ]
    rows += [(name, found) for name, found in sorted(lineage.versions.items())]
    yield from _table(("what", "which"), rows)


def _limits(manifest: ModelManifest, evaluation: Evaluation) -> Iterator[str]:
    yield "## Limits"
    yield ""
    yield (
        "- The figures hold for texts like those of its dataset. On others it may do worse, and it "
        "gives one of its labels to every text."
        if manifest.label_mode != LabelMode.LABEL_MODE_MULTI
        else "- The figures hold for texts like those of its dataset. On others it may do worse."
    )
    if held_out := manifest.neighbours.held_out_cosines:
        yield (
            f"- It keeps {manifest.neighbours.rows} of its training rows, by which its answers are "
            "explained and texts of another kind found. Of rows like them that it did not learn "
            f"from, 95 % come nearer to one than a cosine of {held_out[_FAR]:.2f}."
        )
    if evaluation.suspicious_label_count:
        yield (
            f"- {evaluation.suspicious_label_count} of {evaluation.examined_row_count} training "
            "rows that were examined have a label that is probably wrong."
        )
    for advice in evaluation.advice:
        yield f"- {_plain(advice.message)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _plain(text: str) -> str:
    """Return words of callers so that Markdown shows them as they are, on one line."""
    escaped = "".join(f"\\{one}" if one in "\\`*_[]<>|#" else one for one in text)
    return " ".join(escaped.split())
