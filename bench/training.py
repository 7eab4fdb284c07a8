"""Training against what it has to beat: a tuned logistic regression on the same frozen base.

    python -m bench.training --data DIR --sets banking77 [--draws 5] [--json]

`DIR/NAME/{train,test}.csv` hold text and label, without a header. Which rows are learnt from is
checked in under `bench/draws`; everything is scored on `test.csv`, or, where a set has none, on
the rows that were not drawn. Finished cells are kept under `.cache/`, so that a long run can go on.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import services.trainer
from services.common.threads import available_cpus
from services.trainer import recipe
from services.trainer.base_import import BaseEncoder, read_base
from services.trainer.base_sources import PACKAGED
from services.trainer.evaluation import Evaluation, evaluate, neighbour_share
from services.trainer.learning.listening import Progress, StepMetrics
from services.trainer.recipe import Hyperparameters, Plan, Shape
from services.trainer.training import (
    Baseline,
    LabelledTexts,
    TrainedModel,
    train,
)

_DRAWS = Path(__file__).parent / "draws"
_CACHE = Path(".cache/bench/training")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One draw of one set; shares are 0 to 1."""

    rows: int
    test_rows: int
    baseline_accuracy: float
    accuracy: float
    baseline_f1: float
    f1: float
    baseline_log_loss: float
    log_loss: float
    baseline_neighbours: float
    """Of the five nearest test texts, the share with the same label, before."""

    neighbours: float
    """And after."""

    temperature: float
    epochs: int
    seconds: float
    """From texts to trained model, both baselines and heads included; without export."""

    cpu_seconds: float
    """Of all threads: what to compare on a machine that others use as well."""

    threads: int

    @property
    def gain(self) -> float:
        """Points of accuracy above the baseline."""
        return 100 * (self.accuracy - self.baseline_accuracy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Rows to learn from and rows to be scored on."""

    labels: tuple[str, ...]
    train: LabelledTexts
    test: LabelledTexts


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for and print it."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = sorted(path.stem for path in _DRAWS.glob("*.json"))
    parser.add_argument("--data", type=Path, required=True, help="folder of NAME/{train,test}.csv")
    parser.add_argument("--sets", nargs="+", choices=names, default=names)
    parser.add_argument("--draws", type=int, default=5, help="how many of the fixed draws")
    parser.add_argument("--threads", type=int, default=available_cpus())
    parser.add_argument("--base", type=Path, default=None, help="a base; all-MiniLM-L6-v2 if not")
    parser.add_argument("--fresh", action="store_true", help="measure finished cells again")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    options = parser.parse_args(arguments)
    base = read_base(options.base or _small())
    results = {}
    for name in options.sets:
        draws = json.loads((_DRAWS / f"{name}.json").read_text())["draws"][: options.draws]
        cells = []
        for number, rows in enumerate(draws):
            cell = _cell(base, options.data / name, number, rows, options)
            cells.append(cell)
            if not options.json:
                _print_cell(name, number, cell)
        results[name] = cells
        if not options.json:
            _print_mean(cells)
    if options.json:
        print(json.dumps({name: _summary(cells) for name, cells in results.items()}, indent=1))


def _cell(
    base: BaseEncoder, folder: Path, number: int, rows: list[int], options: argparse.Namespace
) -> Cell:
    """Measure a draw, or return what was measured before with the same code and rows."""
    draw = read_draw(folder, rows)
    shape = Shape(
        rows=len(draw.train.texts),
        labels=len(draw.labels),
        layers=base.layers,
        max_tokens=base.max_tokens,
    )
    chosen = recipe.plan(Hyperparameters(seed=number), shape)
    path = _CACHE / f"{folder.name}-{number}-{_digest(base, rows, chosen)}.json"
    if path.is_file() and not options.fresh:
        return Cell(**json.loads(path.read_text()))
    cell = measure(base, draw, seed=number, threads=options.threads)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(cell)))
    return cell


def read_draw(folder: Path, rows: Sequence[int]) -> Draw:
    """Read the rows of a draw, and those that it is scored on."""
    everything = _read(folder / "train.csv")
    drawn = set(rows)
    test = (
        _read(folder / "test.csv")
        if (folder / "test.csv").is_file()
        else [row for index, row in enumerate(everything) if index not in drawn]
    )
    chosen = [everything[row] for row in rows]
    labels = tuple(sorted({label for _, label in chosen}))
    ids = {label: index for index, label in enumerate(labels)}

    def labelled(pairs: list[tuple[str, str]]) -> LabelledTexts:
        return LabelledTexts(
            texts=[text for text, _ in pairs], label_ids=[ids[label] for _, label in pairs]
        )

    return Draw(labels=labels, train=labelled(chosen), test=labelled(test))


def measure(base: BaseEncoder, draw: Draw, *, seed: int, threads: int) -> Cell:
    """Train on a draw and score model and baseline on its test rows."""
    begin, begin_cpu = time.monotonic(), time.process_time()
    model = train(
        base=base,
        labels=draw.labels,
        train=draw.train,
        validation=None,
        positive_label=None,
        hyperparameters=Hyperparameters(seed=seed),
        listener=_Terminal(),
        should_stop=lambda: False,
        threads=threads,
    )
    seconds, cpu_seconds = time.monotonic() - begin, time.process_time() - begin_cpu
    before, neighbours_before = _score(model.baseline, draw)
    after, neighbours_after = _score(model, draw)
    return Cell(
        rows=len(draw.train.texts),
        test_rows=len(draw.test.texts),
        baseline_accuracy=before.accuracy,
        accuracy=after.accuracy,
        baseline_f1=before.macro.f1,
        f1=after.macro.f1,
        baseline_log_loss=before.log_loss,
        log_loss=after.log_loss,
        baseline_neighbours=neighbours_before,
        neighbours=neighbours_after,
        temperature=model.temperature,
        epochs=model.plan.epochs,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        threads=threads,
    )


def _score(predictor: Baseline | TrainedModel, draw: Draw) -> tuple[Evaluation, float]:
    label_ids = np.asarray(draw.test.label_ids)
    embeddings = predictor.embed(draw.test.texts)
    scores = evaluate(
        probabilities=predictor.classify(embeddings),
        label_ids=label_ids,
        labels=draw.labels,
        positive_label=None,
    )
    return scores, neighbour_share(embeddings, label_ids)


class _Terminal:
    """Tells a waiting person how far a cell is."""

    def on_progress(self, progress: Progress) -> None:
        if sys.stderr.isatty() and progress.eta_seconds is not None:
            left = f"step {progress.step}/{progress.total_steps}, {progress.eta_seconds:.0f} s left"
            print(f"\r{left:40}", end="\r", file=sys.stderr, flush=True)

    def on_metrics(self, metrics: StepMetrics) -> None:
        """Nothing is held out here."""


def _print_cell(name: str, number: int, cell: Cell) -> None:
    if number == 0:
        print(f"\n{name}: {cell.rows} rows, scored on {cell.test_rows}")
        print("draw  regression  Isogloss    gain   neighbours      log loss    seconds (of CPU)")
    print(
        f"{number:4}  {100 * cell.baseline_accuracy:9.2f}  {100 * cell.accuracy:8.2f}  "
        f"{cell.gain:+6.2f}  {100 * cell.baseline_neighbours:5.1f} {100 * cell.neighbours:5.1f}  "
        f"{cell.baseline_log_loss:6.3f} {cell.log_loss:6.3f}  "
        f"{cell.seconds:7.0f} ({cell.cpu_seconds:.0f})",
        flush=True,
    )


def _print_mean(cells: list[Cell]) -> None:
    before = 100 * statistics.mean(cell.baseline_accuracy for cell in cells)
    after = 100 * statistics.mean(cell.accuracy for cell in cells)
    seconds = statistics.mean(cell.seconds for cell in cells)
    print(f"mean  {before:9.2f}  {after:8.2f}  {after - before:+6.2f}  {seconds:42.0f}")


def _summary(cells: list[Cell]) -> dict[str, object]:
    return {
        "baseline_accuracy": statistics.mean(cell.baseline_accuracy for cell in cells),
        "accuracy": statistics.mean(cell.accuracy for cell in cells),
        "mean_gain": statistics.mean(cell.gain for cell in cells),
        "least_gain": min(cell.gain for cell in cells),
        "seconds": statistics.mean(cell.seconds for cell in cells),
        "draws": [asdict(cell) | {"gain": cell.gain} for cell in cells],
    }


def _digest(base: BaseEncoder, rows: Sequence[int], chosen: Plan) -> str:
    """Name a cell by what its result depends on: rows, base, plan, and the code that trains."""
    digest = hashlib.sha256(repr((rows, base.parameters, base.max_tokens, chosen)).encode())
    constants = {name: value for name, value in vars(recipe).items() if name[0].isupper()}
    digest.update(repr([constants[name] for name in sorted(constants)]).encode())
    folder = Path(services.trainer.__path__[0])
    trains = [folder / f"{module}.py" for module in ("training", "head", "encoder", "tokenize")]
    for path in sorted([*trains, *(folder / "learning").glob("*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _small() -> Path:
    """Find the packaged base without importing its package."""
    packaged = PACKAGED["small"]
    found = importlib.util.find_spec(packaged.package)
    if found is None or not found.submodule_search_locations:
        sys.exit(f"The package {packaged.package} is not installed: install the extra `trainer`.")
    return Path(next(iter(found.submodule_search_locations))) / packaged.directory


def _read(path: Path) -> list[tuple[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [(text, label) for text, label in csv.reader(file)]


if __name__ == "__main__":
    main()
