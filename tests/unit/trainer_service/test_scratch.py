from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from services.trainer.scratch import Scratch, sweep

HOLD = """
import sys, time
from pathlib import Path
from services.trainer.scratch import Scratch
with Scratch(Path(sys.argv[1]), "run") as path:
    (path / "big.bin").write_bytes(b"x")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_it_is_removed_with_all_in_it(tmp_path: Path) -> None:
    with Scratch(tmp_path / "scratch", "run") as path:
        (path / "deep").mkdir()
        (path / "deep" / "file").write_text("x")

    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_a_killed_process_left_is_swept_and_what_is_in_use_stays(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    with Scratch(tmp_path, "mine") as mine:
        assert sweep(tmp_path) == 0

        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()

        assert sweep(tmp_path) == 1
        assert list(tmp_path.iterdir()) == [mine]


def test_strange_directories_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "somebody-elses").mkdir()

    assert sweep(tmp_path) == 0
    assert (tmp_path / "somebody-elses").is_dir()


def test_nothing_to_sweep_is_no_error(tmp_path: Path) -> None:
    assert sweep(tmp_path / "absent") == 0
