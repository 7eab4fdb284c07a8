"""The base models beside each other: size, speed of what is served, quality before any training.

    python -m bench.bases --data DIR [--sets banking77,nusax_sentiment] [--json] [ID=DIRECTORY ...]

`small` is always there; `python -m services.trainer.prepare_base` makes directories of others.
Speed is that of the exported graph on one core, in processor time, texts of the first set alone
and in groups of eight of like length. Quality is that of frozen embeddings: a tuned logistic
regression, and the share of the five nearest held-out texts with the same label.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import numpy as np
import torch

from bench.labelled_sets import Draw, draws, small_base
from services.trainer.base_import import BaseEncoder, read_base
from services.trainer.evaluation.geometry import neighbour_share
from services.trainer.exporting.session import Session
from services.trainer.exporting.variants import export_base
from services.trainer.tokenize import Tokenizer
from services.trainer.training import fit_baseline

_TIMED_TEXTS = 64
_PROBE_TEXTS = 16
_GROUP = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One base."""

    dimensions: int
    parameters: int
    megabytes: float
    """Of the exported graph."""

    texts_per_second: float
    """One core, a text at a time."""

    grouped_per_second: float
    """One core, groups of eight."""

    accuracy: Mapping[str, float]
    """Of the logistic regression, 0 to 1, by set; the mean over the draws."""

    neighbours: Mapping[str, float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled sets")
    parser.add_argument("--sets", default="banking77,nusax_sentiment", help="names, by commas")
    parser.add_argument("--draws", type=int, default=1, choices=range(1, 6))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("bases", nargs="*", metavar="ID=DIRECTORY")
    options = parser.parse_args(arguments)
    bases = {"small": small_base()}
    for pair in options.bases:
        name, _, directory = pair.partition("=")
        bases[name] = Path(directory)
    torch.set_num_threads(1)
    sets = {
        name: list(draws(options.data / name, options.draws)) for name in options.sets.split(",")
    }
    if not options.json:
        _print_head(list(sets))
    for name, directory in bases.items():
        found = measure(read_base(directory), sets)
        if options.json:
            sys.stdout.write(json.dumps({"base": name, **asdict(found)}) + "\n")
        else:
            _print_row(name, found)
        # The largest take minutes: what is known is shown.
        sys.stdout.flush()


def measure(base: BaseEncoder, sets: Mapping[str, Sequence[Draw]]) -> Measured:
    """Measure one base on some draws of some sets."""
    texts = next(iter(sets.values()))[0].test.texts[:_TIMED_TEXTS]
    sequences = sorted(Tokenizer.load(base).encode(texts), key=len)
    with TemporaryDirectory() as scratch:
        graph = export_base(base, Path(scratch), probe_texts=texts[:_PROBE_TEXTS]).exact.path
        megabytes = graph.stat().st_size / 1e6
        session = Session(graph, base.pad_token_id)
    alone, grouped = (
        len(sequences) / min(session.seconds(sequences, batch) for _ in range(3))
        for batch in (1, _GROUP)
    )
    scores = {name: [_score(base, draw) for draw in some] for name, some in sets.items()}
    return Measured(
        dimensions=base.dimensions,
        parameters=base.parameters,
        megabytes=megabytes,
        texts_per_second=alone,
        grouped_per_second=grouped,
        accuracy={name: fmean(pair[0] for pair in pairs) for name, pairs in scores.items()},
        neighbours={name: fmean(pair[1] for pair in pairs) for name, pairs in scores.items()},
    )


def _score(base: BaseEncoder, draw: Draw) -> tuple[float, float]:
    """Return accuracy and the share of like neighbours."""
    baseline = fit_baseline(base=base, labels=draw.labels, train=draw.train, seed=0)
    embeddings = baseline.embed(draw.test.texts)
    label_ids = np.asarray(draw.test.label_ids)
    right = baseline.classify(embeddings).argmax(axis=1) == label_ids
    return float(right.mean()), neighbour_share(embeddings, label_ids)


def _print_head(sets: Sequence[str]) -> None:
    columns = [f"{name} {what}" for name in sets for what in ("regression", "neighbours")]
    print(
        "| base | dimensions | M parameters | MB | texts/s | in groups |", " | ".join(columns), "|"
    )
    print("|" + "---|" * (6 + len(columns)))


def _print_row(name: str, one: Measured) -> None:
    shares = [
        f"{100 * share[label]:.1f}"
        for label in one.accuracy
        for share in (one.accuracy, one.neighbours)
    ]
    print(
        f"| {name} | {one.dimensions} | {one.parameters / 1e6:.1f} | {one.megabytes:.0f} "
        f"| {one.texts_per_second:.0f} | {one.grouped_per_second:.0f} |",
        " | ".join(shares),
        "|",
    )


if __name__ == "__main__":
    main()
