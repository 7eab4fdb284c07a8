"""What a caller is told whose texts were taken and not computed."""

from __future__ import annotations

from services.common.errors import DeadlineExceeded, IsoglossError, Unavailable

# After so many seconds another engine, or this one again, may compute.
_RETRY_SECONDS = 0.5


def too_late() -> DeadlineExceeded:
    """Return the error of a call whose time was over, or whose caller went away."""
    return DeadlineExceeded(
        "The time for this call was over before its texts were computed. Allow more time, or "
        "send fewer texts in one call."
    )


def stopping() -> Unavailable:
    """Return the error of a call that a server that stops does not finish."""
    return Unavailable("The server is stopping: call again.", retry_after=_RETRY_SECONDS)


def engine_died(model: str, position: int) -> Unavailable:
    """Return the error of a text that was lost with its engine.

    Args:
        model: Full resource name.
        position: Of the text in its call.
    """
    return Unavailable(
        f"The process that computed texts[{position}] with {model} has died and is started "
        "again. Send it once more.",
        metadata={"name": model, "position": str(position)},
        retry_after=_RETRY_SECONDS,
    )


def text_failed(model: str, position: int) -> IsoglossError:
    """Return the error of a text that could not be computed when it ran alone.

    Args:
        model: Full resource name.
        position: Of the text in its call.
    """
    return IsoglossError(
        f"{model} could not compute texts[{position}], also alone. The server's log says why; "
        "leave this text out, and tell the operator.",
        metadata={"name": model, "position": str(position)},
    )
