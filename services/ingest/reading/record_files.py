"""Keeps canonical records in files of moderate size, each handed on as soon as it is full.

So what comes next works on the beginning of a file while its end is still being read. Knows
nothing of what the records hold.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from services.ingest.dataset import RecordLayout, Records, Split

_LEAST_BYTES = 64 << 20
"""Of a file that another follows: under half a second's work for those who take it."""

_GROWTH = 16
"""A file is at least this part of all before it, so that even the largest upload makes dozens."""


class RecordFiles:
    """The canonical records of one uploaded file, in order."""

    def __init__(
        self,
        *,
        split: Split,
        directory: Path,
        take: Callable[[Records], None],
        least_bytes: int = _LEAST_BYTES,
    ) -> None:
        """Begin without records.

        Args:
            split: Which file was uploaded.
            directory: Scratch, where the files are written.
            take: Receives each file, and removes it.
            least_bytes: Of a file that another follows.
        """
        self._split = split
        self._directory = directory
        self._take = take
        self._least_bytes = least_bytes
        self._layout: RecordLayout | None = None
        self._full: list[tuple[Path, Path, int]] = []
        self._number = self._before = 0
        self._open()

    def __enter__(self) -> Self:
        """Return the open files."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close what is open; it was handed on, or nobody needs it."""
        self._records.close()
        self._positions.close()

    @property
    def is_full(self) -> bool:
        """Whether the next record begins a file."""
        return self._size >= max(self._least_bytes, self._before // _GROWTH)

    def write(self, run: bytes | memoryview, records: int) -> None:
        """Append canonical records."""
        self._records.write(run)
        self._size += len(run)
        self.count += records

    def place(self, record: int, rows: int, lines: int) -> None:
        """Say what was passed over before a record of this file, as `Records.positions` has it."""
        self._positions.write(f"{record},{rows},{lines}\n")

    def next(self) -> None:
        """Hand the file on and begin another."""
        self._close()
        self._number += 1
        self._open()

    def describe(self, layout: RecordLayout) -> None:
        """Say what the records look like: until then, none are handed on."""
        self._layout = layout
        self._hand_on()

    def finish(self) -> None:
        """Hand on what is left: at least one file, be it empty."""
        if self.count or not self._number:
            self._close()

    def _open(self) -> None:
        stem = f"{self._split}.{self._number}"
        self._records = (self._directory / f"{stem}.records.csv").open("wb")
        self._positions = (self._directory / f"{stem}.positions.csv").open("w")
        self.count = 0
        """Records of the file that is open."""

        self._size = 0

    def _close(self) -> None:
        self._records.close()
        self._positions.close()
        self._before += self._size
        self._full.append((Path(self._records.name), Path(self._positions.name), self.count))
        self._hand_on()

    def _hand_on(self) -> None:
        if self._layout is None:
            return
        for path, positions, count in self._full:
            self._take(
                Records(
                    split=self._split,
                    layout=self._layout,
                    count=count,
                    path=path,
                    positions=positions,
                )
            )
        self._full = []
