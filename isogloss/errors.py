"""What can go wrong, as exceptions. Knows neither protobuf nor the transport.

A class stands for what a caller can do about it, `reason` for what happened.

    IsoglossError
    ├── InvalidArgument      INVALID_ARGUMENT     mend the fields in `violations`
    ├── NotFound             NOT_FOUND            no such resource for this caller
    ├── AlreadyExists        ALREADY_EXISTS       the name or the request id is taken
    ├── FailedPrecondition   FAILED_PRECONDITION  wait, or do the thing named first
    │   └── DatasetRefused   (Dataset.error)      validation said no: `violations` says why
    ├── Aborted              ABORTED              somebody was faster: read again, then retry
    ├── OutOfRange           OUT_OF_RANGE         an upload goes on at another offset
    ├── Unauthenticated      UNAUTHENTICATED      no key, or an unknown one
    ├── PermissionDenied     PERMISSION_DENIED    the key's role does not allow this
    ├── ResourceExhausted    RESOURCE_EXHAUSTED   a limit, or too much at once
    ├── Unavailable          UNAVAILABLE          nobody answers there, or a dependency is down
    ├── DeadlineExceeded     DEADLINE_EXCEEDED    the `timeout` was over first
    ├── Cancelled            CANCELLED            the call was given up
    │   └── ModelCancelled   (Model.state)        somebody cancelled the run that was waited for
    ├── DataLoss             DATA_LOSS            a stored file is missing or damaged
    ├── ServerError          any other code       a fault of the server: see its log
    │   └── ModelFailed      (Model.error)        the run that was waited for failed
    ├── ConfigurationError   (this client)        an address, key or certificate cannot be used
    └── MissingPackage       (this client)        a table needs a package that is not installed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grpc import StatusCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One thing that is wrong."""

    field: str
    """What is wrong: a field such as `texts[3]`, or a resource that is in the way."""

    description: str
    """What was found, and what to send or do instead."""

    reason: str = ""
    """What happened, for programs; a value of `isogloss.v1.ErrorReason` without its prefix."""


class IsoglossError(Exception):
    """Base of everything that this package raises on purpose.

    Attributes:
        message: One or two sentences for a person: what was found and what to do.
        code: The gRPC status code.
        reason: What happened, for programs; a value of `isogloss.v1.ErrorReason` without its
            prefix. Empty where no server of ours answered.
        metadata: Every variable part of the message.
        violations: All things that are wrong at once; empty where the message says it all.
        retry_after: Seconds after which the same request may succeed; None where the server
            names no such time.
        request_id: Under which the server's log has the call; empty where it named none.
    """

    default_code = StatusCode.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        code: StatusCode | None = None,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_after: float | None = None,
        request_id: str = "",
    ) -> None:
        """Keep the message and what programs read."""
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after
        self.request_id = request_id


class InvalidArgument(IsoglossError):
    """The request is wrong whatever the state of the server; `violations` names every field."""

    default_code = StatusCode.INVALID_ARGUMENT


class NotFound(IsoglossError):
    """No such resource for this caller; another tenant's counts as absent."""

    default_code = StatusCode.NOT_FOUND


class AlreadyExists(IsoglossError):
    """The name is taken, or the request id was used with another request."""

    default_code = StatusCode.ALREADY_EXISTS


class FailedPrecondition(IsoglossError):
    """The request is right, the server's state is not; `violations` says what is in the way."""

    default_code = StatusCode.FAILED_PRECONDITION


class DatasetRefused(FailedPrecondition):
    """Validation refused the dataset that was waited for; its findings can be listed."""


class Aborted(IsoglossError):
    """A concurrent change came first."""

    default_code = StatusCode.ABORTED


class OutOfRange(IsoglossError):
    """An upload does not go on where the stored bytes end."""

    default_code = StatusCode.OUT_OF_RANGE


class Unauthenticated(IsoglossError):
    """No key was sent, or one that the server does not know."""

    default_code = StatusCode.UNAUTHENTICATED


class PermissionDenied(IsoglossError):
    """The key is known, but its role does not allow the call."""

    default_code = StatusCode.PERMISSION_DENIED


class ResourceExhausted(IsoglossError):
    """A limit or the capacity of the server is reached."""

    default_code = StatusCode.RESOURCE_EXHAUSTED


class Unavailable(IsoglossError):
    """Nobody answers at the address, or something that the server needs is down."""

    default_code = StatusCode.UNAVAILABLE


class DeadlineExceeded(IsoglossError):
    """The time that the call was given is over."""

    default_code = StatusCode.DEADLINE_EXCEEDED


class Cancelled(IsoglossError):
    """The call was given up before it had an answer."""

    default_code = StatusCode.CANCELLED


class ModelCancelled(Cancelled):
    """Somebody cancelled the run that was waited for."""


class DataLoss(IsoglossError):
    """A stored file is missing or fails its checksum."""

    default_code = StatusCode.DATA_LOSS


class ServerError(IsoglossError):
    """A fault of the server; its log has the details."""

    default_code = StatusCode.INTERNAL


class ModelFailed(ServerError):
    """The run that was waited for failed for good."""


class ConfigurationError(IsoglossError):
    """An address, a key or a certificate that this client was given cannot be used."""

    default_code = StatusCode.INVALID_ARGUMENT


class MissingPackage(IsoglossError, ImportError):
    """A package that a table is to be read with, or made of, is not installed here."""

    default_code = StatusCode.FAILED_PRECONDITION


BY_CODE: Mapping[StatusCode, type[IsoglossError]] = {
    error.default_code: error
    for error in (
        InvalidArgument,
        NotFound,
        AlreadyExists,
        FailedPrecondition,
        Aborted,
        OutOfRange,
        Unauthenticated,
        PermissionDenied,
        ResourceExhausted,
        Unavailable,
        DeadlineExceeded,
        Cancelled,
        DataLoss,
    )
}
"""The one table from a gRPC code to what is raised; what it does not hold is a `ServerError`."""
