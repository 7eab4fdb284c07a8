"""Names below a model: its evaluations, its map and its card. Pure strings."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.common import names
from services.common.errors import FieldViolation, InvalidArgument
from services.common.names import Collection

_PARTS = re.compile(r"(models/[^/]*)/(evaluation|evaluations/([a-z2-7]{12})|projection|card)")
_EVALUATION_FORMS = "models/ID/evaluation or models/ID/evaluations/ID"
_SINGLE = ("projection", "card")
_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationName:
    """One evaluation of a model."""

    model: str
    """Bare id."""

    evaluation: str
    """Bare id; empty: the one that the run left."""

    def __str__(self) -> str:
        """Return the full name."""
        tail = f"evaluations/{self.evaluation}" if self.evaluation else "evaluation"
        return f"models/{self.model}/{tail}"


def parse_evaluation(name: str) -> EvaluationName:
    """Take the name of either kind of evaluation apart.

    Raises:
        InvalidArgument: Where it has another form.
    """
    found = _PARTS.fullmatch(name)
    if found is None or found[2] in _SINGLE:
        raise _wrong(name, _EVALUATION_FORMS)
    return EvaluationName(
        model=_model(found[1], name, _EVALUATION_FORMS), evaluation=found[3] or ""
    )


def parse_projection(name: str) -> str:
    """Return the id of the model in `models/{model}/projection`.

    Raises:
        InvalidArgument: Where it has another form.
    """
    return _parse_single(name, "projection")


def parse_card(name: str) -> str:
    """Return the id of the model in `models/{model}/card`.

    Raises:
        InvalidArgument: Where it has another form.
    """
    return _parse_single(name, "card")


def _parse_single(name: str, part: str) -> str:
    form = f"models/ID/{part}"
    found = _PARTS.fullmatch(name)
    if found is None or found[2] != part:
        raise _wrong(name, form)
    return _model(found[1], name, form)


def _model(parent: str, name: str, form: str) -> str:
    try:
        return names.parse(parent, Collection.MODELS).id
    except InvalidArgument as error:
        # Told in the form that the method takes, not in that of a model's name.
        raise _wrong(name, form) from error


def _wrong(name: str, form: str) -> InvalidArgument:
    return InvalidArgument(
        FieldViolation(
            field="name", description=f"{name[:_SHOWN]!r} is no name of the form {form}."
        )
    )
