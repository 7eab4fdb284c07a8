from __future__ import annotations

import pytest

from services.inference.calibrate.candidates import Measured, best, candidates
from services.inference.engines.layout import Layout

LOCAL = Layout(engines=0, workers=2, threads=1)
PROCESSES = Layout(engines=2, workers=2, threads=1)


def measured(layout: Layout, short: float, mixed: float) -> Measured:
    return Measured(layout=layout, short=short, mixed=mixed, alone=1.0)


@pytest.mark.parametrize("cpus", [1, 2, 3, 4, 7, 16, 64])
def test_no_layout_takes_more_than_the_node_has(cpus: int) -> None:
    layouts = candidates(cpus)

    assert layouts[0] == Layout(engines=0, workers=cpus, threads=1)
    assert len(set(layouts)) == len(layouts) <= 3 * cpus.bit_length()
    for layout in layouts:
        assert layout.engines <= layout.workers
        assert 1 <= layout.workers * layout.threads <= cpus


def test_two_processors_have_five_layouts() -> None:
    assert candidates(2) == [
        Layout(engines=0, workers=2, threads=1),
        Layout(engines=0, workers=1, threads=2),
        Layout(engines=1, workers=2, threads=1),
        Layout(engines=1, workers=1, threads=2),
        Layout(engines=2, workers=2, threads=1),
    ]


def test_the_fastest_is_taken_where_it_is_worth_its_processes() -> None:
    local, processes = measured(LOCAL, 100, 10), measured(PROCESSES, 120, 11)

    assert best([local, processes]) == processes


def test_about_as_fast_with_fewer_processes_is_taken() -> None:
    local, processes = measured(LOCAL, 100, 10), measured(PROCESSES, 104, 10.1)

    assert best([processes, local]) == local


def test_both_kinds_of_texts_count() -> None:
    local, processes = measured(LOCAL, 200, 4), measured(PROCESSES, 100, 10)

    assert best([local, processes]) == processes
