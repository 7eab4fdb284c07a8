"""What a run will need, before it begins: time and memory from the sizes of dataset and base.

The figures were measured with the base `small` on one core of one machine; `docs/runs.md`
tells how. Another machine may take half or twice as long.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isogloss.storage.v1.dataset_manifest_pb2 import DatasetManifest
from isogloss.storage.v1.stored_file_pb2 import StoredFile
from isogloss.v1.dataset_pb2 import TokenStatistics
from isogloss.v1.label_mode_pb2 import LabelMode
from isogloss.v1.split_pb2 import SPLIT_TRAIN
from services.common import layout, manifests
from services.common.storage import ObjectStore
from services.trainer import starts
from services.trainer.base_import import CONFIG, WEIGHTS, UnsupportedBase, read_base
from services.trainer.base_sources import SourceError, local_directory
from services.trainer.catalogue import Catalogue
from services.trainer.recipe import FOLDS, Hyperparameters, Plan, Shape, plan

_FIXED_SECONDS = 15.0
_EXPORT_SECONDS = 8.0
_EXPORT_SECONDS_PER_WEIGHT = 3e-6
_LEARNT_PER_SECOND = 1_500.0
_READ_PER_SECOND = 3_000.0
_REFERENCE_WEIGHTS = 11.0e6
# One core, `small`: start and baseline; graphs, compared and tried in 8 bits; tokens learnt and
# tokens only read in a second, and the weights that every token meets there: time goes by their
# number.

_PADDING = 1.1
_READINGS_OF_TRAINING_ROWS = 1
_READINGS_OF_HELD_OUT_ROWS = 4
# The frozen base reads the training rows once; held-out rows are scored by model and baseline.

_MAX_CONFIG_BYTES = 1024 * 1024
_MOST_LAYERS = 1_000
_MOST_WORDS = 100_000_000
# Far beyond any base: what says more is none.

_WEIGHT_BYTES = 4
_FIXED_BYTES = 700e6
_BYTES_PER_PARAMETER_LEARNT = 40.0
_BYTES_PER_PARAMETER_EXPORTED = 60.0
_BYTES_PER_TOKEN = 10.0
_ROW_BYTES = 600.0
# The libraries; while it learns weights, gradients, two moments, averages and copies, and what the
# backward pass keeps of each layer, by width; while it is exported copies of the graph; a row's
# text, its ids and its embedding.

_BYTES_PER_MARK = 2.0
_BYTES_PER_ANSWER = 24.0
# Of each label: whether a training row has it, and a copy of those that are learnt from; of a
# held-out row three answers as they are scored.


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run will need."""

    seconds: float
    """From its start to READY."""

    peak_memory_bytes: int
    total_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSize:
    """What of a base costs time and memory."""

    layers: int
    width: int
    """Numbers of a token's vector between layers."""

    parameters: int
    word_parameters: int
    """Of the word embeddings, of which a token meets one row."""

    max_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSize:
    """What of a dataset costs time and memory."""

    train: int
    """Rows, like `held_out`."""

    held_out: int
    labels: int
    mean_tokens: float
    """Of a text, special tokens included, as far as the run reads it."""

    several: bool = False
    """Whether a text can have several labels."""


def of_run(
    store: ObjectStore,
    catalogue: Catalogue,
    hyperparameters: Mapping[str, Any],
    *,
    tenant: str,
    dataset: str,
    base: str,
    threads: int,
) -> Estimate | None:
    """Estimate a run from what is stored.

    Returns:
        The estimate, or None where nothing is known yet of the size of the base.

    Raises:
        NotFound, DataLoss: Where the dataset or the base is gone or damaged.
    """
    encoder = _encoder(store, catalogue, tenant, base)
    if encoder is None:
        return None
    manifest = manifests.read_manifest(
        store, layout.dataset_manifest(tenant, dataset), DatasetManifest
    )
    rows = {split.split: split.row_count for split in manifest.splits}
    asked = Hyperparameters(**hyperparameters)
    most = min(encoder.max_tokens, asked.max_tokens or encoder.max_tokens)
    size = DatasetSize(
        train=rows.pop(SPLIT_TRAIN, 0),
        held_out=sum(rows.values()),
        labels=len(manifest.labels),
        mean_tokens=mean_length(manifest.report.tokens, most=most),
        several=manifest.label_mode == LabelMode.LABEL_MODE_MULTI,
    )
    return estimate(asked, size, encoder, threads=threads)


def estimate(
    asked: Hyperparameters, dataset: DatasetSize, encoder: EncoderSize, *, threads: int
) -> Estimate:
    """Estimate a run from sizes. Pure."""
    chosen = plan(
        asked,
        Shape(
            rows=max(1, dataset.train),
            labels=max(1, dataset.labels),
            layers=encoder.layers,
            max_tokens=encoder.max_tokens,
        ),
    )
    steps = _steps(chosen, max(1, dataset.train))
    return Estimate(
        seconds=_seconds(chosen, steps, dataset, encoder, threads),
        peak_memory_bytes=_bytes(chosen, dataset, encoder),
        total_steps=steps,
    )


