"""The text of an upload, UTF-8 with LF line ends, whatever its bytes are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from services.ingest.dataset import Limits
from services.ingest.finding import Code, Finding, Refused, excerpt
from services.ingest.reading.decoding import decoder_of
from services.ingest.reading.encoding import Encoding
from services.ingest.reading.newlines import Newlines

MOST_BLANK = 16 << 20
"""Bytes of blank lines that a file may begin with: nobody means more, and they are held."""


class Text:
    """A stream of text, read once; its beginning may be looked at before."""

    def __init__(self, blocks: Iterable[bytes], encoding: Encoding) -> None:
        """Open it.

        Args:
            blocks: The bytes of the file.
            encoding: What they mean.
        """
        self.newlines = Newlines()
        self._pieces = self._decoded(blocks, encoding)
        self._head = b""

    def head(self, size: int) -> tuple[bytes, bool]:
        """Return the beginning, and whether it is all there is.

        Args:
            size: Bytes it shall have at least, if there are as many; more, up to `MOST_BLANK`,
                where they are blank: nothing tells then what the file is.
        """
        while len(self._head) < size or (len(self._head) < MOST_BLANK and self._head.isspace()):
            piece = next(self._pieces, None)
            if piece is None:
                return self._head, True
            self._head += piece
        return self._head, False

    def __iter__(self) -> Iterator[bytes]:
        """Yield the text from the beginning, in pieces."""
        if self._head:
            yield self._head
        self._head = b""
        yield from self._pieces

    def _decoded(self, blocks: Iterable[bytes], encoding: Encoding) -> Iterator[bytes]:
        decoder = decoder_of(encoding.codec, is_certain=encoding.is_certain)
        mark = encoding.mark_bytes
        for block in blocks:
            yield self.newlines.feed(decoder.feed(block[mark:], final=False))
            mark = 0
        yield self.newlines.feed(decoder.feed(b"", final=True)) + self.newlines.finish()


def sample_of(text: Text, size: int, limits: Limits) -> tuple[bytes, bool]:
    """Return the beginning of the file, at least one line of it.

    Raises:
        Refused: Where the first line is longer than a row may be.
    """
    sample, is_whole = text.head(size)
    if b"\n" not in sample and not is_whole:
        sample, is_whole = text.head(limits.max_record_bytes)
        if b"\n" not in sample and not is_whole:
            raise Refused(
                Finding(
                    code=Code.LINE_TOO_LONG,
                    message=f"The first line is longer than {limits.max_record_bytes} bytes.",
                    line=1,
                    excerpt=excerpt(sample),
                    fix="See whether line ends are missing: write one example a line.",
                )
            )
    return sample, is_whole
