"""Decides which column is what: as declared, by well-known names, or by overwhelming evidence.

Never by position alone where the values speak against it. Knows no format.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.ingest.dataset import DatasetOptions, Limits, Split
from services.ingest.finding import Code, Finding, Refused
from services.ingest.option_rules import RESERVED_COLUMNS
from services.ingest.reading.evidence import (
    Evidence,
    are_labels_and_texts,
    evidence_of,
    is_nearly_empty,
)
from services.ingest.reading.names import is_label_name, is_text_name, words_of

_MOST_NAMED = 20
"""Columns that a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What is read from where; positions count from 0."""

    names: tuple[str, ...]
    """Of every column: what the header calls it, or its number from 1."""

    text: int
    labels: int
    split: int | None
    kept: tuple[tuple[str, int], ...]
    """Name and position of each column that is carried along."""

    ignored: tuple[int, ...]
    assumed: frozenset[str]
    findings: tuple[Finding, ...]
    """What to mind about the choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The beginning of a file, as a table."""

    names: Sequence[str]
    """What the columns are called, "" where nothing is; empty where there is no header."""

    width: int
    rows: Sequence[Sequence[str]]
    """The first data rows; those of another width say nothing."""

    def title(self, column: int) -> str:
        """Return what the column is called, or its number from 1."""
        name = self.names[column].strip() if self.names else ""
        return name or str(column + 1)

    def evidence(self, column: int) -> Evidence:
        """Return what the values of the column give away."""
        return evidence_of([row[column] for row in self.rows if len(row) == self.width])


def check_width(width: int, limits: Limits) -> None:
    """Refuse a file of too many columns, before anything is made of them.

    Raises:
        Refused: Then.
    """
    if width > limits.max_columns:
        raise _refused(
            Code.COLUMN_COUNT,
            f"The file has {width} columns, more than {limits.max_columns}.",
            "Keep the columns that are needed: the text, the label, and what is carried along.",
        )


def choose_columns(head: Head, options: DatasetOptions, split: Split) -> Columns:
    """Decide which column is what.

    Args:
        head: The beginning of the file.
        options: What the caller declared.
        split: Which file it is; only the training file says where rows belong.

    Raises:
        Refused: Where a declared column is missing, or columns have to be declared.
    """
    named = _Named(head)
    text = named.find(options.text_column, "text_column")
    labels = named.find(options.label_column, "label_column")
    dealt = named.find(options.split.column, "split.column") if split is Split.TRAIN else None
    kept = [named.find(name, f"keep_columns[{n}]") for n, name in enumerate(options.keep_columns)]
    named.check([("text", text), ("label", labels), ("split", dealt), *(("kept", n) for n in kept)])
    taken = {text, labels, dealt, *kept}
    others = [n for n in range(head.width) if n not in taken]
    negligible = [] if text is not None and labels is not None else _negligible(head, others)
    open_ = [n for n in others if n not in negligible]
    findings: list[Finding] = []
    assumed = {
        field
        for field, position in (("text_column", text), ("label_column", labels))
        if position is None
    }
    if text is None or labels is None:
        text, labels = _choose(head, open_, text, labels, findings)
    ignored = [n for n in others if n not in {text, labels}]
    if ignored:
        findings.append(_ignored(head, ignored))
    return Columns(
        names=tuple(head.title(n) for n in range(head.width)),
        text=text,
        labels=labels,
        split=dealt,
        kept=_kept(head, kept),
        ignored=tuple(ignored),
        assumed=frozenset(assumed),
        findings=tuple(findings),
    )


class _Named:
    """Finds columns by name or number, and remembers what it did not find."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._wrong: list[Finding] = []

    def find(self, wanted: str, field: str) -> int | None:
        """Return the position of a column; None where none is wanted or there is none."""
        wanted = wanted.strip()
        if not wanted:
            return None
        alike = [n for n, name in enumerate(self._head.names) if _same(name, wanted)]
        if len(alike) == 1:
            return alike[0]
        if not alike and wanted.isdecimal() and 1 <= int(wanted) <= self._head.width:
            return int(wanted) - 1
        found = f"{len(alike)} columns are" if alike else "no column is"
        self._wrong.append(
            Finding(
                code=Code.MISSING_COLUMN,
                message=f"{field} is {wanted!r}, but {found} called so.",
                line=1,
                fix=f"Choose one of these, by name or number: {_listed(self._head)}."
                + ("" if self._head.names else " The file was read without a header."),
            )
        )
        return None

    def check(self, chosen: Iterable[tuple[str, int | None]]) -> None:
        """Refuse what was not found, and what was chosen twice."""
        uses: dict[int, str] = {}
        for use, position in chosen:
            if position is not None and position in uses:
                self._wrong.append(
                    Finding(
                        code=Code.CHOOSE_COLUMNS,
                        message=f"The column {self._head.title(position)!r} was chosen as "
                        f"{uses[position]} and as {use}.",
                        line=1,
                        fix=f"Choose each column once: {_listed(self._head)}.",
                    )
                )
            elif position is not None:
                uses[position] = use
        if self._wrong:
            raise Refused(*self._wrong)


