from __future__ import annotations

from pathlib import Path

import pytest

from services.inference.devices import Device
from services.inference.engines.layout import Layout, LayoutWish, choose_layout, open_engines
from services.inference.engines.onnx import LocalEngines

NOTHING = LayoutWish(engines=None, workers=0, threads=0)
CALIBRATED = Layout(engines=3, workers=6, threads=2)


@pytest.mark.parametrize(
    ("wish", "cpus", "device", "expected"),
    [
        (NOTHING, 1, Device.CPU, Layout(engines=0, workers=1, threads=1)),
        (NOTHING, 4, Device.CPU, Layout(engines=0, workers=4, threads=1)),
        (NOTHING, 5, Device.CPU, Layout(engines=2, workers=5, threads=1)),
        (NOTHING, 16, Device.CPU, Layout(engines=4, workers=16, threads=1)),
        (NOTHING, 16, Device.CUDA, Layout(engines=0, workers=16, threads=1)),
        (
            LayoutWish(engines=0, workers=0, threads=0),
            16,
            Device.CPU,
            Layout(engines=0, workers=16, threads=1),
        ),
        (
            LayoutWish(engines=2, workers=0, threads=4),
            16,
            Device.CPU,
            Layout(engines=2, workers=4, threads=4),
        ),
        (
            LayoutWish(engines=None, workers=3, threads=8),
            4,
            Device.CPU,
            Layout(engines=0, workers=3, threads=8),
        ),
    ],
)
def test_what_is_not_set_follows_from_the_node(
    wish: LayoutWish, cpus: int, device: Device, expected: Layout
) -> None:
    assert choose_layout(wish, cpus=cpus, device=device, calibrated=None) == expected


def test_what_was_measured_counts_where_nothing_is_set() -> None:
    wish = LayoutWish(engines=None, workers=2, threads=0)

    measured = choose_layout(NOTHING, cpus=16, device=Device.CPU, calibrated=CALIBRATED)
    partly_set = choose_layout(wish, cpus=16, device=Device.CPU, calibrated=CALIBRATED)

    on_gpu = choose_layout(NOTHING, cpus=16, device=Device.CUDA, calibrated=CALIBRATED)

    assert measured == CALIBRATED
    assert on_gpu == Layout(engines=0, workers=16, threads=1)
    assert partly_set == Layout(engines=4, workers=2, threads=1)


def test_processes_on_a_gpu_are_refused() -> None:
    wish = LayoutWish(engines=2, workers=0, threads=0)

    with pytest.raises(ValueError, match="engines is 2, but with CUDA"):
        choose_layout(wish, cpus=4, device=Device.CUDA, calibrated=None)


def test_without_processes_nothing_is_started(tmp_path: Path) -> None:
    layout = Layout(engines=0, workers=2, threads=1)

    engines = open_engines(layout, Device.CPU, tmp_path / "engines")

    assert isinstance(engines, LocalEngines)
    assert not (tmp_path / "engines").exists()
