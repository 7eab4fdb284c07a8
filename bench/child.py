"""A process that is waited for: how it ended, and how much memory it took at most."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_LOOK_SECONDS = 0.2
_LAST_BYTES = 2000


class TooLong(Exception):
    """It was ended because its time was over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A process that has ended."""

    code: int
    """Negative: by this signal."""

    last_words: str
    """The end of what it wrote to its standard error."""

    peak_bytes: int
    """Resident at most, looked at five times a second; children of its own aside."""


def run(command: Sequence[str], *, seconds: float) -> Ended:
    """Run a command to its end.

    Raises:
        TooLong: Where it takes longer; it is killed.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        end, peak = time.monotonic() + seconds, 0
        while process.poll() is None:
            if time.monotonic() > end:
                process.kill()
                process.wait()
                raise TooLong
            time.sleep(_LOOK_SECONDS)
            # Not of `wait4`, which tells the peak of this process where that is larger.
            peak = max(peak, peak_bytes(process.pid))
        size = errors.seek(0, os.SEEK_END)
        errors.seek(max(0, size - _LAST_BYTES))
        words = errors.read().decode(errors="replace")
    return Ended(code=process.returncode, last_words=words.strip(), peak_bytes=peak)


def peak_bytes(pid: int) -> int:
    """Return what a process had in memory at most so far; 0 where it has just ended."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        lines = (line.split() for line in status.splitlines())
        return next((int(line[1]) * 1024 for line in lines if line[0] == "VmHWM:"), 0)
    return 0
