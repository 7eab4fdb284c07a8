from __future__ import annotations

import json

import pytest

from services.trainer.messages import (
    Entered,
    Failed,
    Finished,
    Logged,
    Measured,
    Message,
    Planned,
    Progressed,
    decode,
    encode,
)
from services.trainer.state import State

MESSAGES: list[Message] = [
    Entered(state=State.EXPORTING, reason="Learnt."),
    Planned(hyperparameters={"epochs": 3, "preset": "fast", "learning_rate": 1e-4}),
    Progressed(step=1, total_steps=9, epoch=0.1, total_epochs=1, fraction=0.2, eta_seconds=None),
    Measured(step=0, epoch=0, loss=1.1, accuracy=0.3, precision=0.3, recall=0.3, f1=0.3),
    Logged(level="info", message="two\nlines, and ü"),
    Finished(manifest="{}"),
    Failed(message="no", retry=True),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_survives_the_pipe(message: Message) -> None:
    line = encode(message)

    assert "\n" not in line
    assert decode(line) == message


@pytest.mark.parametrize(
    "line",
    ["", "loading...", "[]", "{}", '{"kind": "other"}', '{"kind": "failed", "message": "x"}'],
)
def test_what_is_no_message_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"not a message|Expecting value"):
        decode(line)


def test_a_number_that_json_does_not_have_is_refused() -> None:
    line = Progressed(
        step=1, total_steps=2, epoch=0, total_epochs=1, fraction=float("nan"), eta_seconds=None
    )

    with pytest.raises(ValueError, match="JSON"):
        encode(line)


def test_a_message_names_its_kind() -> None:
    assert json.loads(encode(Failed(message="no", retry=False)))["kind"] == "failed"
