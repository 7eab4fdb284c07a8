"""`isogloss embed`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Unpack

import typer
from rich.text import Text

from isogloss import Client, Embeddings, Truncation, VectorType
from isogloss.cli.commands import command, model_name
from isogloss.cli.progress import MANY_TEXTS, text_progress
from isogloss.cli.session import Session
from isogloss.cli.text_options import (
    Cut,
    File,
    Kind,
    Model,
    Quantised,
    Texts,
    precision_of,
    texts_of,
)
from isogloss.cli.vector_files import WRITERS, write_vectors
from isogloss.cli.words import count, short
from isogloss.inference_options import EmbedOptions

SHOWN_NUMBERS = 4
"""Numbers of a vector that a table shows: enough to see that two differ."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "embed",
        services=["inference"],
        examples=[
            'isogloss embed --model tone-9x4kdp "My order was late"',
            "isogloss embed --model baseModels/small --file texts.csv --output vectors.npy",
            "isogloss embed --model tone-9x4kdp --file - --vector-type int8 --output v.parquet",
        ],
    )(embed)


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
            help="Write the vectors to FILE.npy (numpy), .csv, .jsonl or .parquet.",
            show_default=False,
        ),
    ] = None,
    vector_type: Annotated[
        VectorType, typer.Option(help="Type of the numbers.")
    ] = VectorType.FLOAT32,
    dimensions: Annotated[
        int,
        typer.Option(
            min=0,
            help="Numbers to keep of each vector, where the model was trained for it; 0: all.",
            show_default="all",
        ),
    ] = 0,
    force_dimensions: Annotated[
        bool, typer.Option("--force-dimensions", help="Cut whatever the model was trained for.")
    ] = False,
    input_type: Kind = None,
    truncation: Cut = Truncation.END,
    quantized: Quantised = False,
) -> None:
    """Compute the embedding of each text."""
    if output is not None and output.suffix not in WRITERS:
        endings = ", ".join(WRITERS)
        raise typer.BadParameter(f"--output {output}: the name must end in one of {endings}.")
    options = EmbedOptions(
        vector_type=vector_type,
        dimensions=dimensions,
        force_dimensions=force_dimensions,
        truncation=truncation,
        precision=precision_of(quantized=quantized),
    )
    if input_type is not None:
        options["input_type"] = input_type
    found = texts_of(session, texts, file)
    with session.client() as client, text_progress(session, len(found)) as progress:
        embeddings = _embedded(client, model_name(model), found, progress, **options)
    if output is not None:
        _write(session, output, found, embeddings)
    elif session.json:
        session.document(_document(found, embeddings))
    else:
        _table(session, found, embeddings)


def _embedded(
    client: Client,
    model: str,
    texts: Sequence[str],
    progress: Callable[[int], None] | None,
    **options: Unpack[EmbedOptions],
) -> Embeddings:
    """Embed in calls of their own, or where there are very many, behind what others wait for."""
    if len(texts) <= MANY_TEXTS:
        return client.embed(model, texts, progress=progress, **options)
    return Embeddings.joined(list(client.embed_many(model, texts, progress=progress, **options)))


def _write(session: Session, output: Path, texts: Sequence[str], embeddings: Embeddings) -> None:
    write_vectors(output, texts, embeddings)
    failed = len(embeddings.errors)
    if session.json:
        written = {"output": str(output), "shape": list(embeddings.vectors.shape)}
        session.document({**written, "errors": embeddings.errors})
        return
    shape = " x ".join(str(number) for number in embeddings.vectors.shape)
    session.note(f"{output}: {shape} {embeddings.vectors.dtype}.")
    if failed:
        first = next(iter(embeddings.errors.values()))
        session.note(f"{count(failed, 'text')} without a vector, the first one: {first.message}")


def _document(texts: Sequence[str], embeddings: Embeddings) -> dict[str, object]:
    return {
        "served_by": embeddings.served_by,
        "vector_type": embeddings.vector_type,
        "dimension": embeddings.dimension,
        "step": embeddings.step,
        "timings": embeddings.timings,
        "results": [
            {"text": text, "vector": vector, "usage": usage, "error": embeddings.errors.get(index)}
            for index, (text, vector, usage) in enumerate(
                zip(texts, embeddings.vectors, embeddings.usage, strict=True)
            )
        ],
    }


def _table(session: Session, texts: Sequence[str], embeddings: Embeddings) -> None:
    width = embeddings.vectors.shape[1]
    if not session.rich:
        session.line("text", "tokens", *(f"x{number}" for number in range(width)))
        for text, usage, vector in zip(texts, embeddings.usage, embeddings.vectors, strict=True):
            session.line(text, usage.token_count, *vector)
        return
    written = "{:+.4f}" if embeddings.vector_type.startswith("float") else "{:4}"
    rows = []
    for index, (text, usage) in enumerate(zip(texts, embeddings.usage, strict=True)):
        error = embeddings.errors.get(index)
        numbers = "  ".join(written.format(n) for n in embeddings.vectors[index][:SHOWN_NUMBERS])
        tokens = f"{usage.token_count}{' (cut)' if usage.truncated else ''}"
        vector = Text(error.message, "red") if error else Text(f"{numbers}  …")
        rows.append([short(text, 60), tokens, vector])
    session.table(["text", ">tokens", f"vector of {embeddings.dimension} numbers"], rows)
    session.next_step("--json prints them all; --output FILE.npy writes them.")
