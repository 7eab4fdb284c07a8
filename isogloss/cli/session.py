"""One run of the command: how it was asked to connect and to print."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text

from isogloss import Client, ConnectionOptions
from isogloss.cli.document import dumps
from isogloss.cli.safe import VisibleText, visible


def _standard_output() -> Console:
    return _safe(Console(highlight=False, soft_wrap=False))


def _standard_error() -> Console:
    return _safe(Console(stderr=True, highlight=False))


def _safe(console: Console) -> Console:
    console.push_render_hook(VisibleText())
    return console


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What all commands need. Results go to `out`, everything said about them to `err`."""

    json: bool = False
    options: ConnectionOptions = field(default_factory=ConnectionOptions)
    out: Console = field(default_factory=_standard_output)
    err: Console = field(default_factory=_standard_error)

    def client(self) -> Client:
        """Open a client; close it."""
        return Client(**self.options)

    @property
    def rich(self) -> bool:
        """Whether a person looks at a terminal that can draw."""
        return self.out.is_terminal and not self.json

    @property
    def chatty(self) -> bool:
        """Whether to tell on standard error how it goes."""
        return not self.json

    def document(self, value: object, *, line: bool = False) -> None:
        """Print a JSON document; as one line where many follow each other."""
        sys.stdout.write(dumps(value, indent=None if line else 2) + "\n")
        sys.stdout.flush()

    def line(self, *cells: object) -> None:
        """Print a line of tab-separated cells, for other programs."""
        sys.stdout.write("\t".join(one_line(cell) for cell in cells) + "\n")
        sys.stdout.flush()

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = ""
    ) -> None:
        """Print a table: drawn on a terminal, tab-separated where it is piped.

        Args:
            columns: Names; a leading `>` sets a column of numbers to the right, a leading `!`
                keeps a column on one line.
            rows: Cells: text as it is, or rich's `Text` and the like.
            title: Stands above it on a terminal.
        """
        names = [name.lstrip(">!") for name in columns]
        if not self.rich:
            self.line(*names)
            for row in rows:
                self.line(*row)
            return
        drawn = Table(
            title=title or None,
            title_justify="left",
            box=None,
            pad_edge=False,
            padding=(0, 2, 0, 0),
        )
        for name, given in zip(names, columns, strict=True):
            drawn.add_column(
                name,
                justify="right" if given.startswith(">") else "left",
                no_wrap=given.startswith((">", "!")),
                # A narrow terminal squeezes columns, but none away.
                min_width=min(len(name), 6),
                overflow="ellipsis" if given.startswith("!") else "fold",
                header_style="bold",
            )
        for row in rows:
            drawn.add_row(*(Text(visible(cell)) if isinstance(cell, str) else cell for cell in row))  # type: ignore[arg-type] # rich takes anything that it can draw
        self.out.print(drawn)

    def note(self, text: str | Text) -> None:
        """Tell a person something beside the result."""
        if self.chatty:
            # A command to copy stays on one line; a terminal folds it by itself.
            self.err.print(text if isinstance(text, Text) else Text(text), soft_wrap=True)

    def next_step(self, *commands: str) -> None:
        """Name the commands that a newcomer would want now."""
        if self.rich:
            for command in commands:
                self.err.print(Text.assemble(("Next: ", "dim"), (command, "cyan")), soft_wrap=True)


def one_line(cell: object) -> str:
    """Make a cell safe between tabs, and on the terminal that it may reach after all."""
    text = cell.plain if isinstance(cell, Text) else str(cell)
    return visible(text.replace("\t", " ").replace("\r", " ").replace("\n", " "))
