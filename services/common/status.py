"""The one table from the error family to `google.rpc.Status`."""

from __future__ import annotations

from urllib.parse import quote

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2
from grpc import StatusCode

from services.common import errors

DOMAIN = "isogloss"
"""Whose reasons `ErrorInfo.reason` are."""

CODES: dict[type[errors.IsoglossError], StatusCode] = {
    errors.InvalidArgument: StatusCode.INVALID_ARGUMENT,
    errors.NotFound: StatusCode.NOT_FOUND,
    errors.AlreadyExists: StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: StatusCode.FAILED_PRECONDITION,
    errors.Aborted: StatusCode.ABORTED,
    errors.OutOfRange: StatusCode.OUT_OF_RANGE,
    errors.Unauthenticated: StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: StatusCode.PERMISSION_DENIED,
    errors.ResourceExhausted: StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: StatusCode.DEADLINE_EXCEEDED,
    errors.DataLoss: StatusCode.DATA_LOSS,
    errors.IsoglossError: StatusCode.INTERNAL,
}

_MAX_MESSAGE_BYTES = 900
"""It travels twice: in the status, and percent-encoded in `grpc-message`."""

_MAX_METADATA_VALUE = 200
_MAX_VIOLATIONS = 20
_MAX_DESCRIPTION = 200
"""gRPC sends a status in HTTP/2 trailers, which clients take up to 8 KiB of by default, after
base64 (4/3): 5 KiB become 6.7 KiB and leave 1.3 KiB for the message and the rest. Violations
that do not fit are dropped from the end, and the last one says so."""

_MAX_STATUS_BYTES = 5 * 1024


def code_of(error: errors.IsoglossError) -> StatusCode:
    """Return the gRPC code: that of the nearest class in the table."""
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return StatusCode.INTERNAL


def message_of(error: errors.IsoglossError) -> str:
    """Return the message, cut so that `grpc-message` fits where each odd byte takes three."""
    text = error.message
    if len(quote(text)) <= _MAX_MESSAGE_BYTES:
        return text
    limit = _MAX_MESSAGE_BYTES if text.isascii() else _MAX_MESSAGE_BYTES // 3
    return _cut(text.encode()[:limit].decode(errors="ignore"), limit - 3)


def to_status(error: errors.IsoglossError) -> status_pb2.Status:
    """Return what the caller is told, never over what fits into the trailers."""
    number: int = code_of(error).value[0]
    status = status_pb2.Status(code=number, message=message_of(error))
    info = details.ErrorInfo(
        reason=error.reason,
        domain=DOMAIN,
        metadata={key: _cut(value, _MAX_METADATA_VALUE) for key, value in error.metadata.items()},
    )
    status.details.append(_packed(info))
    if error.retry_after is not None:
        delay = Duration()
        delay.FromNanoseconds(round(error.retry_after * 1e9))
        status.details.append(_packed(details.RetryInfo(retry_delay=delay)))
    if isinstance(error, errors.NotFound):
        kind = error.name.partition("/")[0]
        status.details.append(
            _packed(details.ResourceInfo(resource_type=kind, resource_name=error.name))
        )
    if isinstance(error, errors.FailedPrecondition) and error.subjects:
        status.details.append(_packed(_precondition(error)))
    if isinstance(error, errors.InvalidArgument):
        room = _MAX_STATUS_BYTES - status.ByteSize()
        status.details.append(_packed(_bad_request(error, room)))
    return status


def _precondition(error: errors.FailedPrecondition) -> details.PreconditionFailure:
    return details.PreconditionFailure(
        violations=[
            details.PreconditionFailure.Violation(
                type=error.reason,
                subject=_cut(subject, _MAX_DESCRIPTION),
                description=_cut(error.message, _MAX_DESCRIPTION),
            )
            for subject in error.subjects[:_MAX_VIOLATIONS]
        ]
    )


def _bad_request(error: errors.InvalidArgument, room: int) -> details.BadRequest:
    """Return all violations, or as many as `room` bytes take and the count of the rest."""
    request = details.BadRequest()
    for position, violation in enumerate(error.violations):
        added = details.BadRequest.FieldViolation(
            field=_cut(violation.field, _MAX_DESCRIPTION),
            description=_cut(violation.description, _MAX_DESCRIPTION),
            reason=violation.reason,
        )
        left = len(error.violations) - position
        full = request.ByteSize() + added.ByteSize() > room or position == _MAX_VIOLATIONS
        if full and request.field_violations:
            rest = f"{left} more violations are not shown: mend these first."
            request.field_violations[-1].description = _cut(
                request.field_violations[-1].description, _MAX_DESCRIPTION - len(rest) - 1
            )
            request.field_violations[-1].description += f" {rest}"
            break
        request.field_violations.append(added)
    return request


def _packed(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