def _steps(chosen: Plan, rows: int) -> int:
    """Return the steps of a run: of the training, and of those that choose on held-out folds."""
    learnt = max(1, rows - chosen.dev_rows)
    fold = max(1, learnt * (FOLDS - 1) // FOLDS)
    return chosen.steps(learnt) + chosen.folds_fitted * chosen.steps(fold)


def mean_length(tokens: TokenStatistics, *, most: int) -> float:
    """Return about how many tokens of a text are read; of each bin the middle counts."""
    least, total, texts = 0, 0.0, 0
    for bin_ in tokens.histogram:
        total += bin_.text_count * min(most, (least + bin_.max_tokens) / 2)
        texts += bin_.text_count
        least = bin_.max_tokens
    return total / texts if texts else float(most)


def _seconds(
    chosen: Plan, steps: int, dataset: DatasetSize, encoder: EncoderSize, threads: int
) -> float:
    tokens = dataset.mean_tokens * _PADDING
    learnt = steps * chosen.batch_size * tokens
    read = tokens * (
        _READINGS_OF_TRAINING_ROWS * dataset.train + _READINGS_OF_HELD_OUT_ROWS * dataset.held_out
    )
    weights = encoder.parameters - encoder.word_parameters
    busy = learnt / _LEARNT_PER_SECOND + read / _READ_PER_SECOND
    # Graphs are traced and compared on one thread, whatever the run has.
    exported = _EXPORT_SECONDS + _EXPORT_SECONDS_PER_WEIGHT * weights
    return _FIXED_SECONDS + exported + weights / _REFERENCE_WEIGHTS * busy / threads


def _bytes(chosen: Plan, dataset: DatasetSize, encoder: EncoderSize) -> int:
    batch = chosen.batch_size * min(chosen.max_tokens, 2 * dataset.mean_tokens)
    activations = batch * encoder.layers * encoder.width * _BYTES_PER_TOKEN * 4
    marked = dataset.several * dataset.labels
    rows = dataset.train * (_ROW_BYTES + 4 * encoder.width + _BYTES_PER_MARK * marked)
    rows += dataset.held_out * (_ROW_BYTES + 4 * encoder.width + _BYTES_PER_ANSWER * dataset.labels)
    learning = _BYTES_PER_PARAMETER_LEARNT * encoder.parameters + activations
    exporting = _BYTES_PER_PARAMETER_EXPORTED * encoder.parameters
    return round(_FIXED_BYTES + rows + max(learning, exporting))


def _encoder(
    store: ObjectStore, catalogue: Catalogue, tenant: str, base: str
) -> EncoderSize | None:
    manifest = starts.find(store, tenant, base)
    if manifest is None:
        return _unpublished(catalogue, base)
    files = {item.path: item.file for item in manifest.encoder}
    layers, words = _layers_and_words(store, files[CONFIG])
    if not 0 < layers <= _MOST_LAYERS or not 0 < words <= _MOST_WORDS:
        return None
    parameters = files[WEIGHTS].size // _WEIGHT_BYTES
    return EncoderSize(
        layers=layers,
        width=manifest.dimension,
        parameters=parameters,
        word_parameters=min(parameters, words * manifest.dimension),
        max_tokens=manifest.input.max_tokens,
    )


def _layers_and_words(store: ObjectStore, file: StoredFile) -> tuple[int, int]:
    """Return what a configuration says; zeros where it is none, and the run says why.

    That of an imported model is a stranger's.
    """
    if file.size > _MAX_CONFIG_BYTES:
        return 0, 0
    try:
        config = json.loads(b"".join(manifests.verified(store, file)))
    except (ValueError, RecursionError):
        return 0, 0
    if not isinstance(config, dict):
        return 0, 0
    # DistilBERT has names of its own.
    found = config.get("num_hidden_layers") or config.get("n_layers"), config.get("vocab_size")
    layers, words = (number if isinstance(number, int) else 0 for number in found)
    return layers, words


def _unpublished(catalogue: Catalogue, base: str) -> EncoderSize | None:
    try:
        directory = local_directory(catalogue.sources.get(base, ""))
        encoder = None if directory is None else read_base(directory)
    except (SourceError, UnsupportedBase):
        # Whoever publishes it says what is wrong with it.
        return None
    if encoder is None:
        return None
    return EncoderSize(
        layers=encoder.layers,
        width=encoder.dimensions,
        parameters=encoder.parameters,
        word_parameters=encoder.vocabulary_size * encoder.dimensions,
        max_tokens=encoder.max_tokens,
    )
