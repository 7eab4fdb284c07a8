"""A moving average of weights: steadier than the last step, at the cost of one copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class MovingAverage:
    """The exponential moving average of some parameters.

    In the first steps it forgets faster, so that it does not lag behind where a run is short:
    the decay after step n is (1 + n) / (10 + n), until that reaches `decay`.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        """Start from the parameters as they are."""
        self._parameters = [parameter.detach() for parameter in parameters]
        self._average = [parameter.clone() for parameter in self._parameters]
        self._decay = decay

    @property
    def tensors(self) -> list[Tensor]:
        """The averages, in the order of the parameters."""
        return self._average

    def update(self, step: int) -> None:
        """Take the parameters in after a step, counted from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._average, self._parameters, 1 - decay)

    def apply(self) -> None:
        """Set the parameters to their average."""
        for parameter, average in zip(self._parameters, self._average, strict=True):
            parameter.copy_(average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Set the parameters to their average for a while."""
        kept = [parameter.clone() for parameter in self._parameters]
        self.apply()
        try:
            yield
        finally:
            for parameter, before in zip(self._parameters, kept, strict=True):
                parameter.copy_(before)
