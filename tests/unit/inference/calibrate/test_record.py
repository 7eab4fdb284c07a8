from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.inference.calibrate.candidates import Measured
from services.inference.calibrate.record import Calibration, Node, layout_found, save
from services.inference.engines.layout import Layout

NODE = Node(processor="Abacus 3", cpus=4, onnxruntime="1.31.1")
LAYOUT = Layout(engines=2, workers=4, threads=1)
CALIBRATION = Calibration(
    node=NODE,
    model="baseModels/tiny",
    digest="d" * 64,
    layout=LAYOUT,
    measured=[Measured(layout=LAYOUT, short=100.5, mixed=10.25, alone=3.5)],
)


def test_what_was_found_is_found_again(tmp_path: Path) -> None:
    path = save(CALIBRATION, tmp_path)

    assert layout_found(tmp_path, NODE) == LAYOUT
    assert [other for other in tmp_path.iterdir() if other != path] == []


def test_a_later_calibration_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    save(CALIBRATION, tmp_path)
    save(replace(CALIBRATION, layout=replace(LAYOUT, engines=0)), tmp_path)

    assert layout_found(tmp_path, NODE) == replace(LAYOUT, engines=0)


def test_nothing_is_found_where_nothing_was_measured(tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert layout_found(tmp_path, NODE) is None

    assert logs == []


@pytest.mark.parametrize(
    "other",
    [
        replace(NODE, processor="Abacus 4"),
        replace(NODE, cpus=8),
        replace(NODE, onnxruntime="1.32.0"),
    ],
)
def test_what_was_found_on_another_node_is_left_with_a_warning(tmp_path: Path, other: Node) -> None:
    save(CALIBRATION, tmp_path)

    with capture_logs() as logs:
        assert layout_found(tmp_path, other) is None

    assert [entry["event"] for entry in logs] == ["calibration_of_another_node"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"node": {"cores": 3}, "layout": {}}'])
def test_what_cannot_be_read_is_left_with_a_warning(tmp_path: Path, content: str) -> None:
    save(CALIBRATION, tmp_path).write_text(content)

    with capture_logs() as logs:
        assert layout_found(tmp_path, NODE) is None

    assert [entry["event"] for entry in logs] == ["calibration_unreadable"]


def test_this_node_names_itself() -> None:
    node = Node.here()

    assert node == Node.here()
    assert node.processor
    assert node.cpus >= 1
