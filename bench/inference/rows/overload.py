"""Three times what the server can do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.inference.figures import Figure, at_least, at_most
from bench.inference.loads import Lane, Load, Outcome
from bench.inference.place import MODEL, Place

_TIMES = 3.0
_DEADLINE = 2.0
_SECONDS = 20.0
_UNDER_WAY = 16


def overload(place: Place) -> Iterator[Figure]:
    """Single texts of all lengths, at random moments, each with a deadline of two seconds."""
    texts = str(place.texts("mixed"))
    peak = _send(place, Lane(texts=texts, model=MODEL, concurrency=_UNDER_WAY)).rate("all")
    lane = Lane(texts=texts, model=MODEL, rate=_TIMES * peak, timeout=_DEADLINE)
    over = _send(place, lane)
    calls = over.begun("all")
    answered = [call for call in calls if call.good]
    # What was let in and came too late took its whole time; what was refused took none.
    refused = [call for call in calls if not call.good and call.seconds < _DEADLINE / 2]
    late = len(calls) - len(answered) - len(refused)
    yield at_least(
        f"at {_TIMES:g} times capacity: texts in time, of the peak",
        over.rate("all") / peak,
        0.9,
        **{"texts/s": over.rate("all"), "peak": peak, "calls": len(calls)},
    )
    yield at_least(
        f"at {_TIMES:g} times capacity: calls let in that kept their deadline",
        len(answered) / max(1, len(answered) + late),
        0.99,
        answered=len(answered),
        late=late,
        refused=len(refused),
    )
    yield at_most(
        f"at {_TIMES:g} times capacity: p99 of a refusal, ms",
        1e3 * float(np.quantile([call.seconds for call in refused], 0.99)),
        10.0,
        **{
            "refusals": len(refused),
            "median ms": 1e3 * float(np.median([call.seconds for call in refused])),
            "of the generator's own lateness p99 ms": 1e3 * float(np.quantile(over.lateness, 0.99)),
        },
    )


def _send(place: Place, lane: Lane) -> Outcome:
    return place.send(
        Load(
            address=place.server.address,
            lanes={"all": lane},
            # The server's idea of what a text costs is then that of this load.
            warm_seconds=place.seconds(5.0),
            seconds=place.seconds(_SECONDS),
        )
    )
