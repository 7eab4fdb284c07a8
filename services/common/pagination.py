"""Pages of a collection by keyset cursor (AIP-158). Must not know what is listed.

A token holds where the next page starts and a checksum of everything else that was asked, so
that a token cannot be carried over to another question. It is no secret and no capability: it
never widens what the caller may see.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from services.common.errors import FieldViolation, InvalidArgument

MAX_PAGE_BYTES = 3 * 1024 * 1024
"""Every gRPC client takes 4 MiB by default. A page stops before the item that would lift it over
3 MiB, and no item comes near 1 MiB."""

_CHECKSUM_BYTES = 8

_WRONG_TOKEN = FieldViolation(
    field="page_token",
    description="is not the next_page_token of a page with the same other fields: "
    "leave it empty to start from the beginning.",
)

Cursor = tuple[str | int, ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """One page, as it was asked for."""

    size: int
    """Most items to return, at least 1."""

    cursor: Cursor | None
    """The sort key of the last item of the page before; None for the first page."""

    checksum: str
    """Of everything else in the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """One page, as it is returned."""

    items: list[T]
    next_page_token: str
    """Empty at the end of the collection, and only there."""


def page_request(
    *, page_size: int, page_token: str, scope: Sequence[str], default: int = 50, maximum: int = 1000
) -> PageRequest:
    """Check what a caller asked for.

    Args:
        page_size: 0 takes the default; more than the maximum is cut down to it.
        page_token: Empty, or from the page before.
        scope: Whatever must stay the same from page to page: method, tenant, parent, filter.
        default: Items per page.
        maximum: Items per page.

    Raises:
        InvalidArgument: Where the size is negative or the token is not of this question.
    """
    violations: list[FieldViolation] = []
    if page_size < 0:
        violations.append(
            FieldViolation(field="page_size", description="must be 0 (the default) or more.")
        )
    checksum = hashlib.sha256(json.dumps(list(scope)).encode()).hexdigest()[: 2 * _CHECKSUM_BYTES]
    cursor = None
    if page_token:
        cursor = _cursor(page_token, checksum)
        if cursor is None:
            violations.append(_WRONG_TOKEN)
    if violations:
        raise InvalidArgument(violations)
    return PageRequest(size=min(page_size or default, maximum), cursor=cursor, checksum=checksum)


def time_and_id(cursor: Cursor) -> tuple[datetime, str]:
    """Read the cursor of a collection that is sorted by time, in ISO format, and id.

    Returns:
        The time in UTC, and the id.

    Raises:
        InvalidArgument: Where it is another cursor: anybody can write a token.
    """
    match cursor:
        case (str(time), str(id_)) if id_.isprintable():
            try:
                moment = datetime.fromisoformat(time)
                if moment.tzinfo is not None:
                    return moment.astimezone(UTC), id_
            except (ValueError, OverflowError):
                pass
    raise InvalidArgument(_WRONG_TOKEN)


def whole_number(cursor: Cursor | None, *, first: int) -> int:
    """Read the cursor of a collection that is sorted by one number.

    Args:
        cursor: Of the page.
        first: What stands for the first page, which has none.

    Raises:
        InvalidArgument: As `time_and_id`.
    """
    match cursor:
        case None:
            return first
        case (int(number),) if 0 <= number < 1 << 63:
            return number
    raise InvalidArgument(_WRONG_TOKEN)


def cut_page(
    items: Iterable[T],
    *,
    request: PageRequest,
    cursor_of: Callable[[T], Cursor],
    size_of: Callable[[T], int] = lambda _: 0,
) -> Page[T]:
    """Take one page off `items`.

    Args:
        items: What comes after `request.cursor`, in order; at least `request.size + 1` items
            where there are so many. Read no further than needed.
        request: Which page.
        cursor_of: The sort key of an item, unique in the collection.
        size_of: Bytes of an item in the response.

    Returns:
        At most `request.size` items, and at least one where there is one.
    """
    taken: list[T] = []
    total = 0
    for item in items:
        total += size_of(item)
        if len(taken) == request.size or (taken and total > MAX_PAGE_BYTES):
            return Page(items=taken, next_page_token=_token(cursor_of(taken[-1]), request.checksum))
        taken.append(item)
    return Page(items=taken, next_page_token="")


def _token(cursor: Cursor, checksum: str) -> str:
    content = json.dumps([checksum, *cursor], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _cursor(token: str, checksum: str) -> Cursor | None:
    """Return the cursor in `token`, or None where it is none of ours or of another question."""
    try:
        padded = token + "=" * (-len(token) % 4)
        content = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    if not isinstance(content, list) or content[:1] != [checksum]:
        return None
    cursor = tuple(content[1:])
    if not cursor or any(type(part) not in {str, int} for part in cursor):
        return None
    return cursor
