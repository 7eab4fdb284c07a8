"""Reads the texts of a call for a model: cleaned, tokenised, or refused with its position."""

from __future__ import annotations

from services.common.errors import FieldViolation, InvalidArgument, Reason
from services.inference.limits import text_violation
from services.inference.model import Model
from services.inference.tokenization import TextTooLong, TokenisedText, Truncation

# Texts that are refused as too long are counted to their end up to this many characters in a
# call, some 0.5 s of work; of others the caller hears that there are more tokens than were seen.
_COUNTED_CHARACTERS = 256 * 1024


class CallReader:
    """Reads the texts of one call, each by itself."""

    def __init__(self, model: Model, truncation: Truncation) -> None:
        """Read for `model`, and do with texts that are too long as `truncation` says."""
        self._model = model
        self._truncation = truncation
        self._left_to_count = _COUNTED_CHARACTERS

    def read(self, position: int, sent: str) -> TokenisedText | FieldViolation:
        """Return the text as the graph takes it, or what is wrong with it."""
        if (violation := text_violation(position, sent)) is not None:
            return violation
        text = self._model.clean(sent)
        if not text:
            return self._empty(position)
        try:
            return self._model.reader.read(text, self._truncation)
        except TextTooLong as too_long:
            return self._too_long(position, text, too_long)

    def refusal(self, *violations: FieldViolation) -> InvalidArgument:
        """Return the error of what `read` found."""
        return InvalidArgument(violations, metadata={"max_tokens": str(self._model.max_tokens)})

    def _empty(self, position: int) -> FieldViolation:
        return FieldViolation(
            field=f"texts[{position}]",
            description=(
                f"is empty once it is cleaned as the texts were that {self._model.name} learnt "
                "from. Leave it out, or send what it should say."
            ),
        )

    def _too_long(self, position: int, text: str, too_long: TextTooLong) -> FieldViolation:
        has = str(too_long.token_count)
        if not too_long.exact:
            counts = len(text) <= self._left_to_count
            self._left_to_count -= len(text)
            has = str(self._model.reader.count(text)) if counts else f"more than {has}"
        return FieldViolation(
            field=f"texts[{position}]",
            description=(
                f"has {has} tokens, {self._model.name} takes {self._model.max_tokens}. Shorten "
                "it, or let truncation be START or END."
            ),
            reason=Reason.TEXT_TOO_LONG,
        )
