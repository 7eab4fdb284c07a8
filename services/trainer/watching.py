"""What one watcher of a model has seen, and what comes next. Knows no call."""

from __future__ import annotations

from dataclasses import dataclass

from services.trainer.models import Models
from services.trainer.tables import EventRow, ModelRow

_BATCH = 200
# A response is about 1 kB: a watcher that is far behind gets 200 kB at a time.


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a watcher is told."""

    row: ModelRow
    """The model as it is now."""

    queue_position: int
    """1 is the next; 0 where it does not wait."""

    event: EventRow | None
    """What happened; None where only the model changed."""


class Watch:
    """One watcher.

    Args:
        models: The rows.
        tenant: The caller's.
        model: Bare id.
        after: Sequence of the last event that the watcher knows.
    """

    def __init__(self, models: Models, *, tenant: str, model: str, after: int) -> None:
        """Begin behind that event."""
        self._models = models
        self._tenant = tenant
        self._model = model
        self._after = after
        self._seen = (-1, 0)
        self.behind = False
        """Whether there are more events than the last look returned."""

        self.ended = False
        """Whether nothing will follow."""

    def look(self) -> list[News]:
        """Return what is new: events in order, or the model alone where only it changed.

        Raises:
            NotFound: Where there is no such model, or no longer.
        """
        glimpse = self._models.look(self._tenant, self._model, after=self._after, limit=_BATCH)
        row, events = glimpse.row, glimpse.events
        self.behind = len(events) == _BATCH
        self.ended = row.phase.ended and not self.behind
        place = glimpse.queue_position
        changed = self._seen != (row.revision, place)
        self._seen = (row.revision, place)
        if events:
            self._after = events[-1].sequence
            return [News(row=row, queue_position=place, event=event) for event in events]
        return [News(row=row, queue_position=place, event=None)] if changed else []
