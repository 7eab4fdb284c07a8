"""Training beside its peers, on the same weights and the same rows.

    python -m bench.training --data DIR [--sets banking77@10,amazon_cells] [--draws 5] [--json]

`DIR/SET/{train,validation,test}.csv` hold text and label, without a header; any set in that form
can be run. `SET` learns from all training rows, `SET@10` from ten of each label; what is scored
is said by `bench.labelled_sets.published`. Beside Isogloss: a logistic regression on the frozen
embeddings, its C chosen by cross-validation; the Hugging Face Trainer with its defaults and with
ten epochs; SetFit 1.2 with 20 pairs a row. Peers run in an environment of their own, made on first
use. A training of a peer is stopped after 20 minutes, which the table says. Of ours the first draw
is trained once more and scored on its way: that tells after how much time it was as right as each
peer is in the end, and what its steps cost beside bare passes of the same encoder.

Finished cells are kept under `.cache/`, and no cell is begun once `--minutes` are over: the same
command then goes on where it stopped, and by default a run ends within an hour. p is of a paired
bootstrap over the rows that were scored.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contenders import (
    OURS,
    PEERS,
    REGRESSION,
    ContenderFailed,
    Outcome,
    fingerprint,
    ours,
    peer,
)
from bench.labelled_sets import Draw, published, small_base
from services.common.threads import available_cpus
from services.trainer.base_import import BaseEncoder, read_base
from services.trainer.evaluation import evaluate, neighbour_share
from services.trainer.evaluation.reliability import calibration

CONTENDERS = (REGRESSION, OURS, *PEERS)
CAP_SECONDS = 20 * 60.0

_CACHE = Path(".cache/bench/training")
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


class Budget:
    """The time of a run."""

    def __init__(self, seconds: float) -> None:
        """Begin to count."""
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left; at least 0."""
        return max(0.0, self._end - time.monotonic())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for and print it."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", type=_names, default=["banking77@10", "amazon_cells"])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--contenders", type=_names, default=list(CONTENDERS))
    parser.add_argument("--minutes", type=float, default=38.0, help="begin nothing after these")
    parser.add_argument("--threads", type=int, default=available_cpus())
    parser.add_argument("--base", type=Path, default=None, help="a base; all-MiniLM-L6-v2 if not")
    parser.add_argument("--fresh", action="store_true", help="measure finished cells again")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    options = parser.parse_args(arguments)
    if unknown := set(options.contenders) - set(CONTENDERS):
        parser.error(f"--contenders: {min(unknown)!r} is none of {', '.join(CONTENDERS)}")
    bench = Bench(options.base or small_base(), options)
    results: dict[str, Cells] = {}
    for name in options.sets:
        results[name] = bench.cells(name)
        if not options.json:
            _print_set(name, results[name], options)
    if options.json:
        print(json.dumps({name: summary(cells) for name, cells in results.items()}, indent=1))


class Bench:
    """Measures cells, or finds them measured.

    Args:
        base: Directory of the weights that all start from.
        options: Of the command line.
    """

    def __init__(self, base: Path, options: argparse.Namespace) -> None:
        """Read the base."""
        self._directory = base
        self._base: BaseEncoder = read_base(base)
        self._options = options
        self._budget = Budget(60 * options.minutes)

    def cells(self, name: str) -> Cells:
        """Return the cells of a set: contender by contender, the cheapest first."""
        found: Cells = {contender: [] for contender in self._options.contenders}
        draws = [
            published(self._options.data, name, number) for number in range(self._options.draws)
        ]
        for contender in sorted(self._options.contenders, key=CONTENDERS.index):
            for number, draw in enumerate(draws):
                cell = self._cell(name, number, draw, contender)
                if cell is None:
                    break
                found[contender].append(cell)
        return found

    def _cell(self, name: str, number: int, draw: Draw, contender: str) -> Cell | None:
        path = self._path(name, number, draw, contender)
        if path.is_file() and not self._options.fresh:
            return Cell(**json.loads(path.read_text()))
        if not self._budget.left:
            return None
        threads = self._options.threads
        print(f"{name}, draw {number}: {contender} ...", file=sys.stderr)
        try:
            outcomes = self._outcomes(contender, number, draw)
        except ContenderFailed as error:
            print(f"  {error}", file=sys.stderr)
            return None
        for trained, outcome in outcomes.items():
            cell = score(outcome, draw, threads=threads)
            path = self._path(name, number, draw, trained)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(asdict(cell)))
        return score(outcomes[contender], draw, threads=threads)

    def _outcomes(self, contender: str, number: int, draw: Draw) -> Mapping[str, Outcome]:
        threads = self._options.threads
        if contender not in PEERS:
            # Once: the course of one draw says how long a peer's accuracy takes.
            course = number == 0
            return ours(self._directory, draw, seed=number, threads=threads, course=course)
        outcome = peer(
            contender,
            self._directory,
            draw,
            seed=number,
            threads=threads,
            cap_seconds=CAP_SECONDS,
        )
        return {contender: outcome}

    def _path(self, name: str, number: int, draw: Draw, contender: str) -> Path:
        depends = (
            fingerprint(contender),
            draw.train,
            draw.test,
            self._base.parameters,
            self._base.max_tokens,
        )
        plain = contender.lower().replace(" ", "-")
        return _CACHE / f"{name}-{number}-{plain}-{_digest(depends)}.json"


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]


def score(outcome: Outcome, draw: Draw, *, threads: int) -> Cell:
    """Score what a contender answered on the test rows."""
    label_ids = np.asarray(draw.test.label_ids)
    scores = evaluate(
        probabilities=outcome.probabilities,
        label_ids=label_ids,
        labels=draw.labels,
        positive_label=None,
    )
    right = outcome.probabilities.argmax(axis=1) == label_ids
    sure = calibration(outcome.probabilities.max(axis=1), right, seed=0)
    return Cell(
        rows=len(draw.train.texts),
        test_rows=len(draw.test.texts),
        scored=_digest(draw.test),
        accuracy=scores.accuracy,
        f1=scores.macro.f1,
        log_loss=scores.log_loss,
        calibration_error=sure.error,
        noise_limit=sure.noise_limit,
        neighbours=neighbour_share(outcome.vectors, label_ids),
        seconds=outcome.seconds,
        cpu_seconds=outcome.cpu_seconds,
        cap_seconds=CAP_SECONDS if outcome.capped else 0.0,
        threads=threads,
        right=right.astype(int).tolist(),
        peak_bytes=outcome.peak_bytes,
        course=outcome.course,
    )


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


def _print_set(name: str, cells: Cells, options: argparse.Namespace) -> None:
    first = next((found[0] for found in cells.values() if found), None)
    if first is None:
        print(f"\n{name}: there was no time for it; the same command goes on.")
        return
    threads = f"{options.threads} threads; mean of the draws"
    print(f"\n{name}: {first.rows} rows, scored on {first.test_rows}; {threads}")
    print(
        f"{'':22} draws  accuracy      F1  log loss     ECE  neighbours   seconds (of CPU)  "
        "ours minus it    least       p"
    )
    for contender, found in cells.items():
        print("".join(_line(contender, found, cells, options.draws)), flush=True)
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


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    main()
