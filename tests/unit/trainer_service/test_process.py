from __future__ import annotations

import os
import signal
import sys
import time

import psutil

from services.trainer.process import Child

ECHO = "import sys; print('got', sys.stdin.readline().strip(), flush=True)"
STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""
HEARING = """
import os, sys, time
from services.trainer.lifeline import hold_on_to
first = sys.stdin.readline().strip()
hold_on_to(os.getppid(), sys.stdin, lambda line: print(first, line, flush=True))
print("ready", flush=True)
time.sleep(60)
"""
PARENT_OF_ONE = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def start(code: str, *, first_line: str = "") -> Child:
    return Child([sys.executable, "-c", code], first_line=first_line, environment=os.environ)


def lines_until_exit(child: Child) -> list[str]:
    found: list[str] = []
    while child.exit_code() is None:
        found += child.lines(0.05)
    return found + child.lines(0)


def test_it_is_told_its_first_line_and_its_lines_are_read() -> None:
    child = start(ECHO, first_line="hello")

    assert lines_until_exit(child) == ["got hello"]
    assert child.exit_code() == 0
    child.stop(1)


def test_one_that_holds_on_hears_what_it_is_told_later() -> None:
    child = start(HEARING, first_line="hello")
    assert child.lines(30) == ["ready"]

    child.tell("halt")

    assert child.lines(30) == ["hello halt"]
    child.stop(1)


def test_one_that_has_ended_hears_nothing_and_nothing_breaks() -> None:
    child = start("")
    lines_until_exit(child)

    child.tell("halt")
    child.tell("halt")

    child.stop(1)


def test_the_end_of_its_standard_error_is_kept() -> None:
    child = start("import sys; [print(n, file=sys.stderr) for n in range(1000)]; sys.exit(7)")

    assert lines_until_exit(child) == []
    assert child.exit_code() == 7
    assert child.stderr() == [str(number) for number in range(960, 1000)]
    child.stop(1)


def test_one_that_takes_no_notice_is_killed() -> None:
    child = start(STUBBORN)
    assert child.lines(30) == ["ready"]

    child.stop(0.2)

    assert child.exit_code() == -signal.SIGKILL


def test_one_that_is_stopped_ends_politely() -> None:
    child = start("print('ready', flush=True); import time; time.sleep(60)")
    child.lines(30)
    os.kill(child.pid, signal.SIGSTOP)

    child.stop(30)

    assert child.exit_code() == -signal.SIGTERM


def test_what_it_started_ends_with_it() -> None:
    child = start(PARENT_OF_ONE)
    (grandchild,) = child.lines(30)

    child.stop(5)

    deadline = time.monotonic() + 30
    while psutil.pid_exists(int(grandchild)):
        if psutil.Process(int(grandchild)).status() == psutil.STATUS_ZOMBIE:
            break
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_one_that_dies_before_it_reads_says_why() -> None:
    child = start("import os; os.close(0); raise SystemExit('no thanks')", first_line="x" * 10)

    assert lines_until_exit(child) == []
    assert child.stderr() == ["no thanks"]
    child.stop(1)
