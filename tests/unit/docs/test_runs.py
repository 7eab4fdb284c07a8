"""`docs/runs.md` says what the code does."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import typer

from isogloss.cli.app import app
from services.trainer.settings import TrainerSettings
from services.trainer.state import State
from services.trainer.webhooks.signing import headers, key_of

PAGE = (Path(__file__).parents[3] / "docs" / "runs.md").read_text(encoding="utf-8")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 (the example of the standard)


def test_its_snippet_tells_genuine_messages_from_others() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(snippet, names)  # noqa: S102 (what readers are told to run)
    is_genuine, now = names["is_genuine"], int(time.time())
    signed = dict(headers(key_of(SECRET), message="msg_1", seconds=now, body=b"{}"))
    old = dict(headers(key_of(SECRET), message="msg_1", seconds=now - 600, body=b"{}"))

    assert is_genuine(SECRET, signed, b"{}")
    assert not is_genuine(SECRET, signed, b"{ }")
    assert not is_genuine(SECRET, {**signed, "webhook-id": "msg_2"}, b"{}")
    assert not is_genuine(SECRET, old, b"{}")


def test_every_state_setting_flag_and_command_that_it_names_exists() -> None:
    group: Any = typer.main.get_command(app)
    commands = group.commands["models"].commands
    flags = {
        flag
        for command in commands.values()
        for parameter in command.params
        for flag in (*parameter.opts, *parameter.secondary_opts)
    }
    quoted = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", PAGE))
    fields = {"queue_position", "auto_start", "validate_only", "webhook_uri"}

    assert all(state in PAGE for state in State)
    assert quoted <= fields | set(TrainerSettings.model_fields)
    ray = {"--head", "--port", "--address", "--include-dashboard", "--num-cpus"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) <= flags | ray | {"--build-arg"}
    assert set(re.findall(r"isogloss models (\w+)", PAGE)) <= set(commands)
