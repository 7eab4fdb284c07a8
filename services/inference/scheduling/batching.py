"""Which texts run together: those for which it is cheaper than running apart."""

from __future__ import annotations

from itertools import islice
from typing import TypeVar

from services.inference.scheduling.lengths import LengthQueues
from services.inference.scheduling.profiles import Bounds
from services.inference.scheduling.work import Batch

C = TypeVar("C")

# After so many texts that were looked at and left, a batch is taken as it is: looking must stay
# small beside running.
_MISSES = 16
_LOOKED_AT = 64

# Seconds that are lost in rounding: texts of one length run together also where a run seems to
# cost nothing by itself, or it would never be seen that it does.
_NOTHING = 1e-6


def fill(batch: Batch[C], waiting: LengthQueues[C], bounds: Bounds) -> None:
    """Put texts that wait into a batch while each takes less time there than elsewhere.

    Elsewhere it would share a run with those of its own length, or have one to itself: so
    padding is worth at most its share of a run's fixed cost. Nothing is taken from `waiting`.
    """
    lead, cost = batch.items[0], batch.profile.cost
    if lead.alone or bounds.texts == 1:
        return
    misses = 0
    for queue in waiting.near(lead.length):
        share = cost.per_run / min(len(queue), bounds.texts)
        for item in islice(queue, _LOOKED_AT):
            if item is lead:
                continue
            texts = len(batch.items) + 1
            if texts > bounds.texts or misses == _MISSES:
                return
            longest = max(batch.longest, item.length)
            seconds = cost.seconds(texts, longest)
            if (
                texts * longest <= bounds.padded_tokens
                and seconds <= bounds.seconds
                and seconds - batch.seconds <= share + cost.text_seconds(item.length) + _NOTHING
            ):
                batch.items.append(item)
                batch.longest, batch.seconds = longest, seconds
            else:
                misses += 1
