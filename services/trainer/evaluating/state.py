"""The life of an evaluation. Knows nothing of where it is stored."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where an evaluation is in its life; the members of `isogloss.v1.Evaluation.State`."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    READY = "READY"
    FAILED = "FAILED"


ACTIVE = (State.QUEUED, State.RUNNING)
"""The states from which something follows."""
