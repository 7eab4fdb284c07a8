"""The process that opens what strangers send ends with the one that waits for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from services.trainer.registry.probe import ProbeSpec

_PARENT = """
import os, subprocess, sys
spec = sys.stdin.read().replace("PARENT", str(os.getpid()))
probe = subprocess.Popen([sys.executable, "-m", "services.trainer.registry.probe"],
    stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
probe.stdin.write(spec)
probe.stdin.close()
print(probe.pid, flush=True)
probe.wait()
"""


def test_a_probe_does_not_outlive_who_started_it(tmp_path: Path) -> None:
    # A tokenizer that never ends keeps the probe waiting as a hostile one would.
    tokenizer = tmp_path / "tokenizer.json"
    os.mkfifo(tokenizer)
    spec = ProbeSpec(
        graphs=[],
        tokenizer=str(tokenizer),
        predictions="",
        dimension=1,
        labels=1,
        max_tokens=8,
        pad_token_id=0,
        parent=0,
    )
    told = json.dumps(asdict(spec)).replace('"parent": 0', '"parent": PARENT')
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent.stdin as pipe:
        pipe.write(told)
    probe = int(parent.stdout.readline())
    # Open for writing only once somebody reads: the probe is at work by then.
    with tokenizer.open("wb"):
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        while _is_alive(probe):
            pass
    parent.stdout.close()


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
