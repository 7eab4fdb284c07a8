"""Pages of what validation found, from the published Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from services.common.errors import FieldViolation, InvalidArgument
from services.common.pagination import Cursor, Page, PageRequest, cut_page
from services.ingest.dataset import Split
from services.ingest.finding import Code, Finding

_INT64 = 1 << 63

_PAGE = """
SELECT file_row_number, split, line, row, "column", code, message, excerpt, fix, count
FROM read_parquet($path, file_row_number = true)
WHERE file_row_number > $after
  AND severity >= $severity
  AND (len($codes) = 0 OR list_contains($codes, code))
ORDER BY file_row_number LIMIT $limit
"""


def list_findings(
    path: Path, *, request: PageRequest, codes: Sequence[str], min_severity: int
) -> Page[Finding]:
    """Return one page of findings, by split and line.

    Args:
        path: The Parquet file that validation wrote.
        request: Which page.
        codes: Only these; empty for all.
        min_severity: Only at least this severe; 0 for all.

    Raises:
        InvalidArgument: Where the page token was made up.
    """
    parameters = {
        "path": str(path),
        "after": _found_after(request.cursor),
        "severity": min_severity,
        "codes": list(codes),
        "limit": request.size + 1,
    }
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        rows = connection.execute(_PAGE, parameters).fetchall()
    page = cut_page(
        [(number, _finding(values)) for number, *values in rows],
        request=request,
        cursor_of=lambda item: (item[0],),
        size_of=lambda item: _size(item[1]),
    )
    return Page(items=[finding for _, finding in page.items], next_page_token=page.next_page_token)


def _found_after(cursor: Cursor | None) -> int:
    match cursor:
        case None:
            return -1
        case (int(number),) if 0 <= number < _INT64:
            return number
    # Anybody can write a token.
    raise InvalidArgument(
        FieldViolation(
            field="page_token",
            description="is not the next_page_token of a page with the same other fields: leave it "
            "empty to start from the beginning.",
        )
    )


def _finding(values: Sequence[object]) -> Finding:
    split, line, row, column, code, message, excerpt, fix, count = values
    return Finding(
        split=Split(str(split)) if split else None,
        line=int(str(line)),
        row=int(str(row)),
        column=str(column),
        code=Code(str(code)),
        message=str(message),
        excerpt=str(excerpt),
        fix=str(fix),
        count=int(str(count)),
    )


def _size(finding: Finding) -> int:
    # UTF-8 has at most four bytes a character; numbers and tags are below 100 bytes.
    return 100 + 4 * (len(finding.message) + len(finding.excerpt) + len(finding.fix))
