"""What examples a call may bring, and what is wrong with others. Knows no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.common.errors import FieldViolation, Reason
from services.inference.limits import text_violation

MAX_EXAMPLES = 2500
"""Examples of one call, at most."""

MAX_LABEL_CHARACTERS = 256

_LEAST = 2
"""Labels, and examples of each of them."""

_NAMED = 20
"""Labels that one message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Texts and the label of each."""

    texts: Sequence[str]
    labels: Sequence[str]

    @property
    def distinct(self) -> tuple[str, ...]:
        """Every label once, in the order in which they come first."""
        return tuple(dict.fromkeys(self.labels))


def examples_violations(examples: Examples) -> Iterator[FieldViolation]:
    """Yield all that is wrong with examples whatever the model."""
    count = len(examples.texts)
    if count > MAX_EXAMPLES:
        yield FieldViolation(
            field="examples",
            description=(
                f"has {count} examples, {MAX_EXAMPLES} are taken at most. Send fewer, or train a "
                "model on them with `isogloss models create`, which also knows more from more."
            ),
            reason=Reason.LIMIT_EXCEEDED,
        )
        return
    for position, (text, label) in enumerate(zip(examples.texts, examples.labels, strict=True)):
        wrong = text_violation(position, text)
        if wrong is not None:
            yield FieldViolation(
                field=f"examples[{position}].text",
                description=wrong.description,
                reason=wrong.reason,
            )
        if not label or label.isspace() or len(label) > MAX_LABEL_CHARACTERS:
            found = f"has {len(label)} characters" if label.strip() else "is empty"
            yield FieldViolation(
                field=f"examples[{position}].label",
                description=f"{found}. Send a label of 1 to {MAX_LABEL_CHARACTERS} characters.",
            )
    yield from _counts(Counter(filter(str.strip, examples.labels)))


def _counts(counts: Counter[str]) -> Iterator[FieldViolation]:
    if len(counts) < _LEAST:
        yield FieldViolation(
            field="examples",
            description=(
                f"have {len(counts)} label. Send examples of {_LEAST} labels at least: nothing "
                "can be told apart from itself."
            ),
        )
        return
    few = [label for label, count in counts.items() if count < _LEAST]
    if few:
        named = ", ".join(repr(label) for label in few[:_NAMED])
        others = f" and {len(few) - _NAMED} more labels" if len(few) > _NAMED else ""
        yield FieldViolation(
            field="examples",
            description=(
                f"have fewer than {_LEAST} of {named}{others}. Send {_LEAST} examples of each "
                "label at least."
            ),
        )
