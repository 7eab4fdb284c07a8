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
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

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
from bench.standing import Cell, Cells, print_set, summary
from services.common.threads import available_cpus
from services.trainer.base_import import BaseEncoder, read_base
from services.trainer.evaluation import evaluate, neighbour_share
from services.trainer.evaluation.reliability import calibration

CONTENDERS = (REGRESSION, OURS, *PEERS)
CAP_SECONDS = 20 * 60.0

_CACHE = Path(".cache/bench/training")


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
            print_set(name, results[name], threads=options.threads, draws=options.draws)
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


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    main()
