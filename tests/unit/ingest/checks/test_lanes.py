"""Work side by side: each lane in a workbench of its own, and none goes on after an error."""

from __future__ import annotations

from pathlib import Path
from threading import Barrier

import pytest

from services.ingest.checks.lanes import Lanes
from services.ingest.workbench import EngineOptions, Interrupted, Workbench

_ENDLESS = "SELECT count(*) FROM range(1_000_000_000) AS a, range(1_000_000_000) AS b"


def name(bench: Workbench) -> None:
    bench.run("CREATE TABLE named AS SELECT uuid() AS name")


def named(bench: Workbench) -> str:
    return str(bench.value("SELECT name FROM named"))


def test_lanes_work_at_the_same_time_and_are_prepared_once(tmp_path: Path) -> None:
    together = Barrier(2)

    def met(bench: Workbench) -> str:
        together.wait(timeout=60)
        return named(bench)

    with Workbench(tmp_path, EngineOptions()) as bench, Lanes(bench, 2, name) as lanes:
        first = {work.result() for work in [lanes.submit(met), lanes.submit(met)]}
        second = {work.result() for work in [lanes.submit(met), lanes.submit(met)]}

    assert len(first) == 2
    assert first == second


def test_an_error_stops_what_is_being_done_and_the_rest_is_not_begun(tmp_path: Path) -> None:
    begun = Barrier(2)
    submitted = []

    def endless(bench: Workbench) -> None:
        begun.wait(timeout=60)
        bench.run(_ENDLESS)

    def fail() -> None:
        with Workbench(tmp_path, EngineOptions()) as bench, Lanes(bench, 1, name) as lanes:
            submitted.extend([lanes.submit(endless), lanes.submit(name)])
            begun.wait(timeout=60)
            raise KeyError(begun)

    with pytest.raises(KeyError):
        fail()

    running, waiting = submitted
    assert isinstance(running.exception(), Interrupted)
    assert waiting.cancelled()
