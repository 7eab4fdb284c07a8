"""Text of any encoding becomes UTF-8, block by block; what means nothing becomes `BAD_BYTE`.

So one bad byte is the fault of one row, which is known only later.
"""

from __future__ import annotations

import codecs
import re
from typing import Protocol

from services.ingest.reading.block import BAD_BYTE

MARK_BAD = "isogloss.mark-bad"
"""Error handler that leaves `BAD_BYTE` in the text for everything that cannot be decoded."""

WESTERN = "western"
"""Windows-1252, and ISO 8859-1 where that leaves a byte without meaning."""

_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_BAD_CHARACTER = "\udcff"
"""Stands in a string for what could not be decoded; no encoding has it."""


def _mark_bad(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeDecodeError):
        return _BAD_CHARACTER, error.end
    if isinstance(error, UnicodeEncodeError):
        return bytes([BAD_BYTE]) * (error.end - error.start), error.end
    raise error


codecs.register_error(MARK_BAD, _mark_bad)


def _western_character(byte: int) -> str:
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


WESTERN_TABLE = "".join(map(_western_character, range(256)))


def fits_utf8(data: bytes, *, is_whole: bool) -> tuple[int, int]:
    """Count what is UTF-8 beyond ASCII in `data`, and what is not.

    Args:
        data: Begins with a character.
        is_whole: Whether it also ends with one.
    """
    text, _ = codecs.utf_8_decode(data, MARK_BAD, is_whole)
    bad = text.count(_BAD_CHARACTER)
    return len(_BEYOND_ASCII.findall(text)) - bad, bad


class Misjudged(Exception):
    """A byte contradicts the encoding that the beginning of the file suggested."""

    def __init__(self, sample: bytes) -> None:
        """Keep the evidence.

        Args:
            sample: Bytes of the file, that byte among them.
        """
        super().__init__()
        self.sample = sample


class Decoder(Protocol):
    """A stream on its way to UTF-8."""

    def feed(self, block: bytes, *, final: bool) -> bytes:
        """Return the text of `block`, but for a character that it cuts."""
        ...


class Utf8Decoder:
    """Checks what is UTF-8 already, without making text of it."""

    def __init__(self, *, is_certain: bool) -> None:
        """Begin at the beginning.

        Args:
            is_certain: Whether a byte that does not fit is bad, and not a sign of another
                encoding. Characters that do fit make it so.
        """
        self._is_certain = is_certain
        self._carry = b""

    def feed(self, block: bytes, *, final: bool) -> bytes:
        """Return the text of `block`, but for a character that it cuts.

        Raises:
            Misjudged: Where most of the first characters beyond ASCII do not fit.
        """
        data = self._carry + block if self._carry else block
        self._carry = b""
        if data.isascii():
            return data
        try:
            _, end = codecs.utf_8_decode(data, "strict", final)
        except UnicodeDecodeError:
            good, bad = (1, 1) if self._is_certain else fits_utf8(data, is_whole=final)
            if good < bad:
                raise Misjudged(data) from None
            self._is_certain = True
            text, end = codecs.utf_8_decode(data, MARK_BAD, final)
            self._carry = data[end:]
            return text.encode("utf-8", MARK_BAD)
        self._is_certain |= end > 0 and not data[:end].isascii()
        self._carry = data[end:]
        return data[:end] if self._carry else data


class CodecDecoder:
    """Translates any encoding that Python knows."""

    def __init__(self, codec: str) -> None:
        """Begin at the beginning.

        Args:
            codec: Python's name of it.
        """
        self._decoder = codecs.getincrementaldecoder(codec)(MARK_BAD)

    def feed(self, block: bytes, *, final: bool) -> bytes:
        """Return the text of `block`, but for a character that it cuts."""
        return self._decoder.decode(block, final).encode("utf-8", MARK_BAD)


class WesternDecoder:
    """Reads every byte as Windows-1252 or, where that has no meaning for it, as ISO 8859-1."""

    def feed(self, block: bytes, *, final: bool) -> bytes:  # noqa: ARG002  # no byte is part of another
        """Return the text of `block`."""
        return (
            block
            if block.isascii()
            else codecs.charmap_decode(block, "strict", WESTERN_TABLE)[0].encode()
        )


def decoder_of(codec: str, *, is_certain: bool) -> Decoder:
    """Return a decoder that begins after the byte order mark.

    Args:
        codec: Python's name of the encoding, or `WESTERN`.
        is_certain: Whether a byte that does not fit is an error of the file.
    """
    if codec == WESTERN:
        return WesternDecoder()
    return Utf8Decoder(is_certain=is_certain) if codec == "utf-8" else CodecDecoder(codec)
