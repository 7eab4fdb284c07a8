from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.inference.background import leave_processors


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux")
def test_one_thread_steps_back_and_no_other() -> None:
    before = niceness()

    with ThreadPoolExecutor(1, initializer=leave_processors) as executor:
        within = executor.submit(niceness).result()

    assert within == min(before + 10, 19)
    assert niceness() == before
