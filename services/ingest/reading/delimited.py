"""Reads a delimited file: CSV, TSV and their like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from services.ingest.dataset import DatasetOptions, Dialect, Format, Limits, RecordLayout, Split
from services.ingest.finding import Code, Finding, FindingWriter, Refused, excerpt
from services.ingest.reading.columns import Columns, Head, check_width, choose_columns
from services.ingest.reading.dialect import Table, detect_table
from services.ingest.reading.evidence import evidence_of, is_nearly_empty
from services.ingest.reading.header import find_header, overlooked_header, suspicious_header
from services.ingest.reading.record_scanner import RecordScanner
from services.ingest.reading.record_writer import RecordWriter
from services.ingest.reading.records import Grammar
from services.ingest.reading.text import Text, sample_of

_MOSTLY = 0.8
"""Share of the first texts over which what stands around them is a habit of the writer."""


def read_delimited(
    text: Text,
    *,
    split: Split,
    options: DatasetOptions,
    limits: Limits,
    out: RecordWriter,
    findings: FindingWriter,
    head_bytes: int,
    block_bytes: int,
) -> Dialect:
    """Write the records of a delimited file.

    Args:
        text: The file.
        split: Which file it is.
        options: What the caller declared.
        limits: What is too much.
        out: Receives the records and what is wrong with rows.
        findings: Receives what there is to say about the header and the columns.
        head_bytes: How much is looked at before the first row is read.
        block_bytes: How much is read at once.

    Raises:
        Refused: Where the file is no table of texts and labels.
    """
    sample, is_whole = sample_of(text, head_bytes, limits)
    table = detect_table(sample, options, is_whole=is_whole)
    check_width(table.columns, limits)
    header = find_header(table.rows, table.columns, options, is_whole=table.is_whole)
    head = _head(table, header)
    columns = choose_columns(head, options, split)
    findings.extend(replace(finding, split=split) for finding in columns.findings)
    findings.extend(
        replace(finding, split=split)
        for finding in _doubts(sample, table, columns, header, options)
    )
    top, begin = (table.begin, table.begin) if header is None else table.spans[header]
    if above := sample[table.begin : top].strip():
        findings.add(replace(_above_header(above), split=split))
    out.describe(_layout(table, columns, options))
    out.skip_header(sample.count(b"\n", 0, begin))
    scanner = RecordScanner(
        grammar=Grammar(table.delimiter, table.quoting),
        columns=table.columns,
        header=sample[top:begin],
        limits=limits,
        out=out,
    )
    for piece in text:
        for start in range(begin, len(piece), block_bytes):
            scanner.feed(piece[start : start + block_bytes])
        begin = max(begin - len(piece), 0)
    scanner.finish()
    return _dialect(table, columns, options, header=header is not None)


def _head(table: Table, header: int | None) -> Head:
    """Name the columns.

    Raises:
        Refused: Where the header names more or fewer columns than the rows have.
    """
    if header is None:
        return Head(names=(), width=table.columns, rows=table.rows)
    rows = table.rows[header + 1 :]
    names = list(table.rows[header])
    while len(names) > table.columns and not names[-1].strip():
        names.pop()
    full = [row for row in rows if len(row) == table.columns]
    unnamed = range(len(names), table.columns)
    if len(names) > table.columns or not all(
        is_nearly_empty(evidence_of([row[n] for row in full])) for n in unnamed
    ):
        raise Refused(
            Finding(
                code=Code.COLUMN_COUNT,
                message=f"The header has {len(names)} columns, but most rows have {table.columns}.",
                line=1,
                excerpt=excerpt(table.delimiter.join(names)),
                fix="Name every column. Where a text holds the delimiter, put it in quotes.",
            )
        )
    return Head(names=[*names, *("" for _ in unnamed)], width=table.columns, rows=rows)


def _doubts(
    sample: bytes, table: Table, columns: Columns, header: int | None, options: DatasetOptions
) -> Iterator[Finding]:
    """Yield what looks as if it was meant otherwise than it was read."""
    overlooked = overlooked_header(table.rows, header)
    if overlooked is not None and options.has_header is None:
        yield suspicious_header(
            table.rows[overlooked],
            line=sample.count(b"\n", 0, table.spans[overlooked][0]) + 1,
            row=overlooked + 1 if header is None else overlooked - header,
            is_first=overlooked == 0,
        )
    texts = [row[columns.text].strip() for row in table.rows if len(row) == table.columns]
    quoted = [text for text in texts if len(text) > 1 and text[0] == text[-1] == "'"]
    if len(quoted) > len(texts) * _MOSTLY:
        yield Finding(
            code=Code.SUSPICIOUS_QUOTE,
            message="Single quotes stand around the texts and were read as parts of them.",
            column="text",
            excerpt=excerpt(quoted[0]),
            fix='Write double quotes around them, "...", which may hold the delimiter; or none.',
            count=len(quoted),
        )


def _above_header(above: bytes) -> Finding:
    lines = above.count(b"\n") + 1
    return Finding(
        code=Code.SUSPICIOUS_HEADER,
        message="A line stands above the header and was left out."
        if lines == 1
        else f"{lines} lines stand above the header and were left out.",
        line=1,
        excerpt=excerpt(above),
        fix="Remove what stands above the header, or declare has_header (`--no-header`).",
        count=lines,
    )


def _dialect(table: Table, columns: Columns, options: DatasetOptions, *, header: bool) -> Dialect:
    assumed = table.assumed | columns.assumed
    if options.has_header is None:
        assumed |= {"has_header"}
    return Dialect(
        format=Format.CSV,
        delimiter=table.delimiter,
        quoting=table.quoting,
        has_header=header,
        columns=columns.names,
        text_column=columns.names[columns.text],
        label_column=columns.names[columns.labels],
        split_column="" if columns.split is None else columns.names[columns.split],
        kept_columns=tuple(columns.names[n] for _, n in columns.kept),
        ignored_columns=tuple(columns.names[n] for n in columns.ignored),
        assumed=tuple(assumed),
    )


def _layout(table: Table, columns: Columns, options: DatasetOptions) -> RecordLayout:
    return RecordLayout(
        delimiter=table.delimiter,
        columns=table.columns,
        text=columns.text,
        labels=columns.labels,
        label_separator=options.label_separator,
        split=columns.split,
        kept=columns.kept,
    )
