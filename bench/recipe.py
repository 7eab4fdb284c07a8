"""What each part of the recipe is worth: one switch at a time, over fixed draws of rows.

    python -m bench.recipe --data DIR --cache FILE [--sets banking77 amazon_cells] [--draws 5]
        [--switches contrastive "layer decay"]

`DIR/NAME/train.csv` holds text and label, without a header. Each cell trains on one draw and
is scored on training rows that the draw left over: what is chosen here must not be chosen on the
test rows that `bench.training` is judged by. The table shows the mean over the draws, and the
difference to the recipe as it is, draw by draw. The cache is a file of JSON lines: a run that
broke off goes on.

The temperature is left at 1 and nothing is exported: a cell is the training alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.labelled_sets import SETS, Draw, draws, small_base
from services.trainer.base_import import BaseEncoder, read_base
from services.trainer.encoder import SentenceEncoder, embed, load_encoder
from services.trainer.evaluation import evaluate, neighbour_share
from services.trainer.evaluation.geometry import retention
from services.trainer.evaluation.neutral import SENTENCES
from services.trainer.head import Floats, Head, prototypes
from services.trainer.learning.regression import tuned_regression
from services.trainer.learning.rows import TrainingRows
from services.trainer.recipe import Hyperparameters, Plan, Preset, plan
from services.trainer.tokenize import Tokenizer
from services.trainer.training import shape_of

SWITCHES: Mapping[str, Mapping[str, Any]] = {
    "recipe": {},
    "all tokens shown": {"token_dropout": 0.0},
    "half the passes": {"epochs": 0.5},
    "a third more passes": {"epochs": 1.34},
    "twice the passes": {"epochs": 2.0},
    "learning rate 2e-4": {"learning_rate": 2e-4, "head_learning_rate": 1e-3},
    "layer decay 0.9": {"layer_decay": 0.9},
    "label smoothing 0.1": {"label_smoothing": 0.1},
    "contrastive 0.5": {"contrastive_weight": 0.5},
    "anchor 0.5": {"anchor_weight": 0.5},
    "no average": {"average_decay": 0.0},
    "no dropout": {"dropout": 0.0},
    "preset fast": {"preset": Preset.FAST},
    "preset thorough": {"preset": Preset.THOROUGH},
}
"""By name, what is asked for beside the seed; a float of `epochs` is a factor on the recipe's."""

