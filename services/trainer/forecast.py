"""How far a whole run is and how long it still takes. Pure arithmetic on a clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from services.trainer.messages import Progressed

_EXPORT_SECONDS = 8.0
_EXPORT_SECONDS_PER_MILLION = 1.5
# One core: the tiny test encoder takes 8 s, 22.7 M parameters about 45 s, the trials of 8-bit
# forms included.

_FORWARD_SHARE = 1 / 3
# Backward costs twice what forward does.

_PASSES_AFTER_TRAINING = 4
# Held-out rows are embedded and classified, by the model and by the baseline.

_LAST = 0.99
# The rest belongs to READY, which the supervisor says.


class Forecast:
    """The progress of one run; its fraction never falls.

    Args:
        parameters: Of the encoder.
        rows: That are trained on in one epoch.
        held_out: That are scored at the end.
        spent: Seconds that the run has taken so far.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        *,
        parameters: int,
        rows: int,
        held_out: int,
        spent: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the clock."""
        self._clock = clock
        self._begin = clock() - spent
        self._rows = rows
        self._held_out = held_out
        self._export = _EXPORT_SECONDS + _EXPORT_SECONDS_PER_MILLION * parameters / 1e6
        self._scoring = 0.0
        self._fraction = 0.0
        self._earlier = 0.0
        self._first_step = 0
        self._step = self._total_steps = 0
        self._epoch = self._total_epochs = 0.0

    def trained(
        self, *, step: int, total_steps: int, epoch: float, total_epochs: float, eta: float | None
    ) -> Progressed:
        """Tell the progress while the model learns.

        Args:
            step: Steps done, by this attempt and those that it goes on from.
            total_steps: Steps of the training.
            epoch: Passes done.
            total_epochs: Passes of the training.
            eta: Seconds until the end of the training; None where nothing was measured yet.
        """
        self._step, self._total_steps = step, total_steps
        self._epoch, self._total_epochs = epoch, total_epochs
        if eta is None:
            self._first_step = step
        elif total_steps > step:
            # What earlier attempts did counts as if this one had done it.
            self._earlier = self._first_step * eta / (total_steps - step)
        if eta is not None and total_epochs > epoch:
            row_seconds = eta / ((total_epochs - epoch) * max(1, self._rows))
            self._scoring = row_seconds * _FORWARD_SHARE * _PASSES_AFTER_TRAINING * self._held_out
        return self._tell(None if eta is None else eta + self._scoring + self._export)

    def scoring(self) -> Progressed:
        """Tell the progress when the model has learnt and is about to be scored."""
        return self._tell(self._scoring + self._export)

    def exporting(self) -> Progressed:
        """Tell the progress when only the export is left."""
        return self._tell(self._export)

    def uploading(self) -> Progressed:
        """Tell the progress when only the upload is left."""
        return self._tell(1.0)

    def _tell(self, left: float | None) -> Progressed:
        spent = self._earlier + self._clock() - self._begin
        if left is not None:
            self._fraction = min(_LAST, max(self._fraction, spent / max(spent + left, 1e-9)))
        return Progressed(
            step=self._step,
            total_steps=self._total_steps,
            epoch=self._epoch,
            total_epochs=self._total_epochs,
            fraction=self._fraction,
            eta_seconds=left,
        )
