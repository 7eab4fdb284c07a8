"""What callers want, from the wire to the domain. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from difflib import get_close_matches

from isogloss.v1 import dataset_pb2
from isogloss.v1 import dataset_service_pb2 as messages
from services.common import choices
from services.common.errors import FieldViolation, InvalidArgument
from services.common.names import MAX_DISPLAY_NAME
from services.ingest.convert.datasets import split_from_proto
from services.ingest.convert.enums import FORMATS_BACK, STATES
from services.ingest.convert.options import options_from_proto
from services.ingest.creation import NewDataset
from services.ingest.dataset import Format, Split, State
from services.ingest.finding import Code
from services.ingest.published.download import Content, Wanted
from services.ingest.registry import Change

_STATES_BACK: dict[int, State] = {number: state for state, number in STATES.items()}
_MUTABLE = ("display_name", "expire_time")

_CODES = frozenset(Code)
_SHOWN = 60
_MAX_VIOLATIONS = 20

_Request = messages.DownloadDatasetRequest
_CONTENTS = {
    _Request.CONTENT_UNSPECIFIED: Content.ROWS,
    _Request.CONTENT_ROWS: Content.ROWS,
    _Request.CONTENT_FINDINGS: Content.FINDINGS,
    _Request.CONTENT_RAW: Content.RAW,
}


def new_dataset_from_proto(message: dataset_pb2.Dataset) -> NewDataset:
    """Return what a caller wants to be created.

    Raises:
        InvalidArgument: Where an option is no value of its enumeration, or a time is none.
    """
    return NewDataset(
        display_name=message.display_name,
        options=options_from_proto(message.options),
        expire_time=_expire_time(message),
    )


def change_from_proto(request: messages.UpdateDatasetRequest) -> Change:
    """Return what is to become of a dataset.

    Raises:
        InvalidArgument: Naming every path of the mask that cannot be changed.
    """
    dataset = request.dataset
    paths = set(request.update_mask.paths)
    if not paths:
        paths = {path for path in _MUTABLE if _is_set(dataset, path)}
    if "*" in paths:
        paths = set(_MUTABLE)
    wrong = sorted(paths.difference(_MUTABLE))
    if wrong:
        raise InvalidArgument(
            [
                FieldViolation(
                    field="update_mask",
                    description=f"{path!r} cannot be changed: only {' and '.join(_MUTABLE)} can.",
                )
                for path in wrong
            ]
        )
    if not paths:
        raise InvalidArgument(
            FieldViolation(
                field="update_mask",
                description=f"nothing is to change: set {' or '.join(_MUTABLE)}, and name it here "
                "to take it away.",
            )
        )
    return Change(
        display_name=dataset.display_name if "display_name" in paths else None,
        expires="expire_time" in paths,
        expire_time=_expire_time(dataset),
        etag=dataset.etag,
    )


def wanted_from_proto(request: messages.DownloadDatasetRequest) -> Wanted:
    """Return what a caller wants of a dataset.

    Raises:
        InvalidArgument: Naming every field that is wrong or says nothing here.
    """
    violations: list[FieldViolation] = []

    def wrong(field: str, description: str) -> None:
        violations.append(FieldViolation(field=field, description=description))

    content = _CONTENTS.get(request.content, Content.ROWS)
    if request.content not in _CONTENTS:
        wrong("content", f"{request.content} is no value of Content.")
    if request.format not in FORMATS_BACK:
        wrong("format", f"{request.format} is no value of FileFormat.")
    elif request.format and content is Content.RAW:
        wrong("format", "is for rows and findings: files are sent as they were uploaded.")
    if request.split and content is Content.FINDINGS:
        wrong("split", "is not for findings: they are those of all splits.")
    if violations:
        raise InvalidArgument(violations)
    return Wanted(
        content=content,
        split=None if content is Content.FINDINGS else split_from_proto(request.split),
        format=FORMATS_BACK[request.format] if request.format else Format.PARQUET,
    )


def sources_from_proto(sources: Iterable[messages.ImportSource]) -> list[tuple[Split, str]]:
    """Return which file each source becomes, and where it lies.

    Raises:
        InvalidArgument: Where a split is unspecified or unknown.
    """
    return [
        (split_from_proto(source.split, field=f"sources[{position}].split"), source.uri)
        for position, source in enumerate(sources)
    ]


def query_from_proto(query: str) -> str:
    """Return the part of a name that a caller looks for.

    Raises:
        InvalidArgument: Where no name can hold it.
    """
    if len(query) > MAX_DISPLAY_NAME or "\0" in query:
        raise InvalidArgument(
            FieldViolation(
                field="query",
                description=f"is no part of a display name: send at most {MAX_DISPLAY_NAME} "
                "characters of one.",
            )
        )
    return query


def codes_from_proto(codes: Iterable[str]) -> tuple[str, ...]:
    """Return the codes of a filter, each once.

    Raises:
        InvalidArgument: Where one is no code: nothing would be found, whatever there is.
    """
    codes = tuple(dict.fromkeys(codes))
    wrong = [(position, code) for position, code in enumerate(codes) if code not in _CODES]
    if wrong:
        raise InvalidArgument(
            [
                FieldViolation(
                    field=f"codes[{position}]",
                    description=f"`{code[:_SHOWN]}` is no code of a finding{_instead(code)}.",
                )
                for position, code in wrong[:_MAX_VIOLATIONS]
            ]
        )
    return codes


def _instead(code: str) -> str:
    near = get_close_matches(code[:_SHOWN], _CODES, n=1)
    return f"; perhaps `{near[0]}` is meant" if near else ""


def states_from_proto(
    numbers: Iterable[dataset_pb2.Dataset.State.ValueType],
) -> tuple[State, ...]:
    """Return the states of a filter, each once.

    Raises:
        InvalidArgument: Where one is unspecified or unknown.
    """
    violations: list[FieldViolation] = []
    words = [f"STATE_{state}" for state in State]
    found = choices.read(numbers, _STATES_BACK, field="states", words=words, violations=violations)
    if violations:
        raise InvalidArgument(violations)
    return found


def _is_set(dataset: dataset_pb2.Dataset, path: str) -> bool:
    return dataset.HasField("expire_time") if path == "expire_time" else bool(dataset.display_name)


def _expire_time(dataset: dataset_pb2.Dataset) -> datetime | None:
    if not dataset.HasField("expire_time"):
        return None
    try:
        return dataset.expire_time.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidArgument(
            FieldViolation(
                field="dataset.expire_time", description="is no time between the years 1 and 9999."
            )
        ) from None
