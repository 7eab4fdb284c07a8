from __future__ import annotations

from services.common import layout
from services.common.storage.keys import check_key


def test_keys_are_as_the_services_agreed() -> None:
    expected = {
        layout.dataset_manifest("t", "d"): "t/datasets/d/dataset.json",
        layout.raw_chunk("t", "d", "train", 7): "t/datasets/d/raw/train/00000000000000000007",
        layout.dataset_file("t", "d", "h", "train.parquet"): "t/datasets/d/h/train.parquet",
        layout.dataset_use("t", "d", "m"): "t/datasets/d/uses/m",
        layout.model_manifest("t", "m"): "t/models/m/model.json",
        layout.model_examples_prefix("t", "m") + "worst.json": "t/models/m/examples/worst.json",
        layout.attempt_prefix("t", "m", 2, 5) + "model.onnx": "t/models/m/runs/0002-5/model.onnx",
        layout.attempt_examples_prefix("t", "m", 2, 5) + "x": "t/models/m/examples/0002-5/x",
        layout.evaluation_prefix("t", "m", "e") + "x": "t/models/m/evaluations/e/x",
        layout.evaluation_examples_prefix("t", "m", "e") + "x": (
            "t/models/m/examples/evaluations/e/x"
        ),
        layout.checkpoint_prefix(layout.checkpoints_prefix("t", "m"), 60, 5) + "manifest.json": (
            "t/models/m/checkpoints/0000000060-0000000005/manifest.json"
        ),
        layout.alias_version("t", "a", 12): "t/aliases/a/00000012.json",
        layout.alias_mark("t", "7"): "_shared/alias_marks/t/7",
        layout.base_model_manifest("small"): "_shared/base_models/small/model.json",
        layout.base_model_pending("small"): "_shared/base_models/small/pending.json",
    }

    for key, spelled in expected.items():
        assert key == spelled
        check_key(key)


def test_chunks_are_listed_in_byte_order() -> None:
    offsets = [0, 9, 10, 10**9, 10**10, 2**63]
    keys = [layout.raw_chunk("t", "d", "train", offset) for offset in offsets]

    assert keys == sorted(keys)
    assert all(key.startswith(layout.raw_prefix("t", "d", "train")) for key in keys)
    assert all(key.startswith(layout.raw_prefix("t", "d")) for key in keys)


def test_a_key_tells_whose_it_is() -> None:
    assert layout.dataset_of(layout.dataset_use("t", "d", "m")) == ("t", "d")
    assert layout.dataset_of(layout.dataset_manifest("t", "d")) == ("t", "d")
    for other in (layout.model_manifest("t", "datasets"), "t/datasets", "t/datasets/d", "t"):
        assert layout.dataset_of(other) is None


def test_a_key_tells_its_alias_and_its_version() -> None:
    assert layout.alias_of(layout.alias_version("t", "a-b", 12)) == ("a-b", 12)


def test_a_key_tells_whose_alias_changes() -> None:
    key = layout.alias_mark("t", "0007-ab")

    assert layout.alias_mark_of(key) == ("t", "0007-ab")
    assert key.startswith(layout.alias_marks_prefix("t"))
    assert key.startswith(layout.alias_marks_prefix())
