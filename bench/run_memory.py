"""How much memory a training run takes, phase by phase, as its rows become many.

    python -m bench.run_memory [--rows 200000 800000] [--held-out 20000] [--labels 130]
        [--words 16] [--preset fast] [--steps 200] [--base DIR] [--threads 1] [--json]

The rows are made up (`bench.made_up`). A process of the trainer carries the whole run out, from the
download to the upload, and its peak is the kernel's (VmHWM, Linux). What a step takes does not grow
with the rows: `--steps` ends the one epoch early, and 0 lets it go to its end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.child import peak_bytes
from bench.labelled_sets import small_base
from bench.made_up import CONTENT_HASH, publish_rows
from isogloss.v1.split_pb2 import Split
from services.common import layout
from services.common.storage import StoreOptions, open_store
from services.trainer.messages import Entered, Failed, Message, Planned, decode
from services.trainer.spec import RunSpec

MEGABYTE = 1_000_000

_TENANT, _DATASET, _MODEL, _BASE = "default", "large-aaaaaa", "large-bbbbbb", "base"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one run took; memory is what was resident at most so far."""

    rows: int
    seconds: float
    read_bytes: int
    """When the rows were read."""

    learnt_bytes: int
    """When the baseline was fitted and the model had learnt."""

    peak_bytes: int
    """When all was scored, exported and uploaded."""


def main() -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[200_000, 800_000])
    parser.add_argument("--held-out", type=int, default=20_000)
    parser.add_argument("--labels", type=int, default=130)
    parser.add_argument("--words", type=int, default=16)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--base", type=Path, help="directory of an encoder; `small` without")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    for rows in asked.rows:
        with tempfile.TemporaryDirectory(prefix="run-memory-") as scratch:
            found = measure(asked, rows, Path(scratch))
        print(json.dumps(asdict(found)) if asked.json else _line(found), flush=True)
    return 0


def measure(asked: argparse.Namespace, rows: int, scratch: Path) -> Measured:
    """Carry one run out.

    Raises:
        RuntimeError: Where it fails.
    """
    url = str(scratch / "store")
    publish = [sys.executable, "-m", "services.trainer.publish_base", _BASE]
    options = ["--store", url, "--scratch-directory", str(scratch / "base")]
    subprocess.run(
        [*publish, str(asked.base or small_base()), *options],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    publish_rows(
        open_store(url),
        tenant=_TENANT,
        dataset=_DATASET,
        sizes={Split.SPLIT_TRAIN: rows, Split.SPLIT_TEST: asked.held_out},
        labels=asked.labels,
        words=asked.words,
    )
    limit = {"max_steps": asked.steps} if asked.steps else {}
    (scratch / "run").mkdir()
    began = time.monotonic()
    read, learnt, peak = _carry_out(
        _spec(
            url,
            scratch / "run",
            hyperparameters={"preset": asked.preset, "epochs": 1, **limit},
            threads=asked.threads,
        )
    )
    return Measured(
        rows=rows,
        seconds=time.monotonic() - began,
        read_bytes=read,
        learnt_bytes=learnt,
        peak_bytes=peak,
    )


def _spec(url: str, scratch: Path, *, hyperparameters: dict[str, Any], threads: int) -> RunSpec:
    return RunSpec(
        tenant=_TENANT,
        model=_MODEL,
        display_name="Large",
        base_model=_BASE,
        base_source="",
        dataset=_DATASET,
        dataset_content_hash=CONTENT_HASH,
        hyperparameters=hyperparameters,
        positive_label="",
        attempt=1,
        token=1,
        prefix=layout.attempt_prefix(_TENANT, _MODEL, 1, 1),
        start_time=datetime.now(UTC),
        store_url=url,
        store_options=StoreOptions(),
        scratch=str(scratch),
        device="cpu",
        threads=threads,
        checkpoint_seconds=60.0,
        niceness=0,
        quantise=True,
        parent=os.getpid(),
        cluster=None,
    )


def _carry_out(spec: RunSpec) -> tuple[int, int, int]:
    """Return the peaks in bytes: rows read, learnt, all."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(spec.threads), "TMPDIR": spec.scratch}
    with subprocess.Popen(
        [sys.executable, "-m", "services.trainer.run"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    ) as run:
        if run.stdin is None or run.stdout is None:
            raise AssertionError("the process was started with pipes")
        run.stdin.write(spec.to_json() + "\n")
        run.stdin.flush()
        read = learnt = peak = 0
        message: Message | None = None
        for line in run.stdout:
            message = decode(line)
            # Looked at while it still is there: it waits for nobody.
            peak = max(peak, peak_bytes(run.pid))
            if isinstance(message, Planned):
                read = peak
            elif isinstance(message, Entered):
                learnt = peak
    if message is None or isinstance(message, Failed):
        raise RuntimeError("the run ended early" if message is None else message.message)
    return read, learnt, peak


def _line(found: Measured) -> str:
    read, learnt, peak = (
        size // MEGABYTE for size in (found.read_bytes, found.learnt_bytes, found.peak_bytes)
    )
    return (
        f"{found.rows:,} rows: {read:,} MB when they were read, {learnt:,} MB when it had learnt, "
        f"{peak:,} MB at most; {found.seconds:,.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
