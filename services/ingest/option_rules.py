"""What options a caller may choose, by themselves and together; knows no file."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping

from services.common.errors import FieldViolation
from services.ingest.dataset import DatasetOptions, Format, Profile, Quoting, SplitOptions

MAX_KEPT_COLUMNS = 50

RESERVED_COLUMNS = frozenset({"text", "labels", "row", "line", "group"})
"""The names that every dataset's own columns have."""

_MAX_SHARE = 0.5
_MAX_COLUMN_NAME = 256
_MAX_SEPARATOR = 8
_INT64 = 1 << 63
_SHOWN = 60
"""Characters of a wrong value that a message repeats."""

_Wrong = tuple[str, str]
"""Path of an option, and what is wrong with it."""


def check_options(
    options: DatasetOptions, profiles: Mapping[str, Profile], *, field: str = "dataset.options"
) -> list[FieldViolation]:
    """Return everything that is wrong with `options`.

    Args:
        options: What the caller chose.
        profiles: What `options.profile` may name.
        field: Path of the options in the request.
    """
    return [
        FieldViolation(field=f"{field}.{path}", description=description)
        for path, description in (
            *_file_options(options),
            *_columns(options),
            *_label_separator(options),
            *_split(options.split),
            *_profile(options, profiles),
        )
    ]


def _file_options(options: DatasetOptions) -> Iterator[_Wrong]:
    if options.delimiter and not _is_delimiter(options.delimiter):
        yield (
            "delimiter",
            (
                f"{_shown(options.delimiter)} is not one ASCII character that is neither letter, "
                "digit, quote, blank nor line end, nor a tab. Empty: detected."
            ),
        )
    if options.encoding and not _is_encoding(options.encoding):
        yield (
            "encoding",
            (
                f"{_shown(options.encoding)} is unknown: send utf-8, utf-16le, utf-16be, cp1252, "
                "latin-1, shift-jis or another name that Python knows. Empty: detected."
            ),
        )
    if options.format in {Format.JSONL, Format.PARQUET}:
        for name, is_set in (
            ("delimiter", options.delimiter),
            ("quoting", options.quoting is not Quoting.DETECT),
            ("has_header", options.has_header is not None),
            ("encoding", options.encoding and options.format is Format.PARQUET),
        ):
            if is_set:
                yield name, f"says nothing about {options.format.upper()} files: leave it out."


def _columns(options: DatasetOptions) -> Iterator[_Wrong]:
    chosen: dict[str, str] = {}
    kept = [(f"keep_columns[{n}]", name) for n, name in enumerate(options.keep_columns)]
    for path, name in (
        ("text_column", options.text_column),
        ("label_column", options.label_column),
        ("split.column", options.split.column),
        *kept[:MAX_KEPT_COLUMNS],
    ):
        if not name:
            if path.startswith("keep"):
                yield path, "is empty: send a name in the header, or a number from 1."
            continue
        if len(name) > _MAX_COLUMN_NAME:
            yield path, f"has {len(name)} characters, more than {_MAX_COLUMN_NAME}."
            continue
        if "\0" in name:
            yield path, "holds NUL, which no name of a column does: remove it."
        if name in chosen:
            yield path, f"{name!r} is {chosen[name]} too: choose each column once."
        chosen.setdefault(name, path)
    for path, name in kept[:MAX_KEPT_COLUMNS]:
        if name.strip().casefold() in RESERVED_COLUMNS:
            yield (
                path,
                (
                    f"{name!r} is the name of one of the dataset's own columns: rename it in "
                    "the file, or give its number."
                ),
            )
    if len(kept) > MAX_KEPT_COLUMNS:
        yield "keep_columns", f"names {len(kept)} columns: {MAX_KEPT_COLUMNS} at most are kept."


def _label_separator(options: DatasetOptions) -> Iterator[_Wrong]:
    separator = options.label_separator
    if not separator:
        return
    if len(separator) > _MAX_SEPARATOR:
        yield (
            "label_separator",
            f"has {len(separator)} characters, more than {_MAX_SEPARATOR}.",
        )
    if set(separator) & {'"', "\n", "\r", "\0"}:
        yield "label_separator", "holds a quote, a line end or NUL: choose another, such as |."
    if separator == options.delimiter:
        yield (
            "label_separator",
            (
                f"{separator!r} is the delimiter too: what stands between cells cannot stand "
                "between labels."
            ),
        )


def _split(split: SplitOptions) -> Iterator[_Wrong]:
    for name, share in (
        ("validation_share", split.validation_share),
        ("test_share", split.test_share),
    ):
        if not 0 < share <= _MAX_SHARE:
            yield f"split.{name}", f"{share} is not over 0 and up to {_MAX_SHARE}."
    if split.validation_share + split.test_share >= 1:
        yield "split", "the shares of validation and test together leave nothing to train on."
    if not -_INT64 <= split.seed < _INT64:
        yield "split.seed", "does not fit in 64 bits."


def _profile(options: DatasetOptions, profiles: Mapping[str, Profile]) -> Iterator[_Wrong]:
    if options.profile not in profiles:
        yield "profile", f"{_shown(options.profile)} is none of {', '.join(sorted(profiles))}."


def _shown(value: str) -> str:
    return repr(value if len(value) <= _SHOWN else f"{value[:_SHOWN]}...")


def _is_delimiter(delimiter: str) -> bool:
    return delimiter == "\t" or (
        len(delimiter) == 1
        and delimiter.isascii()
        and delimiter.isprintable()
        and not delimiter.isalnum()
        and delimiter not in {'"', "'", "`", " "}
    )


def _is_encoding(name: str) -> bool:
    """Tell whether Python knows a text encoding of this name."""
    try:
        "".encode(name)
        # Bytes that are no text are marked, not fatal: idna and punycode cannot do that.
        codecs.getincrementaldecoder(name)("replace").decode(b"\xff", final=True)
    except (LookupError, ValueError):
        return False
    return True
