from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from services.common.scratch import Scratch
from services.inference.engine import EngineDied, GraphInvalid, GraphShape, Output, RunFailed
from services.inference.engines.onnx import LocalEngines
from services.inference.engines.processes import ProcessEngine, ProcessEngines
from tests.endless_graph import ENDLESS_TOKEN, endless_graph
from tests.tiny_model import DIMENSION, tiny_graph

SHAPE = GraphShape(dimension=DIMENSION, labels=3, pad_token_id=0)
BOTH = (Output.LOGITS, Output.EMBEDDING)
WAIT = 30.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny_graph(labels=3))
    return path


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[ProcessEngines]:
    engines = ProcessEngines(
        processes=2,
        lanes=1,
        threads=1,
        scratch=Scratch(tmp_path / "engines"),
    )
    until(lambda: len(engines._rotation._places) == 2)
    yield engines
    engines.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def pids(engines: ProcessEngines) -> list[int]:
    return [child.pid for child in list(engines._rotation._places)]


def holders(engines: ProcessEngines) -> int:
    return sum(bool(place.loaded) for place in list(engines._rotation._places.values()))


@contextmanager
def endless_run(
    engines: ProcessEngines, engine: ProcessEngine
) -> Iterator[tuple[int, Future[object]]]:
    """Keep one process busy; give its id and the run."""
    used = {pid: cpu_seconds(pid) for pid in pids(engines)}
    with ThreadPoolExecutor(1) as executor:
        run: Future[object] = executor.submit(engine.run, [[ENDLESS_TOKEN]], (Output.EMBEDDING,))
        until(lambda: any(cpu_seconds(pid) > used[pid] + 0.05 for pid in used))
        (busy,) = [
            child.pid for child, place in engines._rotation._places.items() if not place.free
        ]
        yield busy, run


def cpu_seconds(pid: int) -> float:
    return float(psutil.Process(pid).cpu_times().user)


def test_a_process_computes_what_this_one_does(engines: ProcessEngines, path: Path) -> None:
    rows = [[5, 9, 30], [8], [7] * 30]
    local = LocalEngines(threads=1).open(path, SHAPE)

    engine = engines.open(path, SHAPE)

    assert (engine.limits.runs, holders(engines)) == (2, 2)
    for outputs in (BOTH, BOTH[:1], BOTH[::-1]):
        for found, expected in zip(
            engine.run(rows, outputs), local.run(rows, outputs), strict=True
        ):
            np.testing.assert_allclose(found, expected, atol=1e-6)


def test_one_that_is_killed_fails_its_own_run_only(engines: ProcessEngines, tmp_path: Path) -> None:
    path = tmp_path / "endless.onnx"
    path.write_bytes(endless_graph())
    engine = engines.open(path, GraphShape(dimension=1, labels=0, pad_token_id=0))

    with endless_run(engines, engine) as (busy, run):
        (other,) = set(pids(engines)) - {busy}
        engine.run([[5]], (Output.EMBEDDING,))
        os.kill(busy, signal.SIGKILL)
        with pytest.raises(EngineDied, match=f"engine process {busy} ended"):
            run.result(WAIT)
    for _ in range(20):
        engine.run([[5]], (Output.EMBEDDING,))
    until(lambda: holders(engines) == 2)

    assert other in pids(engines)
    assert busy not in pids(engines)


def test_a_run_that_one_never_began_is_given_to_another(
    engines: ProcessEngines, path: Path
) -> None:
    engine = engines.open(path, SHAPE)
    stopped = next(iter(engines._rotation._places))

    os.kill(stopped.pid, signal.SIGSTOP)
    until(lambda: psutil.Process(stopped.pid).status() == psutil.STATUS_STOPPED)
    with ThreadPoolExecutor(1) as executor:
        run = executor.submit(engine.run, [[5]], BOTH)
        until(lambda: not engines._rotation._places[stopped].free)
        os.kill(stopped.pid, signal.SIGKILL)

        assert run.result(WAIT)[0].shape == (1, 3)
    until(lambda: holders(engines) == 2)
    assert stopped not in engines._rotation._places


def test_a_run_waits_for_the_only_one_to_come_back(engines: ProcessEngines, path: Path) -> None:
    engine = engines.open(path, SHAPE)

    for pid in pids(engines):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not engines.alive)

    assert engine.run([[5]], BOTH)[0].shape == (1, 3)


def test_a_graph_that_nobody_needs_is_closed(engines: ProcessEngines, path: Path) -> None:
    first, second = (engines.open(path, SHAPE) for _ in range(2))
    path.unlink()

    del first
    until(lambda: len(list(engines._scratch.path.iterdir())) == 1)

    assert [len(place.loaded) for place in engines._rotation._places.values()] == [1, 1]
    assert second.run([[5]], BOTH)[0].shape == (1, 3)


def test_a_graph_that_is_not_what_its_manifest_says_is_refused(
    engines: ProcessEngines, path: Path
) -> None:
    shape = GraphShape(dimension=DIMENSION, labels=4, pad_token_id=0)

    with pytest.raises(GraphInvalid, match="its manifest says float32 of shape"):
        engines.open(path, shape)

    until(lambda: not list(engines._scratch.path.iterdir()))
    assert not engines._rotation._open


def test_texts_that_cannot_be_computed_fail_alone(engines: ProcessEngines, path: Path) -> None:
    engine = engines.open(path, SHAPE)
    before = pids(engines)

    with pytest.raises(RunFailed, match="indices element out of data bounds"):
        engine.run([[2**31]], BOTH)

    engine.run([[5]], BOTH)
    assert pids(engines) == before


_PARENT = """
import os, sys, time
from pathlib import Path
from services.common.scratch import Scratch
from services.inference.engines.processes import ProcessEngines

engines = ProcessEngines(
    processes=1, lanes=1, threads=1, scratch=Scratch(Path(sys.argv[1]))
)
while not engines.alive:
    time.sleep(0.01)
print(*("child", *(child.pid for child in engines._rotation._places)), flush=True)
time.sleep(60)
"""


def test_none_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        line = next(line for line in parent.stdout if line.startswith("child "))
        child = psutil.Process(int(line.split()[1]))
        child.suspend()
        parent.kill()

    child.wait(WAIT)
