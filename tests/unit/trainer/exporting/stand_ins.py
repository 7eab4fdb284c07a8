"""A listener that hears nothing, and a clock of a machine on which integers win."""

from __future__ import annotations

from services.trainer.exporting.session import Sequences, Session
from services.trainer.learning.listening import Progress, StepMetrics


class Deaf:
    def on_progress(self, progress: Progress) -> None: ...
    def on_metrics(self, metrics: StepMetrics) -> None: ...


def twice_as_fast(session: Session, sequences: Sequences, batch: int) -> float:
    """Tell times of a machine on which integers win; the tiny graph itself is too small."""
    assert len(sequences) >= batch
    return 1.0 if "quantized" in session.path.name else 2.0
