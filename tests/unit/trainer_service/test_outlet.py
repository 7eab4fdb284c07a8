"""What a process tells last, and what comes too often."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from services.common.errors import DataLoss, Unavailable
from services.trainer.devices import DeviceUnavailable
from services.trainer.distributed.errors import ClusterFailed
from services.trainer.learning.listening import Cancelled, Diverged
from services.trainer.messages import Failed, Halted, Logged, Message, Progressed, decode
from services.trainer.outlet import Outlet, failure

HALFWAY = Progressed(
    step=5, total_steps=10, epoch=1.0, total_epochs=2.0, fraction=0.5, eta_seconds=None
)


def told(*acts: Callable[[Outlet], None]) -> list[Message]:
    lines: list[str] = []
    outlet = Outlet(lines.append)
    for act in acts:
        act(outlet)
    return [decode(line) for line in lines]


def test_only_progress_is_left_out_where_it_comes_too_often() -> None:
    line = Logged(level="info", message="here")

    found = told(*[lambda it: it.tell(HALFWAY)] * 3, *[lambda it: it.tell(line)] * 2)

    assert found == [HALFWAY, line, line]


def test_a_run_that_was_asked_to_stop_has_not_failed() -> None:
    assert told(lambda it: it.tell_end(Cancelled())) == [Halted()]


def test_a_failure_is_told_and_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    (end,) = told(lambda it: it.tell_end(KeyError("lost")))

    assert end == Failed(message="KeyError: 'lost'", retry=False)
    assert "KeyError: 'lost'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "message", "retry"),
    [
        (Unavailable("The store does not answer."), "The store does not answer.", True),
        (DataLoss("A file is broken."), "A file is broken.", False),
        (DeviceUnavailable("No GPU."), "No GPU.", True),
        (ClusterFailed("A worker died."), "A worker died.", True),
        (MemoryError(), "The trainer's machine failed the run: MemoryError()", True),
        (Diverged(), str(Diverged()), False),
    ],
)
def test_what_may_go_better_is_tried_again(error: Exception, message: str, *, retry: bool) -> None:
    assert failure(error) == Failed(message=message, retry=retry)
