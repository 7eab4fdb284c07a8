"""Callers who wait beside callers who do not."""

from __future__ import annotations

import json
from collections.abc import Iterator

from bench.inference.figures import Figure, at_least, at_most
from bench.inference.loads import Lane, Load, Outcome, latency
from bench.inference.place import MODEL, Place

_RATE = 10.0
"""Single texts a second: a small part of what two cores can."""

_SECONDS = 30.0


def interactive(place: Place) -> Iterator[Figure]:
    """Single texts at random moments while bulk keeps all workers busy."""
    waiting = Lane(texts=str(place.texts("short")), model=MODEL, rate=_RATE)
    bulk = Lane(
        texts=str(place.texts("short" if place.options.quick else "mixed")),
        model=MODEL,
        batch=8,
        concurrency=4,
        options={"priority": "PRIORITY_BULK"},
    )
    alone = _send(place, waiting=waiting)
    undisturbed = _send(place, bulk=bulk)
    both = _send(place, bulk=bulk, waiting=waiting)
    longest = _longest(place)
    unloaded, loaded = (latency(outcome.begun("waiting"), 0.99) for outcome in (alone, both))
    yield at_most(
        "single texts under bulk: p99, of three times its unloaded p99 and one batch",
        loaded / (3 * unloaded + longest),
        1.0,
        **{
            "p99 ms": 1e3 * loaded,
            "unloaded p99 ms": 1e3 * unloaded,
            "batch ms": 1e3 * longest,
            "median ms": 1e3 * latency(both.begun("waiting"), 0.5),
        },
    )
    yield at_least(
        "bulk beside single texts: texts a second, of bulk alone",
        both.rate("bulk") / undisturbed.rate("bulk"),
        0.8,
        **{"texts/s": both.rate("bulk"), "alone": undisturbed.rate("bulk")},
    )


def _send(place: Place, **lanes: Lane) -> Outcome:
    return place.send(
        Load(
            address=place.server.address,
            lanes=lanes,
            warm_seconds=place.seconds(4.0),
            seconds=place.seconds(_SECONDS),
        )
    )


def _longest(place: Place) -> float:
    """Return the seconds of the longest text of the mix alone: the least that can be in the way."""
    file = place.directory / "longest.json"
    file.write_text(json.dumps([max(place.read("mixed"), key=len)]), encoding="utf-8")
    outcome = place.send(
        Load(
            address=place.server.address,
            lanes={"longest": Lane(texts=str(file), model=MODEL)},
            warm_texts=3,
            count_texts=10,
        )
    )
    return latency(outcome.begun("longest"), 0.5)
