"""How contenders stand against each other, once they are measured: sums, tests and tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contenders import OURS, PEERS

_RESAMPLES = 10_000
_MEGABYTE = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One contender on one draw; shares are 0 to 1."""

    rows: int
    test_rows: int
    scored: str
    """Digest of the test rows: draws with the same one are scored on the same rows."""

    accuracy: float
    f1: float
    """Mean over labels."""

    log_loss: float
    calibration_error: float
    noise_limit: float
    """What a perfectly calibrated model stays under, 19 times of 20, on so few rows."""

    neighbours: float
    """Of the five nearest test texts, the share with the same label."""

    seconds: float
    cpu_seconds: float
    cap_seconds: float
    """0 where it was not stopped."""

    threads: int
    right: list[int]
    """For each test row 1 where it was right, else 0."""

    peak_bytes: int = 0
    """Of memory, resident; 0 where that is not known."""

    course: Mapping[str, Any] | None = None
    """The fields of `bench.course.Course`; of ours alone, and of its first draw."""


Cells = dict[str, list[Cell]]
"""By contender, in the order of the draws; as many as there was time for."""


def paired_p(first: Sequence[Cell], second: Sequence[Cell]) -> float:
    """Return the two-sided p of the difference in accuracy, by a paired bootstrap over rows.

    Rows of different draws count as different rows only where the draws are scored on different
    rows; what is scored in each draw alike is drawn as one.
    """
    changes = [np.subtract(two.right, one.right) for one, two in zip(first, second, strict=True)]
    alike = len({cell.scored for cell in first}) == 1
    rows: NDArray[np.float64] = np.mean(changes, axis=0) if alike else np.concatenate(changes)
    random = np.random.default_rng(0)
    means = np.array(
        [rows[random.integers(0, len(rows), len(rows))].mean() for _ in range(_RESAMPLES)]
    )
    least = min(int((means <= 0).sum()), int((means >= 0).sum()))
    return min(1.0, 2 * (least + 1) / (_RESAMPLES + 1))


def summary(cells: Cells) -> dict[str, object]:
    """Return the means of each contender, and how it stands against ours on the same draws."""
    return {contender: _means(found, cells) for contender, found in cells.items() if found}


def _means(found: list[Cell], cells: Cells) -> dict[str, object]:
    mine = cells.get(OURS, [])[: len(found)]
    same = found[: len(mine)]
    gains = [100 * (one.accuracy - other.accuracy) for one, other in zip(mine, same, strict=True)]
    against: dict[str, object] = {}
    if mine and found is not cells[OURS]:
        against = {
            "ours_minus_it": statistics.mean(gains),
            "least": min(gains),
            "p": paired_p(same, mine),
            "our_share_of_its_seconds": _share(mine, same),
            "our_share_of_its_seconds_to_its_accuracy": share_to_accuracy(mine[0], same[0]),
        }
    return {
        **{
            name: statistics.mean(getattr(cell, name) for cell in found)
            for name in (
                *("accuracy", "f1", "log_loss", "calibration_error", "noise_limit"),
                *("neighbours", "seconds", "cpu_seconds"),
            )
        },
        "draws": len(found),
        "cap_seconds": max(cell.cap_seconds for cell in found),
        "peak_bytes": max(cell.peak_bytes for cell in found),
        **against,
    }


def _share(mine: Sequence[Cell], others: Sequence[Cell]) -> float | None:
    total = sum(cell.seconds for cell in others)
    return sum(cell.seconds for cell in mine) / total if total else None


def share_to_accuracy(mine: Cell, other: Cell) -> float | None:
    """Return in which share of its time ours was as right as the other was in the end.

    CPU seconds, as both are measured while other programs run. None where it never was, or where
    the other took no time of its own.
    """
    points = [] if mine.course is None else mine.course["points"]
    spent = [one["cpu_seconds"] for one in points if one["accuracy"] >= other.accuracy]
    return min(spent) / other.cpu_seconds if spent and other.cpu_seconds else None


def print_set(name: str, cells: Cells, *, threads: int, draws: int) -> None:
    """Print the table of one set, and what its contenders cost."""
    first = next((found[0] for found in cells.values() if found), None)
    if first is None:
        print(f"\n{name}: there was no time for it; the same command goes on.")
        return
    rows = f"{first.rows} rows, scored on {first.test_rows}"
    print(f"\n{name}: {rows}; {threads} threads; mean of the draws")
    print(
        f"{'':22} draws  accuracy      F1  log loss     ECE  neighbours   seconds (of CPU)  "
        "ours minus it    least       p"
    )
    for contender, found in cells.items():
        print("".join(_line(contender, found, cells, draws)), flush=True)
    for line in _costs(cells):
        print(line)


def _costs(cells: Cells) -> Iterator[str]:
    """Yield what contenders cost, in words."""
    peaks = {
        name: max(cell.peak_bytes for cell in found) / _MEGABYTE
        for name, found in cells.items()
        if found and found[0].peak_bytes
    }
    if peaks:
        told = (f"{name} {peak:.0f}" for name, peak in peaks.items())
        yield f"memory at most, MB: {', '.join(told)}"
    mine = next(iter(cells.get(OURS, [])), None)
    if mine is None or mine.course is None:
        return
    rate, bare = (mine.course[name] for name in ("tokens_per_second", "bare_tokens_per_second"))
    yield f"tokens a CPU second: {rate:.0f}, {rate / bare:.2f} of bare forward and backward passes"
    for name, found in cells.items():
        share = share_to_accuracy(mine, found[0]) if found and name in PEERS else None
        if share is not None:
            yield f"as right as {name} in the end after {share:.2f} of its CPU time (draw 0)"


def _line(contender: str, found: list[Cell], cells: Cells, asked: int) -> Iterator[str]:
    if not found:
        yield f"{contender:22} not run: no time was left, or it failed"
        return
    means: dict[str, float] = {
        key: value for key, value in _means(found, cells).items() if isinstance(value, float | int)
    }
    yield f"{contender:22} {len(found)}/{asked}    {100 * means['accuracy']:7.2f} "
    yield f"{100 * means['f1']:7.2f}  {means['log_loss']:8.3f} {means['calibration_error']:7.3f}  "
    yield f"{100 * means['neighbours']:10.1f}  "
    yield (
        f"{means['seconds']:8.0f} ({means['cpu_seconds']:.0f})"
        if means["seconds"]
        else f"{'':8} with ours"
    )
    if "p" in means:
        yield f"  {means['ours_minus_it']:+13.2f} {means['least']:+8.2f}  {means['p']:.4f}"
    if means["cap_seconds"]:
        yield f"  stopped after {means['cap_seconds']:.0f} s of training"
