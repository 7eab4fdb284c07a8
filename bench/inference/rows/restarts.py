"""What callers notice of restarts, of switches, and of an engine that is killed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import psutil

from bench.inference.figures import Figure, at_most
from bench.inference.loads import Call, Lane, Load, Outcome
from bench.inference.place import MODEL, Place
from bench.inference.processes import Server, family, serving, start, stop
from bench.inference.rows.loading import load
from bench.inference.trained import ALIAS
from examples.demo import suite

_RATE = 20.0
_DRAIN = 1.0
_SWITCHES = 20
_SWITCH_SECONDS = 0.5
_UNDER_WAY = 4
_BEFORE = 3.0
_AFTER = 2.0
_BACK = 10.0


def rolling(place: Place) -> Iterator[Figure]:
    """Two replicas restarted one after the other, called as our client calls."""
    with ExitStack() as running:
        replicas = [
            running.enter_context(serving(place.directory, shutdown_drain=_DRAIN)) for _ in range(2)
        ]
        addresses = [replica.address for replica in replicas]

        def restart() -> None:
            for replica in replicas:
                stop(replica)
                again = start(place.directory, address=replica.address, shutdown_drain=_DRAIN)
                running.callback(stop, again)
                load(again, MODEL)

        address = f"ipv4:{','.join(addresses)}"
        outcome = _while(place, address, _lane(place, MODEL), restart, retries=True)
    calls = outcome.lanes["all"]
    yield at_most(
        "rolling restart of two replicas under load: calls that failed",
        _failures(calls),
        0,
        **_codes(calls),
    )


def alias(place: Place) -> Iterator[Figure]:
    """An alias that is switched between two models, over and over."""
    found = place.trained
    with suite(place.directory) as servers, servers.client() as client:

        def switch() -> None:
            for number in range(int(place.scaled(_SWITCHES)) + 2):
                client.aliases.set(ALIAS, (found.twin, found.model)[number % 2])
                time.sleep(_SWITCH_SECONDS)

        client.aliases.set(ALIAS, found.model)
        lane = _lane(place, ALIAS)
        calls = _while(place, place.server.address, lane, switch).lanes["all"]
    yield at_most(
        "an alias switched under load: calls that failed",
        _failures(calls),
        0,
        **_codes(calls),
    )


def killed(place: Place) -> Iterator[Figure]:
    """`kill -9` of one engine of two, and of the only one."""
    calls, _ = _killed(place, engines=2)
    yield at_most(
        "kill -9 of one engine of two: calls that failed, of those under way",
        _failures(calls) / _UNDER_WAY,
        1.0,
        **_codes(calls),
    )
    calls, took = _killed(place, engines=1)
    back = min(call.ended for call in calls if call.good and call.began > 0)  # after the kill
    yield at_most(
        "kill -9 of the only engine: seconds until a call is answered, of the time to load",
        back / took,
        2.0,
        **{"seconds": back, "to load": took},
        **_codes(calls),
    )


def _killed(place: Place, *, engines: int) -> tuple[list[Call], float]:
    """Return what callers saw, from when an engine was killed, and how long a load takes."""
    with serving(place.directory, engines=engines) as server:
        began, ended = load(server, MODEL)
        killed: list[float] = []

        def kill() -> None:
            engine = _engine(server)
            killed.append(time.perf_counter())
            engine.kill()
            time.sleep(_BACK)

        outcome = _while(place, server.address, _lane(place, MODEL, closed=True), kill)
    # From now on, seconds are those after the kill.
    late = killed[0] - outcome.start
    calls = [replace(call, began=call.began - late) for call in outcome.lanes["all"]]
    return calls, ended - began


def _engine(server: Server) -> psutil.Process:
    """Return a process that computes.

    Raises:
        RuntimeError: Where the server has none.
    """
    for process in family(server.pid)[1:]:
        if any("engines" in word for word in process.cmdline()):
            return process
    raise RuntimeError("the server has no engine process")


def _lane(place: Place, model: str, *, closed: bool = False) -> Lane:
    texts = str(place.texts("short"))
    if closed:
        return Lane(texts=texts, model=model, concurrency=_UNDER_WAY)
    return Lane(texts=texts, model=model, rate=_RATE)


def _while(
    place: Place, address: str, lane: Lane, disturb: Callable[[], None], *, retries: bool = False
) -> Outcome:
    """Call from before something happens until after it."""
    over = place.directory / "over"
    over.unlink(missing_ok=True)
    calls = Load(
        address=address, lanes={"all": lane}, until=str(over), warm_texts=1, retries=retries
    )
    with ThreadPoolExecutor(1) as beside:
        calling = beside.submit(place.send, calls)
        try:
            time.sleep(_BEFORE)
            disturb()
            time.sleep(_AFTER)
        finally:
            over.touch()
        return calling.result()


def _failures(calls: Sequence[Call]) -> int:
    return sum(not call.good for call in calls)


def _codes(calls: Sequence[Call]) -> dict[str, float]:
    """Return how many calls ended in which way."""
    return dict(Counter(call.code for call in calls))
