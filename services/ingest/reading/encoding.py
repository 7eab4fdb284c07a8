"""Which encoding a file is in: declared, marked, proven by its bytes, or assumed and said so.

A guess that could turn texts into other letters without a trace is never made.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from services.ingest.finding import Code, Finding, Refused, excerpt
from services.ingest.reading.decoding import MARK_BAD, WESTERN, WESTERN_TABLE, fits_utf8

_MARKS: tuple[tuple[bytes, str], ...] = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32le"),
    (codecs.BOM_UTF32_BE, "utf-32be"),
    (codecs.BOM_UTF16_LE, "utf-16le"),
    (codecs.BOM_UTF16_BE, "utf-16be"),
    (codecs.BOM_UTF8, "utf-8"),
)
_SUPERSETS = {"shift_jis": "cp932", "gb2312": "gb18030", "euc_kr": "cp949"}
"""What programs write that name the narrower one."""

_NAMES = "utf-8, utf-16le, utf-16be, cp1252, latin-1, shift-jis, iso-8859-7, cp1251, gb18030"
_SAMPLE_BYTES = 64 << 10
_BYTES_BEYOND_ASCII = re.compile(rb"[\x80-\xff]+")
_LETTERS = re.compile(rb"[A-Za-z]")
_CHARACTERS_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_JAPANESE = re.compile(r"[\u3000-\u30ff\u4e00-\u9fff]+")
_RUN = 3
"""Bytes beyond ASCII in a row that hardly occur in one word of a Western European language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How the bytes of a file become text."""

    name: str
    codec: str
    """Python's name of it, or `WESTERN`."""

    mark_bytes: int = 0
    """Length of the byte order mark."""

    is_declared: bool = False
    is_certain: bool = True
    """Whether a byte that does not fit is an error of the file rather than of the guess."""

    finding: Finding | None = None
    """What to say where it was assumed."""


def encoding_of(head: bytes, *, declared: str, is_whole: bool) -> Encoding:
    """Find the encoding of a file.

    Args:
        head: Its first bytes.
        declared: What the caller said, or "".
        is_whole: Whether `head` is all of it.

    Raises:
        Refused: Where nobody can tell, or what was declared cannot be.
    """
    mark, marked = next(((m, n) for m, n in _MARKS if head.startswith(m)), (b"", ""))
    if declared:
        return _declared(declared, marked, len(mark))
    if marked:
        return Encoding(name=marked, codec=marked, mark_bytes=len(mark))
    if wide := _utf16_without_mark(head[:_SAMPLE_BYTES]):
        return Encoding(name=wide, codec=wide)
    good, bad = fits_utf8(head, is_whole=is_whole)
    if good >= bad:
        return Encoding(name="utf-8", codec="utf-8", is_certain=good > 0)
    return western(head)


def western(sample: bytes) -> Encoding:
    """Return Windows-1252 as the assumption for bytes that are not UTF-8.

    It reads ISO 8859-1 (Latin-1) too.

    Raises:
        Refused: Where the bytes look like no Western European language.
    """
    first = _BYTES_BEYOND_ASCII.search(sample)
    begin = first.start() if first else 0
    around = sample[max(begin - 40, 0) : begin + 160]
    near = around[:_SAMPLE_BYTES]
    sample = sample[max(begin - 40, 0) :][:_SAMPLE_BYTES]
    if _is_japanese(sample):
        raise _ask(
            "The file is not UTF-8; its bytes look like Shift-JIS.", "shift-jis", near, "cp932"
        )
    runs = [len(run) for run in _BYTES_BEYOND_ASCII.findall(sample)]
    letters = len(_LETTERS.findall(sample)) + sum(runs)
    if sum(run for run in runs if run >= _RUN) * 10 > letters * 3:
        raise _ask(
            "The file is not UTF-8, and its bytes look like no Western European language.",
            "iso-8859-7",
            near,
            "latin-1",
        )
    return Encoding(
        name="cp1252",
        codec=WESTERN,
        finding=Finding(
            code=Code.ENCODING_ASSUMED,
            message="The file is not UTF-8 and was read as Windows-1252 (Latin-1).",
            excerpt=excerpt(codecs.charmap_decode(near, "strict", WESTERN_TABLE)[0]),
            fix="Look whether the letters of the excerpt are right. If not, declare the encoding "
            "(`--encoding`), or save the file as UTF-8.",
        ),
    )


def _declared(declared: str, marked: str, mark_bytes: int) -> Encoding:
    try:
        found = codecs.lookup(declared.strip())
        # The only way to ask Python for more than its codecs from bytes to bytes.
        "".encode(found.name)
        # Those of host names are no encodings of files: no error is forgiven.
        codecs.getincrementaldecoder(found.name)(MARK_BAD).decode(b"a", final=True)
    except (LookupError, ValueError):
        raise _unusable(declared) from None
    codec = _SUPERSETS.get(found.name, found.name).removesuffix("-sig").replace("_", "-")
    plain = codec.replace("-", "")
    family = marked.replace("-", "")
    if not marked:
        mark_bytes = 0
        # Without a mark Python would take the order of this machine; files without one have this.
        codec = {"utf16": "utf-16le", "utf32": "utf-32le"}.get(plain, codec)
    elif family.startswith(plain):
        codec = marked
    else:
        raise Refused(
            Finding(
                code=Code.UNSUPPORTED_ENCODING,
                message=f"The encoding was declared as {declared}, but the file begins with the "
                f"byte order mark of {marked}.",
                fix=f"Leave the encoding out, or declare {marked}.",
            )
        )
    return Encoding(
        name=declared.strip().lower(), codec=codec, mark_bytes=mark_bytes, is_declared=True
    )


def _utf16_without_mark(sample: bytes) -> str:
    """Tell UTF-16 without a mark by its NULs; return "" where it is not."""
    sample = sample[: len(sample) // 2 * 2]
    for high, name in ((1, "utf-16le"), (0, "utf-16be")):
        # Line ends, blanks and delimiters have one in every script: a twentieth is little.
        nuls, others = sample[high::2].count(0), sample[1 - high :: 2].count(0)
        # Some characters have one in the other place, such as the Chinese sign for "one".
        if nuls * 20 > len(sample) // 2 and others * 4 < nuls:
            try:
                text = codecs.getincrementaldecoder(name)().decode(sample)
            except UnicodeDecodeError:
                continue
            if "\0" not in text:
                return name
    return ""


def _is_japanese(sample: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("cp932")().decode(sample)
    except UnicodeDecodeError:
        return False
    runs = [len(run) for run in _JAPANESE.findall(text)]
    # Western letters, misread so, give lone signs between Latin ones.
    together = sum(run for run in runs if run > 1)
    return together * 10 > len(_CHARACTERS_BEYOND_ASCII.findall(text)) * 6


def _ask(message: str, name: str, near: bytes, shown_as: str) -> Refused:
    return Refused(
        Finding(
            code=Code.UNSUPPORTED_ENCODING,
            message=message,
            excerpt=excerpt(near.decode(shown_as, "replace")),
            fix=f"Declare the encoding, such as `--encoding {name}` (`encoding` in the options; "
            f"others are {_NAMES}), or save the file as UTF-8.",
        )
    )


def _unusable(declared: str) -> Refused:
    return Refused(
        Finding(
            code=Code.UNSUPPORTED_ENCODING,
            message=f"The encoding {excerpt(declared)!r} is unknown.",
            fix=f"Declare one of {_NAMES} or another that Python knows, or leave it out.",
        )
    )
