"""Single fields of messages: enums, times, and numbers that may be unset."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from isogloss.errors import InvalidArgument, Violation

E = TypeVar("E", bound=StrEnum)
V = TypeVar("V", bound=int)


def member(kind: type[E], field: str, message: Message) -> E:
    """Read an enum field; a value that is newer than this client is UNKNOWN."""
    values = message.DESCRIPTOR.fields_by_name[field].enum_type
    number = getattr(message, field)
    known = values.values_by_number.get(number) if values is not None else None
    spoken = known.name if known is not None else ""
    return next((member for member in kind if spoken.endswith("_" + member.name)), kind["UNKNOWN"])


def optional_member(kind: type[E], field: str, message: Message) -> E | None:
    """Read an enum field; None where it is unset."""
    return member(kind, field, message) if getattr(message, field) else None


def chosen(kind: type[E], field: str, given: E | str | None) -> E:
    """Take what a caller chose, by member or by value; None is UNKNOWN, which is never sent.

    Raises:
        InvalidArgument: It is none of the members.
    """
    try:
        return kind["UNKNOWN"] if given is None else kind(given)
    except ValueError:
        choices = ", ".join(f"`{member}`" for member in kind if member.name != "UNKNOWN")
        description = f"`{given}` is none of {choices}."
        raise InvalidArgument(
            f"{field}: {description}", violations=[Violation(field=field, description=description)]
        ) from None


def number(of: Callable[[str], V], prefix: str, choice: StrEnum) -> V:
    """Name a choice on the wire.

    Args:
        of: Gives the number of a value of the contract by its full name.
        prefix: How those names begin, such as `QUOTING`.
        choice: A member; UNKNOWN is unset.
    """
    return of(f"{prefix}_{'UNSPECIFIED' if choice.name == 'UNKNOWN' else choice.name}")


def time(message: Message, field: str) -> datetime | None:
    """Read a time, in UTC."""
    if not message.HasField(field):
        return None
    stamp: Timestamp = getattr(message, field)
    return stamp.ToDatetime(tzinfo=UTC)


def timestamp(when: datetime | timedelta | None) -> Timestamp | None:
    """Write a time; a time span begins now, a time without a zone is the machine's."""
    if when is None:
        return None
    moment = datetime.now(UTC) + when if isinstance(when, timedelta) else when.astimezone(UTC)
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def maybe(message: Message, field: str) -> float | None:
    """Read a number; None where it is unset."""
    return float(getattr(message, field)) if message.HasField(field) else None
