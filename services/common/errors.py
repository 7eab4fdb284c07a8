"""The error family of the servers. Knows neither gRPC nor protobuf.

A class stands for what the caller can do about it; `Reason` for what happened.
`services.common.status` holds the one table from here to `google.rpc.Status`.

    IsoglossError
    ├── InvalidArgument      the request is wrong: mend the fields named
    ├── NotFound             no such resource for this caller
    ├── AlreadyExists        the name is taken
    ├── FailedPrecondition   right request, wrong state: wait or do the thing named first
    ├── Aborted              somebody else was faster: read again, then retry
    ├── OutOfRange           an upload continues at another offset: the one named
    ├── Unauthenticated      who are you
    ├── PermissionDenied     you may not
    ├── ResourceExhausted    too much at once: retry after the delay named
    ├── Unavailable          a dependency is down: retry after the delay named
    ├── DeadlineExceeded     the caller's time is over
    └── DataLoss             a stored artefact fails its checksum
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """What happened. Every member is a value of the public enum `isogloss.v1.ErrorReason`."""

    INVALID_FIELD = "INVALID_FIELD"
    RESOURCE_NOT_FOUND = "RESOURCE_NOT_FOUND"
    RESOURCE_EXISTS = "RESOURCE_EXISTS"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    STATE_CONFLICT = "STATE_CONFLICT"
    ETAG_MISMATCH = "ETAG_MISMATCH"
    UPLOAD_OFFSET_MISMATCH = "UPLOAD_OFFSET_MISMATCH"
    CHECKSUM_MISMATCH = "CHECKSUM_MISMATCH"
    DATASET_NOT_READY = "DATASET_NOT_READY"
    DATASET_IN_USE = "DATASET_IN_USE"
    DATASET_REFUSED = "DATASET_REFUSED"
    MODEL_NOT_READY = "MODEL_NOT_READY"
    MODEL_HAS_NO_HEAD = "MODEL_HAS_NO_HEAD"
    PRECISION_UNAVAILABLE = "PRECISION_UNAVAILABLE"
    TEXT_TOO_LONG = "TEXT_TOO_LONG"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    CREDENTIALS_MISSING = "CREDENTIALS_MISSING"
    CREDENTIALS_INVALID = "CREDENTIALS_INVALID"
    ROLE_INSUFFICIENT = "ROLE_INSUFFICIENT"
    OVERLOADED = "OVERLOADED"
    DEPENDENCY_UNAVAILABLE = "DEPENDENCY_UNAVAILABLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    ARTIFACT_CORRUPT = "ARTIFACT_CORRUPT"
    TRAINING_FAILED = "TRAINING_FAILED"
    INTERNAL = "INTERNAL"
    STORE_UNSUITABLE = "STORE_UNSUITABLE"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    DATASET_UNSUITABLE = "DATASET_UNSUITABLE"
    MODEL_IN_USE = "MODEL_IN_USE"
    ALIAS_BROKEN = "ALIAS_BROKEN"
    EVALUATION_MISSING = "EVALUATION_MISSING"
    EVALUATION_FAILED = "EVALUATION_FAILED"
    VECTOR_UNAVAILABLE = "VECTOR_UNAVAILABLE"
    NEIGHBOURS_UNAVAILABLE = "NEIGHBOURS_UNAVAILABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One thing wrong with one field of a request."""

    field: str
    """Path of the field as the caller wrote it, such as `texts[3]` or `options.delimiter`."""

    description: str
    """What was found, and what to send instead."""

    reason: Reason = Reason.INVALID_FIELD


class IsoglossError(Exception):
    """Base of all errors that a caller may see.

    Args:
        message: One or two sentences for a person: what was found and what to do.
        reason: What happened, for programs.
        metadata: Every variable part of the message, so that programs need not parse it.
        retry_after: Seconds after which the same request may succeed; None where a retry
            without a change cannot help.
    """

    default_reason = Reason.INTERNAL

    def __init__(
        self,
        message: str,
        *,
        reason: Reason | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Keep the message and what programs read."""
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after


class InvalidArgument(IsoglossError):
    """The request is wrong whatever the state of the system; names every field at once."""

    default_reason = Reason.INVALID_FIELD

    def __init__(
        self,
        violations: Sequence[FieldViolation] | FieldViolation,
        *,
        reason: Reason | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Build the message from the violations.

        Args:
            violations: One or more; the message quotes the first and counts the rest.
            reason: Defaults to the first violation's reason.
            metadata: As in `IsoglossError`.
        """
        found = (violations,) if isinstance(violations, FieldViolation) else tuple(violations)
        first = found[0]
        more = len(found) - 1
        suffix = f" (and {more} more field violation{'s' if more > 1 else ''})" if more else ""
        super().__init__(
            f"{first.field}: {first.description}{suffix}",
            reason=reason or first.reason,
            metadata=metadata,
        )
        self.violations = found


class NotFound(IsoglossError):
    """No resource of that name exists for this caller (another tenant's counts as absent)."""

    default_reason = Reason.RESOURCE_NOT_FOUND

    def __init__(self, name: str, *, hint: str = "") -> None:
        """Name what is missing.

        Args:
            name: Full resource name, such as `datasets/tone-ab12cd`.
            hint: What the caller may do, such as the command that lists what exists.
        """
        text = f"{name} was not found." + (f" {hint}" if hint else "")
        super().__init__(text, metadata={"name": name})
        self.name = name


class AlreadyExists(IsoglossError):
    """The name is taken."""

    default_reason = Reason.RESOURCE_EXISTS


class FailedPrecondition(IsoglossError):
    """The request is right, the state of the system is not."""

    default_reason = Reason.STATE_CONFLICT

    def __init__(
        self,
        message: str,
        *,
        reason: Reason | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        subjects: Sequence[str] = (),
    ) -> None:
        """Keep what stands in the way.

        Args:
            message: As in `IsoglossError`.
            reason: As in `IsoglossError`.
            metadata: As in `IsoglossError`.
            retry_after: As in `IsoglossError`.
            subjects: Full names of the resources that stand in the way, such as the models
                that use a dataset.
        """
        super().__init__(message, reason=reason, metadata=metadata, retry_after=retry_after)
        self.subjects = tuple(subjects)


class Aborted(IsoglossError):
    """A concurrent change came first."""

    default_reason = Reason.STATE_CONFLICT


class OutOfRange(IsoglossError):
    """An upload does not continue where the stored bytes end."""

    default_reason = Reason.UPLOAD_OFFSET_MISMATCH


class Unauthenticated(IsoglossError):
    """No credentials, or unknown ones."""

    default_reason = Reason.CREDENTIALS_MISSING


class PermissionDenied(IsoglossError):
    """Known caller, but the role does not allow the method."""

    default_reason = Reason.ROLE_INSUFFICIENT


class ResourceExhausted(IsoglossError):
    """A limit or the capacity of this server is reached."""

    default_reason = Reason.OVERLOADED


class Unavailable(IsoglossError):
    """Something this server needs does not answer."""

    default_reason = Reason.DEPENDENCY_UNAVAILABLE


class DeadlineExceeded(IsoglossError):
    """The caller's deadline passed."""

    default_reason = Reason.DEADLINE_EXCEEDED


class DataLoss(IsoglossError):
    """A stored artefact is missing or fails its checksum."""

    default_reason = Reason.ARTIFACT_CORRUPT