_REGRESSION = "regression"
# Not a switch: what all of them have to beat.


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One training on one draw; shares are 0 to 1."""

    accuracy: float
    log_loss: float
    neighbours: float
    """Of the five nearest rows that were scored, the share with the same label."""

    retention: float
    """Rank correlation of cosines of neutral sentences, before and after."""

    cpu_seconds: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for and print it."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.recipe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of NAME/{train,test}.csv")
    parser.add_argument("--cache", type=Path, required=True, help="JSON lines of finished cells")
    parser.add_argument("--sets", nargs="+", choices=sorted(SETS), default=sorted(SETS))
    parser.add_argument("--switches", nargs="+", choices=sorted(SWITCHES), default=list(SWITCHES))
    parser.add_argument("--draws", type=int, default=5, help="how many of the fixed draws, 1 to 5")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    base = read_base(small_base())
    cells = Cells(options.cache)
    for name in options.sets:
        rows = {
            switch: [
                cells.get(base, name, number, draw, switch)
                for number, draw in enumerate(draws(options.data / name, options.draws))
            ]
            for switch in dict.fromkeys([_REGRESSION, "recipe", *options.switches])
        }
        _print(name, rows)


class Cells:
    """Finished cells, in a file of JSON lines."""

    def __init__(self, path: Path) -> None:
        """Read what is finished."""
        self._path = path
        lines = path.read_text().splitlines() if path.is_file() else []
        self._known = {record["key"]: Cell(**record["cell"]) for record in map(json.loads, lines)}

    def get(self, base: BaseEncoder, name: str, number: int, draw: Draw, switch: str) -> Cell:
        """Return a cell, measured now unless it is known."""
        chosen = _plan(base, draw, number, switch)
        key = f"{name} {number} {switch if switch == _REGRESSION else chosen}"
        if key not in self._known:
            print(f"{name}, draw {number}: {switch} ...", file=sys.stderr, flush=True)
            cell = measure(base, draw, chosen, train=switch != _REGRESSION)
            with self._path.open("a") as file:
                file.write(json.dumps({"key": key, "cell": asdict(cell)}) + "\n")
            self._known[key] = cell
        return self._known[key]


def _plan(base: BaseEncoder, draw: Draw, number: int, switch: str) -> Plan:
    shape = shape_of(base, rows=len(draw.train.texts), labels=len(draw.labels))
    asked = dict(SWITCHES.get(switch, {}))
    if "epochs" in asked:
        usual = plan(Hyperparameters(), shape).epochs
        asked["epochs"] = max(1, round(asked["epochs"] * usual))
    return plan(Hyperparameters(**asked, seed=number), shape)


def measure(base: BaseEncoder, draw: Draw, chosen: Plan, *, train: bool) -> Cell:
    """Train on a draw as planned, or fit the regression alone, and score on its test rows."""
    begin = time.process_time()
    labels = len(draw.labels)
    targets = draw.train.targets(labels)
    rows = TrainingRows(
        base=base,
        plan=chosen,
        tokens=Tokenizer.load(base).encode_compactly(draw.train.texts),
        targets=targets,
        groups=draw.train.group_numbers,
        device="cpu",
        check=lambda: None,
    )
    everything = np.arange(len(targets))
    encoder = load_encoder(base)
    frozen = rows.embed(encoder, everything)
    if train:
        start = prototypes(frozen, targets, labels)
        fitting = rows.fitting(everything, start, seed=chosen.seed)
        fitting.run(0, before=lambda _: None, after=lambda _, __: None)
        encoder, head = fitting.encoder, fitting.learner.head
    else:
        head = tuned_regression(frozen, targets, labels, seed=chosen.seed).head
    seconds = time.process_time() - begin
    test = _embed(base, encoder, draw.test.texts)
    before, after = (_embed(base, each, SENTENCES) for each in (load_encoder(base), encoder))
    return _cell(draw, test, head, retention=retention(before, after), seconds=seconds)


def _embed(base: BaseEncoder, encoder: SentenceEncoder, texts: Sequence[str]) -> Floats:
    tokens = Tokenizer.load(base).encode_compactly(texts)
    return embed(encoder, tokens, base.pad_token_id)


def _cell(draw: Draw, embeddings: Floats, head: Head, *, retention: float, seconds: float) -> Cell:
    label_ids = np.asarray(draw.test.label_ids)
    scores = evaluate(
        probabilities=head.probabilities(embeddings),
        label_ids=label_ids,
        labels=draw.labels,
        positive_label=None,
    )
    return Cell(
        accuracy=scores.accuracy,
        log_loss=scores.log_loss,
        neighbours=neighbour_share(embeddings, label_ids),
        retention=retention,
        cpu_seconds=seconds,
    )


def _print(name: str, rows: Mapping[str, Sequence[Cell]]) -> None:
    """Print one line a switch: the mean, and how far it is from the recipe on each draw."""
    usual = rows["recipe"]
    print(f"\n{name}, {len(usual)} draws")
    print(
        f"{'':24}accuracy  difference (draw by draw){'':16}neighbours  retention  log loss  CPU s"
    )
    for switch, cells in rows.items():
        gains = [
            100 * (cell.accuracy - other.accuracy) for cell, other in zip(cells, usual, strict=True)
        ]
        apart = " ".join(f"{gain:+.1f}" for gain in gains)
        print(
            f"{switch:24}{100 * _mean(cells, 'accuracy'):8.2f}  "
            f"{statistics.mean(gains):+6.2f}  ({apart:32})"
            f"{100 * _mean(cells, 'neighbours'):10.1f}  {_mean(cells, 'retention'):9.2f}  "
            f"{_mean(cells, 'log_loss'):8.3f}  "
            f"{_mean(cells, 'cpu_seconds'):5.0f}",
            flush=True,
        )


def _mean(cells: Sequence[Cell], field: str) -> float:
    return statistics.mean(float(getattr(cell, field)) for cell in cells)


if __name__ == "__main__":
    main()
