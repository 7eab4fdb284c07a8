"""Threads that leave the processors to those who are served. Must not know what they do."""

from __future__ import annotations

import os
import sys
import threading

# A tenth of a thread that computes, where both want the same processor: a model of 90 MB that
# takes 0.3 s to open takes 3 s on a machine that is saturated, and all of a processor else.
_NICENESS = 10
_NICEST = 19


def leave_processors() -> None:
    """Lower the priority of this thread for good; threads that it starts inherit that."""
    # Elsewhere a priority is the whole process's.
    if sys.platform == "linux":
        thread = threading.get_native_id()
        niceness = os.getpriority(os.PRIO_PROCESS, thread) + _NICENESS
        os.setpriority(os.PRIO_PROCESS, thread, min(niceness, _NICEST))
