"""The main job, end to end, on this machine: labelled messages in, a model that knows them out.

    make demo

Starts the whole suite, uploads `examples/tone`, fine-tunes the base model `small`, and shows
what changed: accuracy on messages it never saw, neighbours, and a picture of both. Everything
goes through the public client. The last line is one JSON object.
"""

from __future__ import annotations

import csv
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from examples.picture import draw
from isogloss import ClassificationMetrics, Client, IsoglossError, ModelUpdate, StepMetrics

TONE = Path(__file__).parent / "tone"
OUT = Path("out/demo")
NEW_MESSAGES = (
    "Oh brilliant, charged twice for one kettle. Exactly what my Monday needed.",
    "Could you tell me which courier brings orders over 20 kg?",
    "I was sure the refund would be a fight, and it was in my account by lunch. Thank you!",
    "The new app is lovely to look at. Shame it logs me out every ten minutes.",
)

console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Where the three servers of one demo listen."""

    ingest: str
    trainer: str
    inference: str

    def client(self) -> Client:
        """Connect to all three."""
        return Client(ingest=self.ingest, trainer=self.trainer, inference=self.inference)


def main() -> int:
    """Run the demo; return its exit status."""
    began = time.monotonic()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    try:
        with suite(OUT / "data") as servers, servers.client() as client:
            summary = story(client)
    except (IsoglossError, RuntimeError) as error:
        console.print("[red]The demo stopped:[/]", error)
        return 1
    summary["total_seconds"] = round(time.monotonic() - began, 1)
    # Not through rich, which would wrap it.
    sys.stdout.write(json.dumps(summary) + "\n")
    return 0


def story(client: Client) -> dict[str, float]:
    """Upload, fine-tune, compare, use; return the figures of the last line."""
    heading("1. Upload and validate")
    dataset = client.datasets.upload("tone", train=TONE / "train.csv", test=TONE / "test.csv")
    rows = dataset.report.rows if dataset.report else {}
    parts = ", ".join(f"{count} rows of {split}" for split, count in rows.items())
    console.print(f"{dataset.name} is {dataset.state}: {parts}")

    heading("2. Fine-tune the base model `small`")
    model = client.models.create("tone", dataset=dataset, base_model="baseModels/small")
    console.print(f"{model.name}\n{'step':>6} {'loss':>8} {'accuracy':>9} {'F1':>8}")
    model = client.models.wait(model, progress=print_step)
    if model.start_time is None or model.end_time is None:
        message = f"{model.name} is {model.state} without the times of its run"
        raise RuntimeError(message)
    train_seconds = (model.end_time - model.start_time).total_seconds()

    heading("3. What changed, on 150 messages that it never saw")
    evaluation = client.models.evaluation(model)
    baseline = evaluation.baseline
    if baseline is None:
        message = f"{evaluation.name} came without its baseline"
        raise RuntimeError(message)
    texts, tones, subjects = test_messages()
    before = client.embed("baseModels/small", texts).vectors
    after = client.embed(model.name, texts).vectors
    compare((baseline, evaluation.metrics), (before, after), tones, subjects)
    for advice in evaluation.advice:
        console.print(f"- {advice.message}")
    picture = OUT / "before-after.svg"
    panels = [("Before: untrained base", before), ("After: fine-tuned on tone", after)]
    draw(picture, panels, tones, subjects)
    console.print(f"Picture of both: {picture}")

    heading("4. Use it on new messages")
    for text, found in zip(NEW_MESSAGES, client.classify(model.name, NEW_MESSAGES), strict=True):
        console.print(f"{found.label:>9} {found.confidence:4.0%}  {text}")
    vectors = client.embed(model.name, NEW_MESSAGES)
    console.print(f"embedded: {len(vectors)} vectors of {vectors.vectors.shape[1]} numbers")
    return {
        "baseline_accuracy": round(baseline.accuracy, 4),
        "finetuned_accuracy": round(evaluation.metrics.accuracy, 4),
        "baseline_neighbor_agreement": round(agreement(before, tones), 4),
        "finetuned_neighbor_agreement": round(agreement(after, tones), 4),
        "train_seconds": round(train_seconds, 1),
    }


def compare(
    metrics: tuple[ClassificationMetrics, ClassificationMetrics],
    vectors: tuple[NDArray[np.float32], NDArray[np.float32]],
    tones: Sequence[str],
    subjects: Sequence[str],
) -> None:
    """Print the figures of the untrained base beside those of the fine-tuned model."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for column in ("untrained", "fine-tuned", "change"):
        table.add_column(column, justify="right")
    (baseline, tuned), (before, after) = metrics, vectors
    lines = [
        ("accuracy", baseline.accuracy, tuned.accuracy),
        ("precision, mean of labels", baseline.precision, tuned.precision),
        ("recall, mean of labels", baseline.recall, tuned.recall),
        ("F1, mean of labels", baseline.f1, tuned.f1),
        ("nearest neighbour has the same tone", agreement(before, tones), agreement(after, tones)),
        (
            "nearest neighbour has the same subject",
            agreement(before, subjects),
            agreement(after, subjects),
        ),
    ]
    for name, old, new in lines:
        table.add_row(name, f"{old:.1%}", f"{new:.1%}", f"{100 * (new - old):+.1f} points")
    console.print(table)


def agreement(vectors: NDArray[np.float32], groups: Sequence[str]) -> float:
    """Tell the share of texts whose nearest other text by cosine is of the same group.

    Args:
        vectors: Shape (n, dimension), each of length 1.
        groups: The group of each text.
    """
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    names = np.asarray(groups)
    return float((names == names[cosines.argmax(axis=1)]).mean())


def test_messages() -> tuple[list[str], list[str], list[str]]:
    """Read the texts, tones and subjects of the test file."""
    with (TONE / "subjects.csv").open(encoding="utf-8", newline="") as file:
        subject = {row["text"]: row["subject"] for row in csv.DictReader(file)}
    with (TONE / "test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    texts = [row["text"] for row in rows]
    return texts, [row["label"] for row in rows], [subject[text] for text in texts]


def print_step(update: ModelUpdate) -> None:
    """Print one line a measurement."""
    metrics = update.event.detail if update.event else None
    if isinstance(metrics, StepMetrics):
        note = "  untrained" if metrics.step == 0 else ""
        console.print(
            f"{metrics.step:>6} {metrics.loss:>8.3f} {metrics.accuracy:>9.1%} "
            f"{metrics.f1:>8.3f}{note}"
        )


@contextmanager
def suite(data: Path) -> Iterator[Suite]:
    """Run the three servers on free ports, as `isogloss up` does, and stop them.

    Raises:
        RuntimeError: They did not start.
    """
    ports = free_ports(3)
    names = ("ingest", "trainer", "inference")
    flags = [f"--{name}-port={port}" for name, port in zip(names, ports, strict=True)]
    command = [sys.executable, "-m", "isogloss", "up", f"--data={data}", *flags]
    data.mkdir(parents=True, exist_ok=True)
    said = data / "up.log"
    with said.open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)  # noqa: S603 - our own words
    try:
        # It says where the servers are once all of them answer, or ends.
        if not (process.stdout and process.stdout.readline()):
            message = f"the servers did not start:\n{said.read_text(errors='replace')}"
            raise RuntimeError(message)
        yield Suite(**{n: f"127.0.0.1:{p}" for n, p in zip(names, ports, strict=True)})
    finally:
        process.terminate()
        process.communicate()


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def heading(text: str) -> None:
    """Print what comes next."""
    console.print(f"\n[bold]{text}[/]")


if __name__ == "__main__":
    sys.exit(main())
