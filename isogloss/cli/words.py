"""Numbers and times as people say them."""

from __future__ import annotations

from datetime import UTC, datetime

from isogloss import TrainingEstimate
from isogloss.cli.safe import visible

_KILO = 1000
_HOUR = 60


def count(number: int, noun: str) -> str:
    """Say `1 row`, `2 rows`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def size(number: float) -> str:
    """Say a number of bytes."""
    for unit in ("B", "kB", "MB"):
        if number < _KILO:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= _KILO
    return f"{number:.2f} GB"


def duration(seconds: float) -> str:
    """Say a time span."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def estimated(estimate: TrainingEstimate) -> str:
    """Say what a training will need, no more exactly than it is known."""
    minutes = round(estimate.seconds / 60)
    time = f"{minutes} min" if 0 < minutes < _HOUR else duration(60 * max(1, minutes))
    return (
        f"about {time} in {count(estimate.total_steps, 'step')}, and up to "
        f"{size(estimate.peak_memory_bytes)} of memory"
    )


def ago(time: datetime | None) -> str:
    """Say how long something is past, roughly."""
    if time is None:
        return ""
    return f"{_span(int(max((datetime.now(UTC) - time).total_seconds(), 0)))} ago"


def until(time: datetime) -> str:
    """Say when something will be, and in how long."""
    seconds = int((time - datetime.now(UTC)).total_seconds())
    # Rounded up: 30 days from now are not 29 days and 23 hours a moment later.
    left = "due" if seconds <= 0 else f"in {_span(seconds + 3599)}"
    return f"{time:%Y-%m-%d %H:%M} UTC, {left}"


def _span(seconds: int) -> str:
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def short(text: str, most: int) -> str:
    """Cut a text to a number of characters, on one line, safe to print."""
    flat = visible(" ".join(text.split()))
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def percent(share: float) -> str:
    """Say a share of 1."""
    return f"{100 * share:.1f} %"
