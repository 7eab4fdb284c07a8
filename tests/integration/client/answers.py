"""What our servers answer when they refuse, packed as they pack it."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

Context = Any


def refusal(
    code: grpc.StatusCode,
    message: str,
    *details: Message,
    reason: str = "",
    metadata: dict[str, str] | None = None,
) -> status_pb2.Status:
    """Build the status that a server of ours would answer."""
    packed = []
    info = error_details_pb2.ErrorInfo(domain="isogloss", reason=reason, metadata=metadata or {})
    for detail in (info, *details):
        container = any_pb2.Any()
        container.Pack(detail)
        packed.append(container)
    return status_pb2.Status(code=code.value[0], message=message, details=packed)


def bad_request(*violations: tuple[str, str]) -> error_details_pb2.BadRequest:
    """Build the detail that names fields."""
    return error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(
                field=field, description=description, reason="INVALID_FIELD"
            )
            for field, description in violations
        ]
    )


def retry_after(seconds: int) -> error_details_pb2.RetryInfo:
    """Build the detail that says when to come back."""
    return error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=seconds))


def abort(context: Context, status: status_pb2.Status) -> NoReturn:
    """Answer a status the way our servers do."""
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    details = (("grpc-status-details-bin", status.SerializeToString()),)
    context.set_trailing_metadata(details)
    context.abort(code, status.message)
    raise AssertionError
