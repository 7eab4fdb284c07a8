"""What callers want of models that exist, from the wire to the domain. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from isogloss.v1.model_event_pb2 import ModelEvent
from isogloss.v1.model_pb2 import Model
from isogloss.v1.model_service_pb2 import ListModelsRequest, UpdateModelRequest
from services.common import choices, names
from services.common.errors import FieldViolation, InvalidArgument
from services.common.names import Collection
from services.trainer import starts
from services.trainer.control import Change
from services.trainer.history import Kind
from services.trainer.models import Filter
from services.trainer.state import State

_MUTABLE = ("display_name", "webhook_uri")
_STATES: dict[int, State] = {Model.State.Value(f"STATE_{state}"): state for state in State}
_STATE_NAMES = [f"STATE_{state}" for state in State]
_KINDS: dict[int, Kind] = {
    ModelEvent.KIND_STATE_CHANGE: Kind.ENTERED,
    ModelEvent.KIND_STEP_METRICS: Kind.MEASURED,
    ModelEvent.KIND_LOG_LINE: Kind.LOGGED,
}


def change(request: UpdateModelRequest) -> Change:
    """Return what a caller wants to change.

    Raises:
        InvalidArgument: Naming every path of the mask that cannot be changed.
    """
    wanted = request.model
    paths = set(request.update_mask.paths) or {path for path in _MUTABLE if getattr(wanted, path)}
    if "*" in paths:
        paths = set(_MUTABLE)
    wrong = [f"{path!r} cannot be changed" for path in sorted(paths.difference(_MUTABLE))]
    if wrong or not paths:
        found = ", ".join(wrong) or "nothing is to change"
        description = f"{found}: only {' and '.join(_MUTABLE)} can; set one, or name it here."
        raise InvalidArgument(FieldViolation(field="update_mask", description=description))
    return Change(
        display_name=wanted.display_name if "display_name" in paths else None,
        webhook_uri=wanted.webhook_uri if "webhook_uri" in paths else None,
        etag=wanted.etag,
    )


def model_filter(request: ListModelsRequest) -> Filter:
    """Return which models a caller wants listed.

    Raises:
        InvalidArgument: Naming every field that is wrong.
    """
    violations: list[FieldViolation] = []
    states = choices.read(
        request.states, _STATES, field="states", words=_STATE_NAMES, violations=violations
    )
    if len(request.query) > names.MAX_DISPLAY_NAME or "\0" in request.query:
        description = (
            f"is no part of a display name, which has {names.MAX_DISPLAY_NAME} characters."
        )
        violations.append(FieldViolation(field="query", description=description))
    dataset = request.dataset and names.read_id(
        request.dataset, Collection.DATASETS, field="dataset", violations=violations
    )
    base = request.base_model and starts.read(
        request.base_model, field="base_model", violations=violations
    )
    if violations:
        raise InvalidArgument(violations)
    return Filter(states=states, name_part=request.query, dataset=dataset, base_model=base)


def event_kinds(numbers: Iterable[int]) -> tuple[Kind, ...]:
    """Return the kinds of a filter, each once.

    Raises:
        InvalidArgument: Where one is unspecified or unknown.
    """
    violations: list[FieldViolation] = []
    words = ModelEvent.Kind.keys()[1:]
    found = choices.read(numbers, _KINDS, field="kinds", words=words, violations=violations)
    if violations:
        raise InvalidArgument(violations)
    return found


def model_id(name: str, field: str = "name") -> str:
    """Return the id in the full name of a model.

    Raises:
        InvalidArgument: Where it is no such name.
    """
    return names.parse(name, Collection.MODELS, field=field).id
