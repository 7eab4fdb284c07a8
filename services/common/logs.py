"""Structured logs: one entry per line on standard output, libraries' entries included.

Where a failure is told, the values of local variables are not: they are callers' texts and keys.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog
from structlog.tracebacks import ExceptionDictTransformer


class _Output:
    """Standard output, whose reader may be gone: no call, and no orderly stop, fails of it."""

    def write(self, text: str) -> None:
        with suppress(BrokenPipeError):
            sys.stdout.write(text)

    def flush(self) -> None:
        with suppress(BrokenPipeError):
            sys.stdout.flush()


def configure_logging(*, level: str, format: str, service: str) -> None:  # noqa: A002 - the setting's name
    """Set up structlog and the standard library's logging for this process.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        format: `json`, `console`, or `auto` for `console` on a terminal.
        service: Stands in every entry.
    """

    def name_service(
        _logger: object, _method: str, entry: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        # Not a context variable: gRPC runs each call in an empty context.
        return {"service": service, **entry}

    console = format == "console" or (format == "auto" and sys.stdout.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        name_service,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if not console:
        shared.append(
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
        )
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        if console
        else structlog.processors.JSONRenderer()
    )
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Output())),
        cache_logger_on_first_use=False,  # tests configure more than once
    )
    handler = logging.StreamHandler(_Output())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries talk about themselves at info.
    root.setLevel(max(number, logging.WARNING) if number > logging.DEBUG else number)
