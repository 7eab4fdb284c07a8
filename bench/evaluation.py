"""What an evaluation costs beyond embedding, and how well it finds labels that are wrong.

    python -m bench.evaluation --data DIR [--set banking77] [--json]

`DIR/NAME/{train,test}.csv` hold text and label. The whole set is embedded with the untrained base;
each part of an evaluation is then timed in processor time on one core. A twentieth of the training
labels is changed at random, and what the search names is held against that. Where cleanlab can be
imported, it is given the same probabilities.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # ships no types

from bench.labelled_sets import read, small_base
from services.trainer.base_import import read_base
from services.trainer.encoder import embed, load_encoder
from services.trainer.evaluation import (
    geometry,
    heads,
    label_errors,
    learning_curve,
    neighbours,
    projection,
)
from services.trainer.evaluation.arrays import FloatArray, IntArray
from services.trainer.tokenize import Tokenizer

_CHANGED_SHARE = 0.05
_FIRST = 100


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.evaluation", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", default="banking77")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    train, test = (read(options.data / options.set / f"{part}.csv") for part in ("train", "test"))
    labels = sorted({label for _, label in train})
    index = {label: number for number, label in enumerate(labels)}
    embeddings = [_embedded([text for text, _ in pairs]) for pairs in (train, test)]
    label_ids = [np.array([index[label] for _, label in pairs]) for pairs in (train, test)]
    with threadpool_limits(limits=1):
        seconds = costs(embeddings, label_ids, len(labels))
        found = recovery(embeddings[0], label_ids[0], len(labels))
    if options.json:
        print(json.dumps({"seconds": seconds, "label_errors": found}, indent=2))
        return
    print(f"{options.set}: {len(train)} training rows, {len(test)} scored, {len(labels)} labels")
    for name, value in seconds.items():
        print(f"{name:<24}{value:8.1f} s of processor time")
    for name, number in found.items():
        print(f"{name:<40}{number:8}")


def costs(
    embeddings: Sequence[FloatArray], label_ids: Sequence[IntArray], labels: int
) -> Mapping[str, float]:
    """Return the processor seconds of each part.

    Args:
        embeddings: [N, D] of the training rows, [M, D] of the scored ones.
        label_ids: [N] and [M].
        labels: How many there are.
    """
    known, asked = embeddings
    truth, asked_truth = (np.eye(labels, dtype=np.bool_)[ids] for ids in label_ids)
    parts: dict[str, Callable[[], object]] = {
        "label errors": lambda: label_errors.find(
            heads.cross_validated(known, truth, single=True, seed=0), truth, single=True
        ),
        "learning curve": lambda: learning_curve.measure(
            known, truth, asked, asked_truth, single=True, seed=0
        ),
        "neighbours": lambda: neighbours.vote(known, truth, asked, single=True, seed=0),
        "geometry": lambda: geometry.describe(asked, asked_truth, single=True, seed=0),
        # The same embedding twice costs what two do.
        "both maps": lambda: projection.project(asked, asked, seed=0),
    }
    return {name: round(_timed(part), 2) for name, part in parts.items()}


def recovery(embeddings: FloatArray, label_ids: IntArray, labels: int) -> Mapping[str, int]:
    """Change labels and return how many of them are found, and what else is named."""
    random = np.random.default_rng(0)
    changed = random.permutation(len(label_ids))[: round(_CHANGED_SHARE * len(label_ids))]
    told = label_ids.copy()
    told[changed] = (told[changed] + random.integers(1, labels, len(changed))) % labels
    truth = np.eye(labels, dtype=np.bool_)[told]
    said = heads.cross_validated(embeddings, truth, single=True, seed=0)
    found = label_errors.find(said, truth, single=True)
    rows = [error.row for error in found]
    wrong = set(changed.tolist())
    result = {
        "labels changed": len(changed),
        "rows named": len(rows),
        "of them changed": len(wrong.intersection(rows)),
        f"of the first {_FIRST} changed": len(wrong.intersection(rows[:_FIRST])),
        "former label suggested": sum(
            error.row in wrong and error.suggested == (label_ids[error.row],) for error in found
        ),
    }
    if importlib.util.find_spec("cleanlab") is not None:
        from cleanlab.filter import (  # type: ignore[import-not-found] # noqa: PLC0415 (a peer, where there is one)
            find_label_issues,
        )

        theirs = find_label_issues(
            told,
            said,
            filter_by="confident_learning",
            return_indices_ranked_by="self_confidence",
            n_jobs=1,
        )
        result["rows named by cleanlab"] = len(theirs)
        result["rows named by both"] = len(set(rows).intersection(theirs.tolist()))
    return result


def _timed(part: Callable[[], object]) -> float:
    begin = time.process_time()
    part()
    return time.process_time() - begin


def _embedded(texts: Sequence[str]) -> FloatArray:
    base = read_base(small_base())
    tokens = Tokenizer.load(base).encode_compactly(texts)
    return embed(load_encoder(base), tokens, base.pad_token_id)


if __name__ == "__main__":
    main()
