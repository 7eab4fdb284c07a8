"""Sees that the models that aliases preload come into memory, also where the first try fails.

Knows no aliases.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from services.inference.model import Model
from services.inference.models import Models
from services.inference.residents import ModelKey

# A load that failed is tried again after the first pause, in seconds, then after twice that, and
# so on: what is mended is served soon, and what stays broken is hardly read again.
_FIRST_PAUSE = 10.0
_LONGEST_PAUSE = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    load: Future[Model]
    again_at: float
    pause: float
    """Before the try after that, in seconds."""


class Preloads:
    """The models that are wanted in memory. Not for several threads at once."""

    def __init__(self, models: Models, clock: Callable[[], float]) -> None:
        """Want none yet."""
        self._models = models
        self._clock = clock
        self._tries: dict[ModelKey, _Try | None] = {}

    def want(self, keys: frozenset[ModelKey]) -> None:
        """Let these be loaded, and go last; those that were wanted before are as any others.

        One that was loaded and had to make room stays away until it is called: where memory is
        too small for all, they would push each other out for ever.
        """
        self._models.pin(keys)
        self._tries = {key: self._tried(key) for key in keys}

    def _tried(self, key: ModelKey) -> _Try | None:
        """Return the last try, or None where the model has been in memory."""
        before = self._tries.get(key)
        if self._models.holds(key) or (before is None and key in self._tries):
            return None
        if before is None:
            return self._try(key, _FIRST_PAUSE)
        if not before.load.done():
            return before
        if before.load.exception() is None:
            # It had to make room since; the result of the load would hold it in memory.
            return None
        return before if self._clock() < before.again_at else self._try(key, before.pause)

    def _try(self, key: ModelKey, pause: float) -> _Try:
        return _Try(
            load=self._models.request(key),
            again_at=self._clock() + pause,
            pause=min(2 * pause, _LONGEST_PAUSE),
        )
