"""`isogloss embed` and `isogloss classify`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.text import Text

from isogloss import Classification, Embeddings, Precision, Truncation
from isogloss.cli.commands import command, model_name
from isogloss.cli.progress import text_progress
from isogloss.cli.session import Session
from isogloss.cli.texts import read_texts
from isogloss.cli.words import count, short

SHOWN_NUMBERS = 4
"""Numbers of a vector that a table shows: enough to see that two differ."""

SHOWN_LABELS = 3

Texts = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TEXT",
        help="Texts; without any, --file or standard input is read.",
        show_default=False,
    ),
]
Model = Annotated[
    str,
    typer.Option(
        help="models/ID, or ID alone; aliases/ID; or baseModels/ID to embed.", show_default=False
    ),
]
File = Annotated[
    Path | None,
    typer.Option(
        help="CSV with a `text` column, or one text a line; - is standard input.",
        show_default=False,
    ),
]
Cut = Annotated[
    Truncation, typer.Option(help="What to leave out of a text that is too long; none refuses it.")
]
Quantised = Annotated[
    bool,
    typer.Option(
        "--quantized",
        help="Use the 8-bit variant: faster, at a loss that `isogloss models show` tells.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(
        app,
        "embed",
        services=["inference"],
        examples=[
            'isogloss embed --model tone-9x4kdp "My order was late"',
            "isogloss embed --model baseModels/small --file texts.csv --output vectors.npy",
        ],
    )(embed)
    command(
        app,
        "classify",
        services=["inference"],
        examples=[
            'isogloss classify --model tone-9x4kdp "My order was late"',
            "cat texts.txt | isogloss classify --model tone-9x4kdp --file - --json",
        ],
    )(classify)


def _read(session: Session, texts: list[str] | None, file: Path | None) -> list[str]:
    found, blank = read_texts(texts or [], file)
    if blank:
        session.note(f"{count(blank, 'blank line')} left out.")
    return found


def _precision(*, quantized: bool) -> Precision:
    return Precision.QUANTIZED if quantized else Precision.EXACT


def embed(
    session: Session,
    *,
    model: Model,
    texts: Texts = None,
    file: File = None,
    output: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="Write the vectors to FILE.npy (numpy) or FILE.csv.",
            show_default=False,
        ),
    ] = None,
    truncation: Cut = Truncation.END,
    quantized: Quantised = False,
) -> None:
    """Compute the embedding of each text."""
    if output is not None and output.suffix not in {".npy", ".csv"}:
        raise typer.BadParameter(f"--output {output}: the name must end in .npy or .csv.")
    found = _read(session, texts, file)
    with session.client() as client, text_progress(session, len(found)) as progress:
        embeddings = client.embed(
            model_name(model),
            found,
            truncation=truncation,
            precision=_precision(quantized=quantized),
            progress=progress,
        )
    if output is not None:
        _write(output, found, embeddings)
        shape = " x ".join(str(number) for number in embeddings.vectors.shape)
        if session.json:
            session.document({"output": str(output), "shape": list(embeddings.vectors.shape)})
        else:
            session.note(f"{output}: {shape} float32.")
    elif session.json:
        session.document(_document(found, embeddings))
    else:
        _table(session, found, embeddings)


def _document(texts: Sequence[str], embeddings: Embeddings) -> dict[str, object]:
    return {
        "served_by": embeddings.served_by,
        "dimension": embeddings.vectors.shape[1],
        "results": [
            {"text": text, "vector": vector, "usage": usage, "error": embeddings.errors.get(index)}
            for index, (text, vector, usage) in enumerate(
                zip(texts, embeddings.vectors, embeddings.usage, strict=True)
            )
        ],
    }


def _write(output: Path, texts: Sequence[str], embeddings: Embeddings) -> None:
    if output.suffix == ".npy":
        np.save(output, embeddings.vectors)
        return
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        dimension = embeddings.vectors.shape[1]
        writer.writerow(["text", *(f"x{number}" for number in range(dimension))])
        for text, vector in zip(texts, embeddings.vectors, strict=True):
            writer.writerow([text, *(str(number) for number in vector)])


def _table(session: Session, texts: Sequence[str], embeddings: Embeddings) -> None:
    dimension = embeddings.vectors.shape[1]
    if not session.rich:
        session.line("text", "tokens", *(f"x{number}" for number in range(dimension)))
        for text, usage, vector in zip(texts, embeddings.usage, embeddings.vectors, strict=True):
            session.line(text, usage.token_count, *vector)
        return
    rows = []
    for index, (text, usage) in enumerate(zip(texts, embeddings.usage, strict=True)):
        error = embeddings.errors.get(index)
        numbers = "  ".join(f"{n:+.4f}" for n in embeddings.vectors[index][:SHOWN_NUMBERS])
        tokens = f"{usage.token_count}{' (cut)' if usage.truncated else ''}"
        vector = Text(error.message, "red") if error else Text(f"{numbers}  …")
        rows.append([short(text, 60), tokens, vector])
    session.table(["text", ">tokens", f"vector of {dimension} numbers"], rows)
    session.next_step("--json prints them all; --output FILE.npy writes them.")


def classify(
    session: Session,
    *,
    model: Model,
    texts: Texts = None,
    file: File = None,
    top_k: Annotated[
        int, typer.Option(min=0, help="Labels to tell for each text; 0: all.", show_default="all")
    ] = 0,
    truncation: Cut = Truncation.END,
    quantized: Quantised = False,
) -> None:
    """Predict the label of each text, or its labels."""
    found = _read(session, texts, file)
    with session.client() as client, text_progress(session, len(found)) as progress:
        answer = client.classify(
            model_name(model),
            found,
            top_k=top_k,
            truncation=truncation,
            precision=_precision(quantized=quantized),
            progress=progress,
        )
    if session.json:
        session.document(
            {
                "served_by": answer.served_by,
                "label_mode": answer.label_mode,
                "results": [
                    {"text": text, **_fields(result)}
                    for text, result in zip(found, answer, strict=True)
                ],
            }
        )
        return
    shown = SHOWN_LABELS if session.rich and not top_k else top_k
    session.table(
        ["!label", ">confidence", "others", "text"],
        (_row(session, text, result, shown) for text, result in zip(found, answer, strict=True)),
    )


def _fields(result: Classification) -> dict[str, object]:
    return {
        "predictions": result.predictions,
        "labels": result.labels,
        "usage": result.usage,
        "error": result.error,
    }


def _row(session: Session, text: str, result: Classification, most: int) -> list[str | Text]:
    words = short(text, 80) if session.rich else text
    if result.error is not None:
        return ["", "", Text(result.error.message, "red"), words]
    predicted = {label.label for label in result.predictions}
    others = [label for label in result.labels if label.label not in predicted]
    shown = others[: most - 1] if most else others
    return [
        Text(", ".join(label.label for label in result.predictions), "bold"),
        ", ".join(f"{label.confidence:.4f}" for label in result.predictions),
        Text(", ".join(f"{label.label} {label.confidence:.4f}" for label in shown), "dim"),
        words,
    ]
