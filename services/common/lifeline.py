"""Ends a process when the one that started it is gone. Knows nothing of either's work."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_EXIT_CODE = 3


def end_with(parent: int) -> None:
    """Let the kernel kill this process when the thread that started it ends, however it ends.

    Linux only; elsewhere, and where another process inherited its end of a pipe, each process
    has to see for itself that nobody is at the other end.

    Args:
        parent: Process id of the one that started this process.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It died before the kernel was asked.
        os._exit(_EXIT_CODE)
