"""Two processes that share the steps of a training must learn what one would."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.trainer.base_import import BaseEncoder
from tests.engines import free_ports
from tests.unit.trainer.distributed.pair import EVERYTHING, RANDOM, SIZE, Notes, learn, weights

pytestmark = pytest.mark.timeout(300)  # two processes load torch, however busy the machine is


class Found:
    """What one of the workers found."""

    def __init__(self, directory: Path, rank: int) -> None:
        self.arrays: dict[str, np.ndarray] = {
            path.name.partition(".")[0]: np.load(path) for path in directory.glob(f"*.{rank}.npy")
        }
        self.facts: dict[str, Any] = json.loads((directory / f"{rank}.json").read_text())


@pytest.fixture(scope="module")
def pair(base: BaseEncoder, tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, Found]:
    found = tmp_path_factory.mktemp("found")
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "tests.unit.trainer.distributed.pair"]
    workers = [
        subprocess.Popen([*command, str(rank), str(port), str(base.directory), str(found)])
        for rank in range(SIZE)
    ]
    try:
        assert [worker.wait(timeout=240) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return Found(found, 0), Found(found, 1)


def test_what_is_dealt_comes_together_in_its_order_and_moves_every_part(
    pair: tuple[Found, Found],
) -> None:
    rows = np.arange(10.0).reshape(5, 2)

    assert np.array_equal(pair[0].arrays["gathered"], [*rows, *[[3, 3]] * 3])
    assert np.array_equal(pair[1].arrays["gathered"], [*rows, *[[3, 3]] * 2])
    assert [found.facts["total"] for found in pair] == [3.0, 3.0]


def test_workers_that_would_learn_different_things_do_not_begin(pair: tuple[Found, Found]) -> None:
    for found in pair:
        assert "Worker 1 would learn something else than worker 0" in found.facts["disagreement"]


def test_two_workers_learn_what_one_learns(base: BaseEncoder, pair: tuple[Found, Found]) -> None:
    notes = Notes()
    alone = weights(learn(base.directory, EVERYTHING, notes))

    assert np.array_equal(pair[0].arrays["everything"], pair[1].arrays["everything"])
    assert _distance(pair[0].arrays["everything"], alone) < 1e-4
    assert len(notes.losses) == 10
    assert pair[0].facts["everything losses"] == pytest.approx(notes.losses, rel=1e-3)
    # The first worker measures for all.
    assert pair[1].facts["everything losses"] == []


def test_the_same_seed_and_number_of_workers_give_the_same_weights(
    pair: tuple[Found, Found],
) -> None:
    first, second = pair

    assert np.array_equal(first.arrays["one"], second.arrays["one"])
    assert np.array_equal(first.arrays["one"], first.arrays["again"])
    assert first.facts["one losses"] == first.facts["again losses"]


def test_each_worker_drops_out_other_units(base: BaseEncoder, pair: tuple[Found, Found]) -> None:
    alone = weights(learn(base.directory, RANDOM, Notes()))

    # Near, as the batches are the same, and not equal.
    assert 1e-5 < _distance(pair[0].arrays["one"], alone) < 1e-2


def test_a_stop_of_one_stops_all_at_the_same_step(pair: tuple[Found, Found]) -> None:
    assert [found.facts["stopped at"] for found in pair] == [3, 3]


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return how far two models are apart, as a share of their size."""
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))
