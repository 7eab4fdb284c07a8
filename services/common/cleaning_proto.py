"""`Cleaning` on the wire and in manifests. Pure; the only place that knows both forms."""

from __future__ import annotations

from isogloss.v1 import cleaning_pb2
from services.common.cleaning import Cleaning, Replacement
from services.common.errors import FieldViolation

_REPLACEMENTS = {
    Replacement.KEEP: cleaning_pb2.Cleaning.REPLACEMENT_UNSPECIFIED,
    Replacement.REMOVE: cleaning_pb2.Cleaning.REPLACEMENT_REMOVE,
    Replacement.MASK: cleaning_pb2.Cleaning.REPLACEMENT_MASK,
}
_REPLACEMENTS_BACK = {number: replacement for replacement, number in _REPLACEMENTS.items()}


def cleaning_to_proto(cleaning: Cleaning) -> cleaning_pb2.Cleaning:
    """Return the declared steps."""
    return cleaning_pb2.Cleaning(
        fix_text=cleaning.fix_text,
        strip_html=cleaning.strip_html,
        urls=_REPLACEMENTS[cleaning.urls],
        emails=_REPLACEMENTS[cleaning.emails],
        user_names=_REPLACEMENTS[cleaning.user_names],
        remove_symbols=cleaning.remove_symbols,
    )


def cleaning_from_proto(message: cleaning_pb2.Cleaning) -> Cleaning:
    """Read the declared steps.

    Raises:
        ValueError: Where a replacement is none that this release knows; see
            `unknown_replacements`.
    """
    for violation in unknown_replacements(message, field="cleaning"):
        msg = f"{violation.field}: {violation.description}"
        raise ValueError(msg)
    return Cleaning(
        fix_text=message.fix_text,
        strip_html=message.strip_html,
        urls=_REPLACEMENTS_BACK[message.urls],
        emails=_REPLACEMENTS_BACK[message.emails],
        user_names=_REPLACEMENTS_BACK[message.user_names],
        remove_symbols=message.remove_symbols,
    )


def unknown_replacements(message: cleaning_pb2.Cleaning, *, field: str) -> list[FieldViolation]:
    """Return what a caller has to mend.

    Args:
        message: What was sent.
        field: Path of the message in the request.
    """
    return [
        FieldViolation(
            field=f"{field}.{name}",
            description=f"{number} is unknown: send REPLACEMENT_REMOVE, REPLACEMENT_MASK or "
            "nothing.",
        )
        for name, number in (
            ("urls", message.urls),
            ("emails", message.emails),
            ("user_names", message.user_names),
        )
        if number not in _REPLACEMENTS_BACK
    ]
