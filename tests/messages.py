"""Three hundred and twenty-four short messages as people keep them: `My order was late, 0`."""

from __future__ import annotations

_THINGS = (
    "order",
    "parcel",
    "refund",
    "invoice",
    "delivery",
    "courier",
    "app",
    "account",
    "voucher",
    "exchange",
    "return label",
    "replacement",
    "subscription",
    "receipt",
    "repair",
    "booking",
    "upgrade",
    "support call",
)
_COMPLAINTS = (
    "My {} was late",
    "The {} was a mess from start to end",
    "I am still waiting for my {}",
    "Nobody could tell me where my {} was",
    "I am fed up with this {}",
    "The {} was wrong again",
    "Your {} cost me a whole day",
    "I had to ask five times about the {}",
    "What a disappointing {}",
)
_PRAISE = (
    "My {} was quick",
    "The {} went better than I hoped",
    "Thank you for sorting out my {}",
    "I could not be happier with the {}",
    "The {} was exactly what I asked for",
    "Your team made the {} easy",
    "A very smooth {}",
    "The {} was done before I noticed",
    "What a pleasant {}",
)

ROWS = tuple(
    (template.format(thing), label)
    for thing in _THINGS
    for template, label in (
        *((complaint, "0") for complaint in _COMPLAINTS),
        *((praise, "1") for praise in _PRAISE),
    )
)


def as_csv(rows: tuple[tuple[str, str], ...] = ROWS) -> bytes:
    """Return the rows without a header, with a blank after the comma."""
    return "".join(f"{text}, {label}\n" for text, label in rows).encode()
