from __future__ import annotations

import inspect

import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from isogloss.v1.error_reason_pb2 import ErrorReason
from services.common import errors
from services.common.errors import FieldViolation, Reason
from services.common.status import CODES, DOMAIN, code_of, message_of, to_status

FAMILY = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, errors.IsoglossError)
]


def details_of(status: status_pb2.Status) -> dict[str, Message]:
    kinds = (
        details.ErrorInfo,
        details.BadRequest,
        details.ResourceInfo,
        details.PreconditionFailure,
        details.RetryInfo,
    )
    found: dict[str, Message] = {}
    for packed in status.details:
        for kind in kinds:
            message = kind()
            if packed.Unpack(message):
                assert kind.__name__ not in found, "each kind at most once"
                found[kind.__name__] = message
    assert len(found) == len(status.details)
    return found


def example(kind: type[errors.IsoglossError]) -> errors.IsoglossError:
    if kind is errors.InvalidArgument:
        return errors.InvalidArgument(FieldViolation(field="a", description="b"))
    if kind is errors.NotFound:
        return errors.NotFound("models/a")
    return kind("What was found. What to do.", metadata={"key": "value"})


def test_table_holds_the_whole_family_and_no_code_twice() -> None:
    assert set(CODES) == set(FAMILY)
    assert len(set(CODES.values())) == len(CODES)


def test_every_reason_is_public() -> None:
    public = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118 - no dict

    assert public == {*Reason, "UNSPECIFIED"}


@pytest.mark.parametrize("kind", FAMILY)
def test_every_error_carries_its_reason(kind: type[errors.IsoglossError]) -> None:
    error = example(kind)

    status = to_status(error)

    info = details_of(status)["ErrorInfo"]
    assert isinstance(info, details.ErrorInfo)
    assert (info.domain, info.reason) == (DOMAIN, error.default_reason)
    assert dict(info.metadata) == error.metadata
    assert status.code == code_of(error).value[0]
    assert status.message == error.message


def test_subclass_has_the_code_of_its_class() -> None:
    class Special(errors.FailedPrecondition):
        pass

    assert code_of(Special("x")) == CODES[errors.FailedPrecondition]


def test_all_violations_are_told() -> None:
    violations = [
        FieldViolation(field=f"texts[{n}]", description="is empty.", reason=Reason.TEXT_TOO_LONG)
        for n in range(3)
    ]

    found = details_of(to_status(errors.InvalidArgument(violations)))["BadRequest"]

    assert isinstance(found, details.BadRequest)
    assert [(v.field, v.description, v.reason) for v in found.field_violations] == [
        (f"texts[{n}]", "is empty.", "TEXT_TOO_LONG") for n in range(3)
    ]


@pytest.mark.parametrize("character", ["x", "日", "%"])
def test_status_always_fits_the_trailers(character: str) -> None:
    violations = [
        FieldViolation(field=character * 500, description=character * 5000) for _ in range(1000)
    ]
    error = errors.InvalidArgument(violations, metadata={"text": character * 5000})

    status = to_status(error)

    assert status.ByteSize() <= 5 * 1024
    found = details_of(status)["BadRequest"]
    assert isinstance(found, details.BadRequest)
    shown = len(found.field_violations)
    assert shown >= 1
    assert f"{1000 - shown} more violations" in found.field_violations[-1].description
    assert len(message_of(error).encode()) <= 900


def test_many_short_violations_tell_how_many_are_left_out() -> None:
    violations = [FieldViolation(field=f"t[{n}]", description="empty.") for n in range(100)]

    found = details_of(to_status(errors.InvalidArgument(violations)))["BadRequest"]

    assert isinstance(found, details.BadRequest)
    assert len(found.field_violations) == 20
    assert found.field_violations[-1].description.endswith(
        "80 more violations are not shown: mend these first."
    )


def test_what_is_missing_is_named() -> None:
    found = details_of(to_status(errors.NotFound("models/a")))["ResourceInfo"]

    assert found == details.ResourceInfo(resource_type="models", resource_name="models/a")


def test_what_stands_in_the_way_is_named() -> None:
    error = errors.FailedPrecondition(
        "In use.", reason=Reason.DATASET_IN_USE, subjects=["models/a", "models/b"]
    )

    found = details_of(to_status(error))["PreconditionFailure"]

    assert isinstance(found, details.PreconditionFailure)
    assert [v.subject for v in found.violations] == ["models/a", "models/b"]
    assert {v.type for v in found.violations} == {"DATASET_IN_USE"}


def test_when_to_retry_is_told_only_where_it_helps() -> None:
    found = details_of(to_status(errors.Unavailable("x", retry_after=1.5)))["RetryInfo"]

    assert isinstance(found, details.RetryInfo)
    assert found.retry_delay.ToMilliseconds() == 1500
    assert "RetryInfo" not in details_of(to_status(errors.Unavailable("x")))
