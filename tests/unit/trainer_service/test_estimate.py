from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from isogloss.storage.v1.dataset_manifest_pb2 import DatasetManifest, SplitFile
from isogloss.v1.dataset_pb2 import TokenBin, TokenStatistics
from isogloss.v1.split_pb2 import SPLIT_TRAIN
from services.common import layout, manifests
from services.common.storage import open_store
from services.trainer.catalogue import Catalogue
from services.trainer.estimate import (
    DatasetSize,
    EncoderSize,
    Estimate,
    estimate,
    mean_length,
    of_run,
)
from services.trainer.recipe import Hyperparameters
from tests.tiny_model import store_file
from tests.whole_model import publish_whole_model

SMALL = EncoderSize(
    layers=6, width=384, parameters=22_700_000, word_parameters=11_700_000, max_tokens=512
)
TONE = DatasetSize(train=600, held_out=150, labels=3, mean_tokens=20.0)


def of(
    dataset: DatasetSize = TONE,
    encoder: EncoderSize = SMALL,
    *,
    threads: int = 1,
    epochs: int | None = None,
) -> Estimate:
    return estimate(Hyperparameters(epochs=epochs), dataset, encoder, threads=threads)


def test_what_costs_more_is_said_to_cost_more() -> None:
    more_rows = of(replace(TONE, train=6000))
    longer = of(replace(TONE, mean_tokens=80.0))
    deeper = of(encoder=replace(SMALL, parameters=109_000_000, word_parameters=23_400_000))

    for costly in (more_rows, longer, deeper):
        assert costly.seconds > of().seconds
    assert more_rows.peak_memory_bytes > of().peak_memory_bytes
    assert deeper.peak_memory_bytes > 2 * of().peak_memory_bytes


def test_long_texts_in_large_batches_take_memory() -> None:
    long = replace(TONE, mean_tokens=400.0)
    large = estimate(Hyperparameters(batch_size=256), long, SMALL, threads=1)

    assert large.peak_memory_bytes > 2 * of(long).peak_memory_bytes


def test_many_labels_a_text_take_memory() -> None:
    single = replace(TONE, train=100_000, labels=1000)

    marked = of(replace(single, several=True)).peak_memory_bytes - of(single).peak_memory_bytes

    # A mark of each label, and a copy.
    assert marked == 2 * 100_000 * 1000


def test_steps_are_those_of_the_plan() -> None:
    assert of(epochs=6).total_steps == 2 * of(epochs=3).total_steps
    # One of the training, and one of that whose held-out fold is chosen on.
    assert of(replace(TONE, train=32), epochs=1).total_steps == 2


def test_more_threads_take_less_time() -> None:
    assert of(threads=2).seconds < of(threads=1).seconds


def test_a_large_vocabulary_takes_memory_and_no_time() -> None:
    many_words = replace(SMALL, parameters=118_000_000, word_parameters=107_000_000)

    assert of(encoder=many_words).seconds == pytest.approx(of().seconds)
    assert of(encoder=many_words).peak_memory_bytes > of().peak_memory_bytes


def test_the_mean_length_counts_what_is_read() -> None:
    tokens = TokenStatistics(
        histogram=[
            TokenBin(max_tokens=10, text_count=100),
            TokenBin(max_tokens=1000, text_count=100),
        ]
    )

    assert mean_length(tokens, most=512) == (5 + 505) / 2
    assert mean_length(tokens, most=128) == (5 + 128) / 2
    assert mean_length(TokenStatistics(), most=128) == 128


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b'{"num_hidden_layers": 1e30}', b"[" * 100_000, b" " * 2_000_000],
    ids=["cut off", "no object", "no whole number", "too deep", "too long"],
)
def test_of_a_stranger_s_broken_encoder_nothing_is_said(tmp_path: Path, content: bytes) -> None:
    store = open_store(str(tmp_path / "store"))
    manifest = publish_whole_model(store, tmp_path, "tone")
    [config] = [item for item in manifest.encoder if item.path == "config.json"]
    config.file.CopyFrom(store_file(store, config.file.key, content))
    manifests.replace_manifest(store, layout.model_manifest("default", "tone"), manifest)

    said = of_run(
        store,
        Catalogue(store, {}),
        {},
        tenant="default",
        dataset="tone-zzzzzz",
        base="models/tone",
        threads=1,
    )

    assert said is None


def test_texts_that_are_cut_shorter_take_less_time(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    publish_whole_model(store, tmp_path, "tone")
    dataset = DatasetManifest(
        format_version=manifests.FORMAT_VERSION,
        labels=["angry", "calm"],
        splits=[SplitFile(split=SPLIT_TRAIN, row_count=10_000)],
    )
    dataset.report.tokens.histogram.append(TokenBin(max_tokens=512, text_count=10_000))
    manifests.create_manifest(store, layout.dataset_manifest("default", "long-aaaaaa"), dataset)

    def of_limit(**asked: int) -> Estimate:
        said = of_run(
            store,
            Catalogue(store, {}),
            asked,
            tenant="default",
            dataset="long-aaaaaa",
            base="models/tone",
            threads=1,
        )
        assert said is not None
        return said

    assert of_limit(max_tokens=8).seconds < of_limit().seconds
    assert of_limit(max_tokens=512) == of_limit()
