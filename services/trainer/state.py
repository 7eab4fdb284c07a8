"""The life of a model. Knows nothing of where it is stored."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a model is in its life; the members of `isogloss.v1.Model.State`."""

    QUEUED = "QUEUED"
    TRAINING = "TRAINING"
    EXPORTING = "EXPORTING"
    READY = "READY"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    PAUSED = "PAUSED"

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self in (State.READY, State.FAILED, State.CANCELLED)


ACTIVE = (State.QUEUED, State.TRAINING, State.EXPORTING)
"""The states in which a trainer has or will have work with a model."""
