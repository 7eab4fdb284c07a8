"""A group of workers that talk by torch.distributed: gloo between CPUs, NCCL between GPUs.

Knows tensors, neither Ray nor what is learnt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.distributed_c10d import Store as Meeting

from services.trainer.distributed.errors import ClusterFailed

_TIMEOUT = timedelta(minutes=30)
# The others wait while the first worker measures, or stores 1.2 GB of a large base's checkpoint.
# A worker that dies is noticed at once: its connections end, and Ray tells.


class TorchGroup:
    """The workers of the process group that this process has joined.

    Args:
        device: Where this worker computes, as torch names it.
    """

    def __init__(self, device: str) -> None:
        """Ask who is there."""
        self._device = device
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()

    def total(self, number: float) -> float:
        """Return the sum of the workers' numbers."""
        sum_ = torch.tensor(number, dtype=torch.float64, device=self._device)
        with _answering():
            dist.all_reduce(sum_)
        return float(sum_.item())

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Set each tensor to the sum of the workers', the same to the last bit on each."""
        with torch.no_grad():
            flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
            with _answering():
                dist.all_reduce(flat)
            _spread(flat, tensors)

    def follow(self, tensors: Sequence[Tensor]) -> None:
        """Set each tensor to the first worker's."""
        with torch.no_grad():
            flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
            with _answering():
                dist.broadcast(flat, src=0)
            _spread(flat, tensors)

    def gather(self, mine: Tensor, rows: int) -> Tensor:
        """Put together what was dealt, in its old order. Gradients find their way back."""
        here = mine.to(self._device)
        gathered: Tensor = _Gathered.apply(here, rows, self)
        return gathered.to(mine.device)

    def agree(self, fact: str) -> None:
        """Make sure that all workers say the same.

        Raises:
            ClusterFailed: Where they do not.
        """
        digest = list(hashlib.sha256(fact.encode()).digest())
        said = self.gather(torch.tensor([digest]), self.size)
        different = [rank for rank in range(self.size) if not said[rank].equal(said[0])]
        if different:
            raise ClusterFailed(
                f"Worker {different[0]} would learn something else than worker 0: its libraries, "
                "its base, its rows or its checkpoint differ. Give every node of the cluster the "
                "same image."
            )

    def stacked(self, mine: Tensor, rows: int) -> Tensor:
        """Return [N, ...] for [M, ...], without a way back for gradients."""
        most = -(-rows // self.size)
        padded = mine.new_zeros((most, *mine.shape[1:]))
        padded[: len(mine)] = mine
        found = [torch.empty_like(padded) for _ in range(self.size)]
        with _answering():
            dist.all_gather(found, padded)
        # Dealt like cards: what lacks in the last round lacks at the end.
        return torch.stack(found, dim=1).flatten(0, 1)[:rows]


class _Gathered(torch.autograd.Function):
    """`gather`, for what has a gradient and what has none."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor, rows: int, group: TorchGroup) -> Tensor:  # noqa: ANN401
        ctx.group = group
        return group.stacked(mine, rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        group: TorchGroup = ctx.group
        # Every worker used all rows: each has a part of what moves mine. What it has is not ours.
        whole = gradient.clone()
        group.add([whole])
        return whole[group.rank :: group.size], None, None


def meet(host: str, port: int, size: int, *, first: bool) -> tuple[Meeting, int]:
    """Go where all workers meet.

    Args:
        host: Of the first worker.
        port: Of the meeting; the first worker may leave it to the system (0).
        size: How many come.
        first: Whether this is the first worker, which opens it. It closes when nobody holds it.

    Returns:
        The meeting and its port.

    Raises:
        ClusterFailed: Where it cannot be opened or reached.
    """
    with _answering():
        store = dist.TCPStore(  # type: ignore[attr-defined] # torch exports it, not in so many words
            host, port, size, is_master=first, wait_for_workers=False
        )
    return store, int(store.port)


@contextmanager
def joined(meeting: Meeting, *, rank: int, size: int, device: str) -> Iterator[TorchGroup]:
    """Join the other workers for a while.

    Args:
        meeting: Opened by the first of them.
        rank: This worker's number.
        size: How many come.
        device: Where this worker computes, as torch names it.

    Raises:
        ClusterFailed: Where somebody does not come.
    """
    with _answering():
        dist.init_process_group(
            "nccl" if device.startswith("cuda") else "gloo",
            store=meeting,
            rank=rank,
            world_size=size,
            timeout=_TIMEOUT,
        )
    try:
        yield TorchGroup(device)
    finally:
        dist.destroy_process_group()


def _spread(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        # What torch says is a line of C++ with addresses.
        raise ClusterFailed("Another worker no longer answers.") from error
