"""Whether texts of another kind are told from a model's own.

`python -m bench.out_of_scope --data DIR [--json]` trains a model on ten rows of each label of
BANKING77, through the suite as anybody would, and has it classify texts of the set's test file and
of other sets; and another without every fourth label, which has to tell those labels' texts from
the ones that it learnt. Each text is scored by `out_of_scope` and, beside it, by how unsure the
model is (1 less the highest confidence), which is what there is to go by without: the higher the
score, the more it should be of another kind. The models are kept under `.cache/`.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # ships no types

from bench.labelled_sets import Pairs, published, read
from examples.demo import suite
from isogloss import Client, Hyperparameters
from services.common.neighbours import MAX_ROWS
from services.inference.engine import FloatArray
from services.inference.neighbours.explaining import Explainer, Scope
from services.inference.neighbours.rows import Rows

_OWN = "banking77"
_OTHERS = ("snips", "sms_spam")
_MOST_TEXTS = 1000
# Of each set: a share of 5 % is then known to 1.4 points.

_CACHE = Path(".cache/bench/out_of_scope")
_CALIBRATED = 0.95
_EVERY = 4
# Of the set's labels one is left out, for questions about the same things that nobody taught.

_DIMENSION = 384
_TIMES = 25

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How well one score tells a set from the model's own."""

    other: str
    """The set of another kind."""

    score: str
    auroc: float
    """Share of pairs of a text of each kind in which the other one's score is higher, 0 to 1."""

    own_suspected: float
    """Share of the model's own texts at or above the score that 95 % of the others reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """How often texts of the model's own kind are called far."""

    beside: str
    """The sets that it was measured with."""

    above: float
    own_share: float
    """Of them above that score; 1 less it is what is promised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What it takes to explain a call, beside its labels, on one core."""

    texts: int
    rows: int
    milliseconds: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled sets")
    parser.add_argument("--cache", type=Path, default=_CACHE, help="where the model is kept")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with suite(options.cache) as servers, servers.client() as client:
        figures = [
            *_far(client, options.data, options.cache),
            *_near(client, options.data, options.cache),
            *costs(),
        ]
    for figure in figures:
        if options.json:
            sys.stdout.write(json.dumps(asdict(figure)) + "\n")
        else:
            print("  ".join(f"{name} {value}" for name, value in asdict(figure).items()))


def _far(client: Client, data: Path, cache: Path) -> Sequence[Told | Calibrated]:
    """Score texts of other sets, and texts of the model's own."""
    model = _trained(client, data, cache, without=frozenset())
    own, *others = (
        _scores(client, model, _drawn(_unlearnt(data / name))) for name in (_OWN, *_OTHERS)
    )
    return [*measure(own, dict(zip(_OTHERS, others, strict=True)))]


def _near(client: Client, data: Path, cache: Path) -> Sequence[Told | Calibrated]:
    """Score texts of labels of the same set that were never learnt."""
    pairs = _unlearnt(data / _OWN)
    unknown = frozenset(sorted({label for _, label in pairs})[::_EVERY])
    model = _trained(client, data, cache, without=unknown)
    own, other = (
        _scores(client, model, _drawn([pair for pair in pairs if (pair[1] in unknown) is never]))
        for never in (False, True)
    )
    return [*measure(own, {f"{_OWN}, {len(unknown)} labels never learnt": other})]


def measure(
    own: Mapping[str, Scores], others: Mapping[str, Mapping[str, Scores]]
) -> Iterator[Told | Calibrated]:
    """Yield how well each score tells each set from the model's own.

    Args:
        own: Scores of texts of the model's kind, by the score's name.
        others: The same of other sets, by their names.
    """
    for other, found in others.items():
        for score, values in found.items():
            yield Told(
                other=other,
                score=score,
                auroc=round(_auroc(own[score], values), 4),
                own_suspected=round(float(np.mean(own[score] >= np.quantile(values, 0.05))), 4),
            )
    share = float(np.mean(own["out_of_scope"] > _CALIBRATED))
    yield Calibrated(beside=", ".join(others), above=_CALIBRATED, own_share=round(share, 4))


def costs() -> Iterator[Cost]:
    """Yield what it takes to find three neighbours and a score, among as many rows as are kept."""
    random = np.random.default_rng(0)
    explainer = Explainer(
        rows=Rows(
            vectors=_unit(random, MAX_ROWS),
            places=range(MAX_ROWS),
            labels=[("label",)] * MAX_ROWS,
        ),
        row_bytes=0,
        texts={},
        explain=3,
        scope=Scope(nearest=1, held_out_cosines=np.linspace(0.0, 1.0, 101).tolist()),
    )
    with threadpool_limits(1):
        for texts in (1, 32, 512):
            embeddings, seconds = _unit(random, texts), []
            for _ in range(_TIMES):
                began = time.process_time()
                explainer.explanations(embeddings)
                seconds.append(time.process_time() - began)
            milliseconds = round(float(np.median(seconds)) * 1000, 2)
            yield Cost(texts=texts, rows=MAX_ROWS, milliseconds=milliseconds)


def _unit(random: np.random.Generator, rows: int) -> FloatArray:
    vectors = random.normal(size=(rows, _DIMENSION)).astype(np.float32)
    unit: FloatArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _auroc(own: Scores, other: Scores) -> float:
    """Return the share of pairs that are ordered right; equal ones count half."""
    ordered = np.sort(own)
    below = np.searchsorted(ordered, other, side="left")
    equal = np.searchsorted(ordered, other, side="right") - below
    return float(np.mean(below + 0.5 * equal) / len(own))


def _scores(client: Client, model: str, texts: Sequence[str]) -> Mapping[str, Scores]:
    answer = client.classify(model, texts, top_k=1, out_of_scope=True)
    found = [result.out_of_scope for result in answer]
    # Where the score is 1 the cosine goes on ordering.
    far = [(one.score, -one.similarity) if one is not None else (0.0, 0.0) for one in found]
    return {
        "out_of_scope": np.array([score for score, _ in far]),
        "out_of_scope, then similarity": np.array([score + 1e-6 * last for score, last in far]),
        "1 - confidence": np.array([1.0 - result.labels[0].confidence for result in answer]),
    }


def _drawn(pairs: Pairs) -> Sequence[str]:
    order = np.random.default_rng(0).permutation(len(pairs))[:_MOST_TEXTS]
    return [pairs[row][0] for row in order.tolist()]


def _unlearnt(folder: Path) -> Pairs:
    """Return rows that nobody learnt from: of the test file, where there is one."""
    test = folder / "test.csv"
    return read(test if test.is_file() else folder / "train.csv")


def _trained(client: Client, data: Path, cache: Path, *, without: frozenset[str]) -> str:
    """Return the model that knows all labels but these, made on first use."""
    name = f"without-{len(without)}"
    note = cache / f"{name}.txt"
    if not note.is_file():
        print("Training a model, once ...", file=sys.stderr)
        draw = published(data, f"{_OWN}@10", 0)
        train = cache / f"{name}.csv"
        with train.open("w", newline="", encoding="utf-8") as file:
            written = csv.writer(file)
            written.writerow(("text", "label"))
            for text, number in zip(draw.train.texts, draw.train.label_ids, strict=True):
                if draw.labels[number] not in without:
                    written.writerow((text, draw.labels[number]))
        dataset = client.datasets.upload(name, train=train)
        model = client.models.create(
            name,
            dataset=dataset,
            base_model="baseModels/small",
            hyperparameters=Hyperparameters(seed=0),
        )
        note.write_text(client.models.wait(model).name)
    return note.read_text()


if __name__ == "__main__":
    main()
