"""A fine-tuned model for rows that need one: two names of it, an 8-bit variant, an alias."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from examples.demo import TONE, suite
from isogloss import Client, Hyperparameters, Precision

ALIAS = "aliases/bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What was made."""

    model: str
    """Full resource name."""

    twin: str
    """The same model under another name."""

    quantized: bool
    """Whether the trainer found an 8-bit variant that is worth its place."""


def trained(directory: Path, base: str) -> Trained:
    """Return the model, made on first use: the demo's messages, one epoch.

    Args:
        directory: Data directory of the suite.
        base: What it starts from, published there.
    """
    note = directory / "trained.json"
    if not note.is_file():
        print("Training a model, once ...", file=sys.stderr)
        with suite(directory) as servers, servers.client() as client:
            note.write_text(json.dumps(asdict(_train(client, directory, base))))
    return Trained(**json.loads(note.read_text()))


def _train(client: Client, directory: Path, base: str) -> Trained:
    dataset = client.datasets.upload("bench", train=TONE / "train.csv", test=TONE / "test.csv")
    model = client.models.create(
        "bench",
        dataset=dataset,
        base_model=base,
        hyperparameters=Hyperparameters(epochs=1, seed=7),
    )
    model = client.models.wait(model)
    bundle = client.models.export(model, to=directory / "bench.tar")
    twin = client.models.import_(bundle, display_name="bench twin")
    bundle.unlink()
    precisions = {variant.precision for variant in model.variants}
    return Trained(model=model.name, twin=twin.name, quantized=Precision.QUANTIZED in precisions)
