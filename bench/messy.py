"""What ingest makes of bad and odd files, beside what a manifest expects of it.

    python -m bench.messy --data DIR [--json]

DIR holds the files and `manifest.csv` with the columns `file`, `verdict` (`readable`, `refuse`,
`choose_columns`, `either`), `encoding` and `data_rows` (may be empty). Each file is validated as
`datasets check` does it by default. Where it is refused for want of a choice that a person has
to make (columns, encoding), it is validated once more with that choice. The exit status is 1 where
a verdict differs, a row is lost without a finding, or a validation breaks down; `_BETTER` says
where and why ours is the better one.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from services.ingest.checks.rulebook import Rulebook
from services.ingest.checks.validation import Verdict, validate
from services.ingest.dataset import DatasetOptions, Limits, Profile, Split, UploadedFile
from services.ingest.finding import Code
from services.ingest.workbench import EngineOptions

_CHUNK = 1 << 20
_BETTER = {
    "d_jsonl_named_csv.csv": (
        "readable",
        (
            "JSON lines are a format of their own here, and all 200 examples are read right; no "
            "file name reaches the service."
        ),
    ),
    "p_duckdb_afl_ignore_errors_42.csv": (
        "refuse",
        (
            "A quote opens that nothing closes: what follows could be text or rows, and guessing "
            "would lose rows without a word."
        ),
    ),
    "p_duckdb_human_eval_backslash.csv": (
        "refuse",
        (
            "Lines of code, escaped by backslashes, with quotes of their own and one to seven "
            "columns: no reading of it gives labelled texts."
        ),
    ),
    "p_duckdb_unescaped_quote_newline_rn.csv": (
        "refuse",
        "Quotes inside quoted cells that span lines: where such a cell ends is anybody's guess.",
    ),
    "r_financial_phrasebank_kaggle.csv": (
        "readable",
        (
            "The first line, `Type,Content`, names both columns: nobody has to choose, and it is "
            "no row."
        ),
    ),
}
"""File to the verdict that betters the manifest's, and why."""

_COLUMNS = {"r_amazon_alexa_tab.csv": ("verified_reviews", "rating")}
"""What a person would choose where it is not the first two."""

_PROFILE = Profile(min_examples=250, advised_examples=500, min_per_label=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one file."""

    file: str
    expected: str
    found: str
    """`readable`, `refuse` or `choose_columns`; or what broke."""

    rows_expected: int | None
    rows_read: int
    """Data rows read, malformed ones included."""

    rows_lost: int
    """Rows that were neither kept nor dropped with a finding: must be 0."""

    seconds: float
    chosen: str
    """What had to be chosen before it could be read; may be empty."""

    reason: str
    """Why it was refused, in the words that a caller gets."""

    @property
    def agrees(self) -> bool:
        """Whether the verdict is the expected one, or a better one, and no row was lost."""
        better, _ = _BETTER.get(self.file, ("", ""))
        # To ask for a choice is to refuse; what can be read after the choice can be read.
        alike = {"choose_columns": {"choose_columns", "refuse"}}.get(self.found, {self.found})
        right = bool({"either", self.expected, better} & alike - {""}) or self.expected == "either"
        rows = better or self.rows_expected in {None, self.rows_read} or self.found != "readable"
        return right and bool(rows) and not self.rows_lost


def main() -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    outcomes = list(outcomes_of(arguments.data))
    if arguments.json:
        print(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
    else:
        for outcome in outcomes:
            mark = " " if outcome.agrees else "!"
            print(
                f"{mark} {outcome.file:44} {outcome.expected:14} {outcome.found:14} "
                f"{outcome.rows_read:6} {outcome.seconds:6.2f} s  "
                f"{outcome.chosen and '[' + outcome.chosen + '] '}{outcome.reason[:120]}"
            )
            if outcome.file in _BETTER:
                print(f"    better: {_BETTER[outcome.file][1]}")
        agreed = sum(outcome.agrees for outcome in outcomes)
        print(f"{agreed} of {len(outcomes)} as expected")
    return 0 if all(outcome.agrees for outcome in outcomes) else 1


def outcomes_of(folder: Path) -> Iterator[Outcome]:
    """Validate every file that the manifest names."""
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as manifest:
        for row in csv.DictReader(manifest):
            yield outcome(
                folder / row["file"], row["verdict"], row["data_rows"], row["encoding"].lower()
            )


def outcome(path: Path, expected: str, data_rows: str, encoding: str) -> Outcome:
    """Validate one file, and once more with the choice that it was refused for."""
    began = time.monotonic()
    chosen = ""
    try:
        verdict = check(path, DatasetOptions())
        found, reason = verdict_of(verdict)
        text, label = _COLUMNS.get(path.name, ("1", "2"))
        columns = DatasetOptions(text_column=text, label_column=label)
        if expected == "readable" and found == "choose_columns":
            chosen = f"columns {text} and {label}"
            found, reason = verdict_of(verdict := check(path, columns))
        elif expected == "readable" and _wants_encoding(verdict):
            chosen = f"{encoding}, columns {text} and {label}"
            found, reason = verdict_of(verdict := check(path, replace(columns, encoding=encoding)))
    except Exception as error:  # noqa: BLE001  # whatever breaks is what this program is for
        found, reason, read, lost = f"broke: {type(error).__name__}", str(error), 0, 0
    else:
        report = verdict.report
        read = sum(file.row_count for file in report.files)
        malformed = sum(file.malformed_count for file in report.files)
        kept = sum(report.splits.values())
        lost = read + malformed - kept - report.dropped_rows if report.readable else 0
    return Outcome(
        file=path.name,
        expected=expected,
        found=found,
        rows_expected=int(data_rows) if data_rows else None,
        rows_read=read,
        rows_lost=lost,
        seconds=time.monotonic() - began,
        chosen=chosen,
        reason=reason,
    )


def check(path: Path, options: DatasetOptions) -> Verdict:
    """Validate one file as the service does."""
    file = UploadedFile(size_bytes=path.stat().st_size, chunks=partial(_chunks, path))
    with tempfile.TemporaryDirectory() as scratch:
        return validate(
            {Split.TRAIN: file},
            rulebook=Rulebook(
                options=options, profile=_PROFILE, limits=Limits(), engine=EngineOptions()
            ),
            directory=Path(scratch),
        )


def _wants_encoding(verdict: Verdict) -> bool:
    return any(finding.code is Code.UNSUPPORTED_ENCODING for finding in verdict.refusals)


def verdict_of(verdict: Verdict) -> tuple[str, str]:
    """Return the verdict in the manifest's words, and why."""
    reason = "; ".join(finding.message for finding in verdict.refusals)
    if verdict.report.readable:
        return "readable", reason
    codes = {finding.code for finding in verdict.refusals}
    return ("choose_columns" if Code.CHOOSE_COLUMNS in codes else "refuse"), reason


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


if __name__ == "__main__":
    sys.exit(main())
