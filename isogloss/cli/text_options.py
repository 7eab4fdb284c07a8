"""What all commands share that send texts to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isogloss import InputType, Precision, Truncation
from isogloss.cli.session import Session
from isogloss.cli.texts import read_texts
from isogloss.cli.words import count

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
Kind = Annotated[
    InputType | None,
    typer.Option(
        help="What the texts are, to a model that reads queries and documents differently.",
        show_default=False,
    ),
]
Quantised = Annotated[
    bool,
    typer.Option(
        "--quantized",
        help="Use the 8-bit variant: faster, at a loss that `isogloss models show` tells.",
    ),
]


def texts_of(session: Session, texts: list[str] | None, file: Path | None) -> list[str]:
    """Read the texts of a command, and say how many blank lines were left out."""
    found, blank = read_texts(texts or [], file)
    if blank:
        session.note(f"{count(blank, 'blank line')} left out.")
    return found


def precision_of(*, quantized: bool) -> Precision:
    """Name what `--quantized` stands for."""
    return Precision.QUANTIZED if quantized else Precision.EXACT
