"""Reads JSON lines: one object a line, its keys the columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

from services.ingest.dataset import DatasetOptions, Dialect, Format, Limits, Split
from services.ingest.finding import Code, Finding, FindingWriter, Refused, excerpt
from services.ingest.reading.block import BAD_BYTE
from services.ingest.reading.columns import Head, check_width, choose_columns
from services.ingest.reading.record_writer import RecordWriter
from services.ingest.reading.text import Text, sample_of
from services.ingest.reading.values import Misfit, ValueWriter

_SAMPLE_ROWS = 1000
"""Objects of the beginning that decide which keys are columns."""

_MOST_NAMED = 20
"""Keys that a message names."""

# As typed: 1 is not 1.0, and no number is too large. NaN is what some writers make of a cell that
# holds nothing.
_DECODER = json.JSONDecoder(
    parse_int=str, parse_float=str, parse_constant=lambda name: None if name == "NaN" else name
)

_Object = dict[str, object]


def read_json_lines(
    text: Text,
    *,
    split: Split,
    options: DatasetOptions,
    limits: Limits,
    out: RecordWriter,
    findings: FindingWriter,
    head_bytes: int,
) -> Dialect:
    """Write the records of a file of JSON lines.

    Args:
        text: The file.
        split: Which file it is.
        options: What the caller declared.
        limits: What is too much.
        out: Receives the records and what is wrong with rows.
        findings: Receives what there is to say about the keys.
        head_bytes: How much is looked at before the first row is read.

    Raises:
        Refused: Where the objects are no labelled texts.
    """
    sample, is_whole = sample_of(text, head_bytes, limits)
    objects = list(_objects(sample, is_whole=is_whole))
    names = list(dict.fromkeys(key for found in objects for key in found))
    if not names:
        raise _no_objects(sample)
    check_width(len(names), limits)
    head = Head(
        names=names,
        width=len(names),
        rows=[[_shown(found.get(name)) for name in names] for found in objects],
    )
    columns = choose_columns(head, options, split)
    findings.extend(replace(finding, split=split) for finding in columns.findings)
    rows = ValueWriter(
        columns=columns, label_separator=options.label_separator, limits=limits, out=out
    )
    known = frozenset(names)
    further: dict[str, None] = {}
    for line in _lines(text, limits.max_record_bytes):
        if not line.strip():
            out.skip_blank_lines(1)
            continue
        try:
            found = _parsed(line, limits.max_record_bytes)
        except Misfit as misfit:
            out.drop(misfit.code, misfit.message, line, fix=misfit.fix)
            continue
        if not found.keys() <= known and len(further) <= _MOST_NAMED:
            further.update(dict.fromkeys(found.keys() - known))
        rows.add([found.get(name) for name in names], line)
    if further:
        findings.add(_left_out(split, list(further)))
    rows.finish()
    return rows.dialect(Format.JSONL)


def _objects(sample: bytes, *, is_whole: bool) -> Iterator[_Object]:
    """Yield the objects of the beginning."""
    lines = sample.split(b"\n", _SAMPLE_ROWS)
    # The last piece is cut off, or all that is left.
    for line in lines if is_whole and len(lines) <= _SAMPLE_ROWS else lines[:-1] or lines:
        try:
            yield _parsed(line, len(line))
        except Misfit:
            continue


def _lines(text: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    """Yield each line; of one that is too long only so much that it can be told."""
    rest = b""
    for piece in text:
        *lines, last = piece.split(b"\n")
        if lines:
            yield rest + lines[0]
            yield from lines[1:]
            rest = last
        else:
            rest += last
        rest = rest[: max_bytes + 1]
    if rest:
        yield rest


def _parsed(line: bytes, max_bytes: int) -> _Object:
    """Return the object of a line.

    Raises:
        Misfit: Where it holds none.
    """
    if len(line) > max_bytes:
        raise Misfit(
            Code.LINE_TOO_LONG,
            f"The row is longer than {max_bytes} bytes.",
            fix="Shorten the text, or see whether line ends are missing.",
        )
    if BAD_BYTE in line:
        raise Misfit(
            Code.BAD_ENCODING,
            "The row holds bytes that mean nothing in the encoding of the file.",
            fix="Write the row anew in the encoding of the file, or declare another encoding.",
        )
    try:
        found = _DECODER.decode(line.decode())
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        where = f" at character {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise Misfit(
            Code.MALFORMED_JSON,
            f"The line is not JSON: {reason}{where}.",
            fix="Write one JSON object a line, as a JSON library does.",
        ) from None
    if not isinstance(found, dict):
        raise Misfit(
            Code.MALFORMED_JSON,
            "The line is JSON, but no object.",
            fix='Write objects: {"text": "...", "label": "..."}.',
        )
    return found


def _shown(value: object) -> str:
    """Return a value of the sample as evidence of what its column holds."""
    return "" if value is None else str(value)


def _no_objects(beginning: bytes) -> Refused:
    """Say what is wrong with the first line, as with all others."""
    start = len(beginning) - len(beginning.lstrip())
    first = beginning[start:].split(b"\n", 1)[0]
    reason = ""
    try:
        _parsed(first, len(first))
    except Misfit as misfit:
        reason = f" {misfit.message}"
    return Refused(
        Finding(
            code=Code.UNSUPPORTED_FORMAT,
            message=f"The file holds no JSON objects, one a line.{reason}",
            line=beginning.count(b"\n", 0, start) + 1,
            excerpt=excerpt(first),
            fix='Write objects, one a line: {"text": "...", "label": "..."}; or declare another '
            "format (`--format`).",
        )
    )


def _left_out(split: Split, keys: list[str]) -> Finding:
    listed = ", ".join(f"`{excerpt(key)[:40]}`" for key in keys[:_MOST_NAMED])
    more = ", ..." if len(keys) > _MOST_NAMED else ""
    return Finding(
        code=Code.COLUMNS_IGNORED,
        message=f"Keys that only later rows have were left out: {listed}{more}.",
        split=split,
        fix="Give every row the keys that shall be carried along.",
        count=len(keys),
    )