def _choose(
    head: Head,
    others: Sequence[int],
    text: int | None,
    labels: int | None,
    findings: list[Finding],
) -> tuple[int, int]:
    """Find the columns that were not declared among `others`."""
    if text is None and labels is None:
        if len(others) != 2:  # noqa: PLR2004  # text and labels
            raise _too_many(head, others) if len(others) > 1 else _too_few(head)
        return _choose_both(head, others[0], others[1], findings)
    is_wanted = is_text_name if text is None else is_label_name
    by_name = [n for n in others if head.names and is_wanted(head.names[n])]
    found = by_name if len(by_name) == 1 else others
    if not found:
        raise _too_few(head)
    if len(found) > 1:
        raise _too_many(head, others, text=text, labels=labels)
    return (found[0], labels) if labels is not None else (text or 0, found[0])


def _choose_both(head: Head, first: int, second: int, findings: list[Finding]) -> tuple[int, int]:
    """Tell the texts from the labels in two columns."""
    left, right = head.evidence(first), head.evidence(second)
    is_reversed = are_labels_and_texts(left, right)
    if not head.names:
        if is_reversed:
            raise _reversed(head, first, second)
        return first, second
    one, other = head.names[first], head.names[second]
    if is_label_name(one) and not is_label_name(other):
        return second, first
    if is_text_name(other) and not is_text_name(one):
        return second, first
    if is_text_name(one) or is_label_name(other):
        return first, second
    text, labels = (second, first) if is_reversed else (first, second)
    if not are_labels_and_texts(right, left):
        findings.append(_names_tell_nothing(head, text, labels, by_values=is_reversed))
    return text, labels


def _negligible(head: Head, columns: Sequence[int]) -> list[int]:
    """Return the columns without a name that hold next to nothing, or only count the rows."""
    return [
        n
        for n in columns
        if (not head.names or _is_unnamed(head.names[n]))
        and (is_nearly_empty(head.evidence(n)) or (head.names and _counts_rows(head, n)))
    ]


def _is_unnamed(name: str) -> bool:
    # pandas writes an index without a name and reads it back under this one.
    return not name.strip() or name.startswith("Unnamed: ")


def _counts_rows(head: Head, column: int) -> bool:
    values = [row[column] for row in head.rows if len(row) == head.width]
    return any(values == [str(n + start) for n in range(len(values))] for start in (0, 1))


def _same(name: str, wanted: str) -> bool:
    return name.strip().casefold() == wanted.casefold()


def _kept(head: Head, kept: Sequence[int | None]) -> tuple[tuple[str, int], ...]:
    """Give each column that is carried along a name that the dataset does not have yet."""
    names = set(RESERVED_COLUMNS)
    result: list[tuple[str, int]] = []
    for position in kept:
        if position is None:  # pragma: no cover  # those were refused
            continue
        title = head.title(position)
        # Names that differ in case only are one name in SQL.
        if title.casefold() in names or title.isdecimal():
            title = f"column_{position + 1}"
        names.add(title.casefold())
        result.append((title, position))
    return tuple(result)


