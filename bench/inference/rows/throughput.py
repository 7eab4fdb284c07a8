"""How many texts a second, saturated: ours, bare ONNX Runtime, and peers, in turns.

Contenders go through the same texts in turn, several times over; a figure is the median of the
turns' ratios. Processor time per text stands beside: it means something on a busy machine too.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from bench.inference.figures import Figure, at_least, at_most
from bench.inference.loads import Lane, Load
from bench.inference.peers import MODEL as PEER_MODEL
from bench.inference.place import MIXES, MODEL, Place
from bench.inference.processes import cpu_seconds

_BATCH = 32
_UNDER_WAY = {1: 32, _BATCH: 8}
"""Calls under way, by their texts: enough that no core waits for a caller, and that whoever orders
texts by length has some to choose from. The same for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One way through the texts."""

    rate: float
    """Texts a second."""

    cpu: float
    """Processor seconds of a text, of the contender alone."""


Contest = Mapping[str, Callable[[str], Pass]]
"""Contenders by name; each goes through a mix once."""


def against_bare(place: Place) -> Iterator[Figure]:
    """Ours against the best that the same graph does in process."""
    for mix in MIXES:
        form, by = _best_of_bare(place, mix)
        passes = _rounds(
            {
                "singles": partial(ours, place, batch=1),
                "calls": partial(ours, place, batch=_BATCH),
                "bare singles": partial(bare, place, form="apart", batch=1),
                "best": partial(bare, place, form=form, batch=by),
            },
            mix,
            place.rounds,
        )
        yield at_least(
            f"calls of {_BATCH}, {mix}: of the best in process",
            _faster(passes, "calls", "best"),
            0.95,
            **_beside(passes, "calls", "best"),
            best=f"{form}, by {by}",
        )
        yield at_most(
            f"single texts, {mix}: processor time, of the same loop in process",
            _median(passes, "singles", "bare singles", lambda one, two: one.cpu / two.cpu),
            1.15,
            **_beside(passes, "singles", "bare singles"),
        )


def against_peers(place: Place) -> Iterator[Figure]:
    """Ours against peers, by their own defaults."""
    contest: Contest = {
        "singles": partial(ours, place, batch=1),
        "calls": partial(ours, place, batch=_BATCH),
        "infinity singles": partial(infinity, place, batch=1),
        "infinity calls": partial(infinity, place, batch=_BATCH),
        "sentence-transformers": lambda mix: _asked(
            place.sentence_transformers.ask({"texts": str(place.texts(mix))})
        ),
        "fastembed": lambda mix: _asked(place.fastembed.ask({"texts": str(place.texts(mix))})),
        "TEI's policy": partial(bare, place, form="tei", batch=8),
    }
    targets = {
        ("singles", "infinity singles"): {"short": 2.0, "mixed": 1.5},
        ("calls", "infinity calls"): {"short": 1.8, "mixed": 1.2},
        ("calls", "sentence-transformers"): {"short": 0.95, "mixed": 1.15},
        ("calls", "fastembed"): {"short": 1.0, "mixed": 1.2},
        ("singles", "TEI's policy"): {"short": 1.35, "mixed": 1.8},
    }
    for mix in MIXES:
        passes = _rounds(contest, mix, place.rounds)
        for (one, other), target in targets.items():
            yield at_least(
                f"{one}, {mix}: of {other}",
                _faster(passes, one, other),
                target[mix],
                **_beside(passes, one, other),
            )


def quantized(place: Place) -> Iterator[Figure]:
    """Our 8-bit variant against our fp32, of one fine-tuned model."""
    if not place.trained.quantized:
        raise RuntimeError("the trainer found no 8-bit variant that is worth its place")
    by = partial(ours, place, batch=_BATCH, model=place.trained.model)
    contest = {"fp32": by, "int8": partial(by, precision="PRECISION_QUANTIZED")}
    for mix, target in (("short", 1.25), ("mixed", 1.05)):
        passes = _rounds(contest, mix, place.rounds)
        yield at_least(
            f"calls of {_BATCH}, {mix}: int8, of fp32",
            _faster(passes, "int8", "fp32"),
            target,
            **_beside(passes, "int8", "fp32"),
        )


def ours(place: Place, mix: str, *, batch: int, model: str = MODEL, **options: object) -> Pass:
    """Send a mix once through the server, saturated before and after."""
    warm, count = _window(place, mix, batch)
    lane = Lane(
        texts=str(place.texts(mix)),
        model=model,
        batch=batch,
        concurrency=_UNDER_WAY[batch],
        options=options,
    )
    outcome = place.send(
        Load(
            address=place.server.address,
            pid=place.server.pid,
            lanes={"all": lane},
            warm_texts=warm,
            count_texts=count,
        )
    )
    texts = outcome.texts("all")
    return Pass(rate=texts / outcome.seconds, cpu=outcome.cpu_seconds / texts)


def bare(place: Place, mix: str, *, form: str, batch: int) -> Pass:
    """Let bare ONNX Runtime go through a mix once."""
    return _asked(place.bare.ask({"form": form, "batch": batch, "texts": str(place.texts(mix))}))


def infinity(place: Place, mix: str, *, batch: int) -> Pass:
    """Send a mix once through infinity-emb, saturated before and after."""
    warm, count = _window(place, mix, batch)
    cpu = cpu_seconds(place.infinity.pid)
    told = place.http_generator.ask(
        {
            "url": place.infinity.url,
            "model": PEER_MODEL,
            "texts": str(place.texts(mix)),
            "batch": batch,
            "concurrency": _UNDER_WAY[batch],
            "warm": warm,
            "count": count,
        }
    )
    cpu = cpu_seconds(place.infinity.pid) - cpu
    return Pass(rate=told["texts"] / told["seconds"], cpu=cpu / told["all_texts"])


def _window(place: Place, mix: str, batch: int) -> tuple[int, int]:
    """Return how many texts come before what is counted, and how many are counted.

    Calls of a closed lane are answered in bursts, so the window has whole ones.
    """
    burst = batch * _UNDER_WAY[batch]
    return burst, burst * max(1, place.count(mix) // burst)


def _asked(told: Mapping[str, float]) -> Pass:
    return Pass(rate=told["texts"] / told["seconds"], cpu=told["cpu_seconds"] / told["texts"])


def _best_of_bare(place: Place, mix: str) -> tuple[str, int]:
    """Return the layout and order that go through a mix the fastest."""
    ways = [(form, batch) for form in ("apart", "together") for batch in (1, 8, 32)]
    return max(ways, key=lambda way: bare(place, mix, form=way[0], batch=way[1]).rate)


def _rounds(contest: Contest, mix: str, rounds: int) -> list[Mapping[str, Pass]]:
    if rounds > 1:
        for run in contest.values():
            run(mix)  # pages, arenas and kernels are then as they stay
    return [{name: run(mix) for name, run in contest.items()} for _ in range(rounds)]


def _faster(passes: list[Mapping[str, Pass]], one: str, other: str) -> float:
    return _median(passes, one, other, lambda first, second: first.rate / second.rate)


def _median(
    passes: list[Mapping[str, Pass]],
    one: str,
    other: str,
    ratio: Callable[[Pass, Pass], float],
) -> float:
    return statistics.median(ratio(turn[one], turn[other]) for turn in passes)


def _beside(passes: list[Mapping[str, Pass]], one: str, other: str) -> dict[str, float]:
    return {
        f"{name} {what}": statistics.median(getattr(turn[name], kind) * scale for turn in passes)
        for name in (one, other)
        for what, kind, scale in (("texts/s", "rate", 1), ("CPU ms", "cpu", 1e3))
    }
