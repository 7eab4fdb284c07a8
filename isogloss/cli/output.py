"""Where `--output` of a download leads: a file, or `-` for standard output."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from isogloss.cli.session import Session
from isogloss.cli.words import size

STDOUT = Path("-")


@contextmanager
def written(session: Session, output: Path) -> Iterator[Path]:
    """Give the path of a file to write; afterwards tell what was written, or pass it on.

    A download that breaks is begun anew, which a pipe cannot be: standard output gets the file
    when it is whole, and as CSV where no format is asked for.

    Raises:
        BadParameter: Standard output is a terminal, or takes the document of `--json`.
    """
    if output != STDOUT:
        yield output
        count = output.stat().st_size
        if session.json:
            session.document({"file": str(output), "size_bytes": count})
        else:
            session.note(f"{output}: {size(count)} written.")
        return
    if session.json:
        raise typer.BadParameter("Standard output takes --json or --output -, not both.")
    if session.out.is_terminal:
        raise typer.BadParameter(
            "Rows may hold what a terminal obeys: pipe --output - into a program, or name a file."
        )
    with TemporaryDirectory(prefix="isogloss-") as folder:
        whole = Path(folder, "rows.csv")
        yield whole
        with whole.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
