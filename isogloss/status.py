"""What a server answers when it refuses, as the exceptions of this package."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import cast
from urllib.parse import unquote

import grpc
from google.rpc import error_details_pb2, status_pb2

from isogloss import errors

_DETAILS = "grpc-status-details-bin"
_LOST_WHILE_SENDING = (grpc.StatusCode.INTERNAL, "Internal error from Core")
"""What grpc.aio says, now and then, instead of the status with which a stream that it wrote to has
ended."""

_TEXT = re.compile(r"texts\[(\d+)\]")

_CODES = {code.value[0]: code for code in grpc.StatusCode}


def error_from_rpc(call: grpc.RpcError) -> errors.IsoglossError:
    """Turn what gRPC raised into what this package raises."""
    code, text = call.code(), call.details() or ""
    if (code, text) == _LOST_WHILE_SENDING:
        return errors.Unavailable("The connection broke while a message was being sent.")
    trailers = cast("Iterable[tuple[str, str | bytes]]", call.trailing_metadata() or ())
    found = dict(trailers)
    packed = found.get(_DETAILS)
    status = status_pb2.Status(code=code.value[0], message=_readable(text))
    if isinstance(packed, bytes):
        status = status_pb2.Status.FromString(packed)
    return error_from_status(status, request_id=str(found.get("x-request-id", "")))


def _readable(text: str) -> str:
    """Say in words what gRPC says of an address that it cannot reach."""
    found = re.search(r"\b(?:ipv4|ipv6|unix):(\S+): (?:[Ff]ailed to connect.*?: )?([^;]+)$", text)
    if found is None:
        return text
    where, why = unquote(found[1]), found[2].rstrip(". ")
    if "handshake failed" in why.lower():
        if "WRONG_VERSION_NUMBER" in why:
            return f"No secure connection to {where}: the server there does not speak TLS."
        cause = re.search(r"CERTIFICATE\w*: ([a-z ]+)", why)
        return f"No secure connection to {where}: {cause[1] if cause else why}."
    return f"Nobody answers at {where}: {why}."


def error_from_status(status: status_pb2.Status, *, request_id: str = "") -> errors.IsoglossError:
    """Turn a `google.rpc.Status` into an exception; details that are unknown are left out."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    reason, metadata, retry_after = "", {}, None
    violations: list[errors.Violation] = []
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        request = error_details_pb2.BadRequest()
        state = error_details_pb2.PreconditionFailure()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(request):
            violations += [
                errors.Violation(field=v.field, description=v.description, reason=v.reason)
                for v in request.field_violations
            ]
        elif detail.Unpack(state):
            violations += [
                errors.Violation(field=v.subject, description=v.description, reason=v.type)
                for v in state.violations
            ]
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    return errors.BY_CODE.get(code, errors.ServerError)(
        status.message or f"The server answered {code.name} and gave no reason.",
        code=code,
        reason=reason,
        metadata=metadata,
        violations=violations,
        retry_after=retry_after,
        request_id=request_id,
    )


def shifted(error: errors.IsoglossError, start: int) -> errors.IsoglossError:
    """Count an error's `texts[i]` from the first of all texts instead of a part's first."""

    def shift(text: str) -> str:
        return _TEXT.sub(lambda match: f"texts[{int(match[1]) + start}]", text)

    return type(error)(
        shift(error.message),
        code=error.code,
        reason=error.reason,
        metadata=error.metadata,
        violations=[
            errors.Violation(
                field=shift(found.field),
                description=shift(found.description),
                reason=found.reason,
            )
            for found in error.violations
        ],
        retry_after=error.retry_after,
        request_id=error.request_id,
    )
