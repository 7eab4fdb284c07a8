"""Lists of texts of any length, cut into calls that a service takes. Knows no method."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from isogloss.errors import IsoglossError
from isogloss.status import shifted

R = TypeVar("R")

MAX_TEXTS = 128
"""Texts of one call. The service takes 512; a quarter of it keeps each answer quick."""

MAX_BYTES = 2 * 1024 * 1024
"""UTF-8 bytes of the texts of one call: half of the 4 MiB that any server takes."""


def listed(texts: str | Iterable[str]) -> list[str]:
    """Take one text or many."""
    return [texts] if isinstance(texts, str) else list(texts)


async def in_parts(
    texts: Sequence[str],
    call: Callable[[Sequence[str]], Coroutine[Any, Any, R]],
    progress: Callable[[int], None] | None,
    *,
    most_bytes: int = MAX_BYTES,
) -> AsyncIterator[R]:
    """Call with one part of the texts after the other, in order.

    A part whose answer would be too large (a model of very many labels) is halved. No texts
    at all are sent as they are: what to answer to that is the service's to say.

    Args:
        texts: The texts.
        call: Asks the service.
        progress: Is told the number of texts that are done.
        most_bytes: UTF-8 bytes of a part, unless it is one text.

    Raises:
        IsoglossError: The service refused; its `texts[i]` count in all texts, not in a part.
    """
    start, most = 0, MAX_TEXTS
    while start < len(texts) or not start:
        part = part_of(texts[start : start + most], most_bytes)
        try:
            reply = await call(part)
        except IsoglossError as error:
            if error.reason == "LIMIT_EXCEEDED" and len(part) > 1:
                most = len(part) // 2
                continue
            raise shifted(error, start) from error
        yield reply
        start += len(part)
        if progress is not None:
            progress(start)
        if not part:
            return


def part_of(texts: Sequence[str], most_bytes: int = MAX_BYTES) -> Sequence[str]:
    """Give the beginning of the texts that one message can hold, at least one text."""
    size = 0
    for index, text in enumerate(texts):
        size += len(text.encode())
        if index and size > most_bytes:
            return texts[:index]
    return texts
