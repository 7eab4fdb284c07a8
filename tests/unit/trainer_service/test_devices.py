from __future__ import annotations

from pathlib import Path

import pytest

from services.trainer.devices import DeviceUnavailable, choose_device, places


def gpus(folder: Path, count: int) -> Path:
    for number in range(count):
        (folder / f"0000:0{number}:00.0").mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize(
    ("wish", "count", "expected"),
    [
        ("auto", 0, ["auto"]),
        ("auto", 1, ["auto"]),
        ("auto", 2, ["cuda:0", "cuda:1"]),
        ("cuda", 3, ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda:1", 2, ["cuda:1"]),
        ("cpu", 2, ["cpu"]),
    ],
)
def test_runs_are_dealt_out_to_every_gpu(
    wish: str, count: int, expected: list[str], tmp_path: Path
) -> None:
    assert places(wish, driver=gpus(tmp_path / "gpus", count)) == expected


def test_gpus_that_are_hidden_take_no_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")

    assert places("auto", driver=gpus(tmp_path / "gpus", 4)) == ["cuda:0", "cuda:1"]

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert places("auto", driver=gpus(tmp_path / "gpus", 4)) == ["auto"]


def test_the_cpu_is_taken_where_it_is_asked_for() -> None:
    device, words = choose_device("cpu")

    assert device == "cpu"
    assert words.startswith("the CPU")


def test_a_gpu_that_is_not_there_is_refused_with_what_to_do() -> None:
    with pytest.raises(DeviceUnavailable, match="set the device to auto or cpu"):
        choose_device("cuda:99")
