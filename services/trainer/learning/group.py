"""Workers that take the steps of one training together, each on its share of the rows.

Knows what they have to tell each other, not how they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Group(Protocol):
    """The workers of one training, as one of them sees it.

    All of them call the same methods in the same order. Rows are dealt like cards: of any rows in
    a row, worker `rank` has `rows[rank::size]`.
    """

    @property
    def rank(self) -> int:
        """This worker's number, from 0. The first one also measures, keeps and publishes."""
        ...

    @property
    def size(self) -> int:
        """How many workers there are."""
        ...

    def total(self, number: float) -> float:
        """Return the sum of the workers' numbers."""
        ...

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Set each tensor to the sum of the workers'."""
        ...

    def follow(self, tensors: Sequence[Tensor]) -> None:
        """Set each tensor to the first worker's."""
        ...

    def gather(self, mine: Tensor, rows: int) -> Tensor:
        """Put together what was dealt; what the result is used for moves every worker's part.

        Args:
            mine: [M, ...], of this worker's share.
            rows: N, over all workers, at least one for each.

        Returns:
            [N, ...], in the order of the rows before they were dealt.
        """
        ...

    def agree(self, fact: str) -> None:
        """Make sure that all workers say the same.

        Raises:
            OSError: Where they do not.
        """
        ...


class Alone:
    """The group of a worker that has no other."""

    rank = 0
    size = 1

    def total(self, number: float) -> float:
        """Return the number."""
        return number

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Leave the tensors as they are."""

    def follow(self, tensors: Sequence[Tensor]) -> None:
        """Leave the tensors as they are."""

    def gather(self, mine: Tensor, rows: int) -> Tensor:  # noqa: ARG002 (the group's signature)
        """Return what is there."""
        return mine

    def agree(self, fact: str) -> None:
        """Agree."""


ALONE: Group = Alone()
"""For a training on one machine."""
