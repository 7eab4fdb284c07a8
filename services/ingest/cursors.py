"""What page tokens hold. A caller can write its own: nothing in one is trusted."""

from __future__ import annotations

from datetime import UTC, datetime

from services.common.errors import FieldViolation, InvalidArgument
from services.common.pagination import Cursor

_INT64 = 1 << 63


def listed_after(cursor: Cursor) -> tuple[datetime, str]:
    """Return creation time and id of the last dataset of the page before.

    Raises:
        InvalidArgument: Where no list of datasets gave this cursor.
    """
    match cursor:
        case (str(created), str(last)) if last.isascii() and last.isprintable():
            try:
                time = datetime.fromisoformat(created)
                if time.tzinfo is not None:
                    return time.astimezone(UTC), last
            except (ValueError, OverflowError):
                pass
    raise _not_ours()


def found_after(cursor: Cursor | None) -> int:
    """Return the number of the last finding of the page before; -1 for the first page.

    Raises:
        InvalidArgument: Where no list of findings gave this cursor.
    """
    match cursor:
        case None:
            return -1
        case (int(number),) if 0 <= number < _INT64:
            return number
    raise _not_ours()


def _not_ours() -> InvalidArgument:
    return InvalidArgument(
        FieldViolation(
            field="page_token",
            description="is not the next_page_token of a page with the same other fields: leave it "
            "empty to start from the beginning.",
        )
    )
