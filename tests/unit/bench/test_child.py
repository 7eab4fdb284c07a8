from __future__ import annotations

import sys

import pytest

from bench.child import TooLong, run


def test_tells_how_a_process_ended_and_what_it_took() -> None:
    code = "import sys, time; text = b'x' * 80_000_000; time.sleep(3); sys.exit('it is broken')"

    ended = run([sys.executable, "-c", code], seconds=60)

    assert (ended.code, ended.last_words) == (1, "it is broken")
    assert 80_000_000 < ended.peak_bytes < 120_000_000


def test_a_process_that_takes_too_long_is_ended() -> None:
    with pytest.raises(TooLong):
        run([sys.executable, "-c", "import time; time.sleep(600)"], seconds=0.3)