def _listed(head: Head) -> str:
    """Return every column by number and name, as far as a message goes."""
    more = ", ..." if head.width > _MOST_NAMED else ""
    columns = range(min(head.width, _MOST_NAMED))
    if head.names:
        return ", ".join(f"{n + 1} `{head.names[n].strip()[:40]}`" for n in columns) + more
    first = head.rows[0] if head.rows else ()
    shown = (f" ({first[n].strip()[:40]})" if n < len(first) else "" for n in columns)
    return ", ".join(f"{n + 1}{cell}" for n, cell in zip(columns, shown, strict=True)) + more


def _flags(head: Head, text: int, labels: int) -> str:
    """Return what to declare, for the command line and for the options."""
    one, other = (_declarable(head, n) for n in (text, labels))
    return (
        f"`--text-column {shlex.quote(one)} --label-column {shlex.quote(other)}` (in the options: "
        f'text_column = "{one}", label_column = "{other}")'
    )


def _declarable(head: Head, column: int) -> str:
    title = head.title(column)
    return title if sum(_same(name, title) for name in head.names) == 1 else str(column + 1)


def _too_many(
    head: Head, columns: Sequence[int], *, text: int | None = None, labels: int | None = None
) -> Refused:
    guess = _guess(head, columns, text, labels)
    return _refused(
        Code.CHOOSE_COLUMNS,
        f"The file has {head.width} columns, and nobody said which holds the texts and which the "
        f"labels: {_listed(head)}.",
        f"Choose two, such as {_flags(head, *guess)}; the others are left out, or carried along "
        "where `--keep-column` (keep_columns) names them.",
    )


def _guess(
    head: Head, columns: Sequence[int], text: int | None, labels: int | None
) -> tuple[int, int]:
    """Return the columns that are most likely meant, for an example."""
    evidence = {n: head.evidence(n) for n in columns}

    def text_likeness(column: int) -> tuple[bool, float]:
        named = bool(head.names) and any(map(is_text_name, words_of(head.names[column])))
        return named, evidence[column].mean_length

    def label_likeness(column: int) -> tuple[bool, bool, float]:
        named = bool(head.names) and any(map(is_label_name, words_of(head.names[column])))
        return named, evidence[column].distinct > 1, -evidence[column].distinct

    if text is None:
        text = max((n for n in columns if n != labels), key=text_likeness)
    if labels is None:
        labels = max((n for n in columns if n != text), key=label_likeness)
    return text, labels


def _too_few(head: Head) -> Refused:
    return _refused(
        Code.COLUMN_COUNT,
        f"The file has not two columns for texts and labels: {_listed(head)}.",
        "Write one example a row: the text and the label.",
    )


def _reversed(head: Head, labels: int, text: int) -> Refused:
    return _refused(
        Code.CHOOSE_COLUMNS,
        f"Column {labels + 1} looks like labels and column {text + 1} like texts, but without a "
        "header the text comes first.",
        f"Declare {_flags(head, text, labels)}. If the order is right as it is, declare "
        f"{_flags(head, labels, text)}.",
    )


def _names_tell_nothing(head: Head, text: int, labels: int, *, by_values: bool) -> Finding:
    reason = "by their values" if by_values else "by their order"
    return Finding(
        code=Code.SUSPICIOUS_HEADER,
        message="The header does not tell which column holds the texts: "
        f"{head.title(text)!r} was taken for the texts and {head.title(labels)!r} for the labels, "
        f"{reason}.",
        line=1,
        fix=f"To be sure, declare {_flags(head, text, labels)}; or call the columns `text` and "
        "`label`.",
    )


def _ignored(head: Head, ignored: Sequence[int]) -> Finding:
    filled = {n: head.evidence(n).filled for n in ignored}
    listed = ", ".join(
        f"{head.title(n)!r} ({filled[n]} of {head.evidence(n).rows} filled)"
        for n in ignored[:_MOST_NAMED]
    )
    more = ", ..." if len(ignored) > _MOST_NAMED else ""
    return Finding(
        code=Code.COLUMNS_IGNORED,
        message=f"{len(ignored)} of {head.width} columns were left out: {listed}{more}; counted in "
        "the first rows.",
        line=1,
        fix="Name those that shall be carried along in keep_columns (`--keep-column`).",
        count=len(ignored),
    )


def _refused(code: Code, message: str, fix: str) -> Refused:
    return Refused(Finding(code=code, message=message, line=1, fix=fix))
