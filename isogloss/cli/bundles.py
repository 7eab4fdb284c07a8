"""`isogloss models export|import`: models on their way out and in."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from isogloss.cli.commands import command, model_name
from isogloss.cli.progress import download_progress, sending_progress
from isogloss.cli.session import Session
from isogloss.cli.words import size


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(
        app,
        "export",
        services=["trainer"],
        examples=[
            "isogloss models export tone-9x4kdp --output tone.tar",
            "isogloss models export tone-9x4kdp --output tone.tar --examples",
        ],
    )(export)
    command(
        app,
        "import",
        services=["trainer"],
        examples=[
            "isogloss models import tone.tar",
            "isogloss models import tone.tar --name 'tone, from the other site'",
        ],
    )(import_)


def export(
    session: Session,
    *,
    model: Annotated[str, typer.Argument(help="models/ID, or ID alone.", show_default=False)],
    output: Annotated[
        Path, typer.Option(help="The file to write.", dir_okay=False, show_default=False)
    ],
    examples: Annotated[
        bool,
        typer.Option(
            "--examples",
            help="With texts of the dataset that the evaluation shows. Otherwise no text is in it.",
        ),
    ] = False,
) -> None:
    """Write a READY model into one file that works without Isogloss.

    It is a tar archive: unpacked, `loader.py` embeds and classifies with numpy, onnxruntime and
    tokenizers, and sentence-transformers reads `encoder/`.
    """
    with session.client() as client, download_progress(session) as progress:
        client.models.export(
            model_name(model), to=output, include_examples=examples, progress=progress
        )
    with output.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    count = output.stat().st_size
    if session.json:
        session.document({"file": str(output), "size_bytes": count, "sha256": digest})
    else:
        session.note(f"{output}: {size(count)} written, sha256 {digest}.")
        session.next_step(f"isogloss models import {output}", f"tar -xf {output} -C DIRECTORY")


def import_(
    session: Session,
    *,
    file: Annotated[
        Path,
        typer.Argument(
            help="What `isogloss models export` wrote.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ],
    name: Annotated[
        str, typer.Option(help="A name for people. Otherwise the one it had.", show_default=False)
    ] = "",
) -> None:
    """Make a READY model of an exported one, under a new name."""
    with session.client() as client, sending_progress(session, file) as progress:
        model = client.models.import_(file, display_name=name, progress=progress)
    if session.json:
        session.document(model)
        return
    session.table(
        ["!name", "display name", "!state"], [[model.name, model.display_name, model.state]]
    )
    session.next_step(f'isogloss classify --model {model.name} "a text of your own"')
