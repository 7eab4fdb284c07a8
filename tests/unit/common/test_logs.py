"""What logs say of a failure, and what they keep to themselves."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from services.common.logs import configure_logging


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    yield
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_failure_is_logged_without_the_texts_that_it_met(
    capsys: pytest.CaptureFixture[str],
    format: str,  # noqa: A002 (the setting's name)
) -> None:
    configure_logging(level="info", format=format, service="ingest")

    def judge(text: str) -> None:
        raise ValueError(f"{len(text)} characters")

    try:
        judge("my doctor".upper())
    except ValueError:
        structlog.get_logger().exception("failed")

    logged = capsys.readouterr().out
    assert "ValueError" in logged
    assert "9 characters" in logged
    assert "test_logs.py" in logged
    assert "MY DOCTOR" not in logged


def test_a_reader_that_is_gone_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str, /) -> int:
            raise BrokenPipeError(text)

    configure_logging(level="info", format="json", service="ingest")

    monkeypatch.setattr(sys, "stdout", Gone())
    structlog.get_logger().info("stopping")
    logging.getLogger("a library").warning("stopping, too")
