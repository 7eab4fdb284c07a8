"""Reads the texts of a call for a model: cleaned, tokenised, or refused with its position."""

from __future__ import annotations

from collections.abc import Sequence

from services.common.errors import FieldViolation, InvalidArgument, Reason
from services.inference.limits import text_violation
from services.inference.model import Model
from services.inference.tokenization import (
    InputType,
    ShownText,
    TextTooLong,
    TokenisedText,
    Truncation,
)

# Texts that are refused as too long are counted to their end up to this many characters in a
# call, some 0.5 s of work; of others the caller hears that there are more tokens than were seen.
_COUNTED_CHARACTERS = 256 * 1024


class CallReader:
    """Reads the texts of one call, each by itself."""

    def __init__(
        self, model: Model, truncation: Truncation, input_type: InputType | None = None
    ) -> None:
        """Read texts of a type for `model`, and cut those that are too long as it is said."""
        self._model = model
        self._reader = model.reader_of(input_type)
        self._truncation = truncation
        self._left_to_count = _COUNTED_CHARACTERS

    def read(self, position: int, sent: str) -> TokenisedText | FieldViolation:
        """Return the text as the graph takes it, or what is wrong with it."""
        text = self._clean(position, sent)
        if not isinstance(text, str):
            return text
        try:
            return self._reader.read(text, self._truncation)
        except TextTooLong as too_long:
            return self._too_long(position, text, too_long)

    def show(self, position: int, sent: str) -> ShownText | FieldViolation:
        """Return the text with its tokens as words, or what is wrong with it."""
        text = self._clean(position, sent)
        return self._reader.show(text, self._truncation) if isinstance(text, str) else text

    def refusal(self, *violations: FieldViolation) -> InvalidArgument:
        """Return the error of what `read` found."""
        return InvalidArgument(violations, metadata={"max_tokens": str(self._model.max_tokens)})

    def _clean(self, position: int, sent: str) -> str | FieldViolation:
        if (violation := text_violation(position, sent)) is not None:
            return violation
        return self._model.clean(sent) or self._empty(position)

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
            has = str(self._reader.count(text)) if counts else f"more than {has}"
        return FieldViolation(
            field=f"texts[{position}]",
            description=(
                f"has {has} tokens, {self._model.name} takes {self._model.max_tokens}. Shorten "
                "it, or let truncation be START or END."
            ),
            reason=Reason.TEXT_TOO_LONG,
        )


def show(
    model: Model, texts: Sequence[str], truncation: Truncation, input_type: InputType | None
) -> list[ShownText]:
    """Return all texts of a call with their tokens as words.

    Raises:
        InvalidArgument: Naming every text of which cleaning leaves nothing.
    """
    reader = CallReader(model, truncation, input_type)
    shown = [reader.show(position, text) for position, text in enumerate(texts)]
    violations = [text for text in shown if isinstance(text, FieldViolation)]
    if violations:
        raise reader.refusal(*violations)
    return [text for text in shown if isinstance(text, ShownText)]
