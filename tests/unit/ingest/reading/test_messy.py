"""One small file for each kind of mess that people upload, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from services.ingest.finding import Code, Refused
from tests.unit.ingest.check import front_check

PAIRS = [(f"Where is parcel number {n}", ("late", "lost")[n % 2]) for n in range(40)]
ROWS = [f"{text},{label}" for text, label in PAIRS]
LINES = "\n".join(ROWS) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    rows: int
    kept: int
    codes: frozenset[str] = frozenset()


def readable(rows: int, *codes: str, dropped: int = 0) -> Readable:
    return Readable(rows=rows, kept=rows - dropped, codes=frozenset(codes))


MESS: dict[str, tuple[str | bytes, Readable | Code]] = {
    "all quoted, blank lines at the end": (
        "".join(f'"{text}","{label}"\r\n' for text, label in PAIRS) + "\r\n  \r\n\r\n",
        readable(40, "blank_lines"),
    ),
    "quotes escaped by backslashes": (
        "".join(f'"She said \\"{text}\\", ok",{label}\n' for text, label in PAIRS),
        readable(40),
    ),
    "labels that look like dates and truths": (
        "text a,TRUE\ntext b,2024-01-02\ntext c,1.0\ntext d,1\n" * 5,
        readable(20),
    ),
    "control characters, separators of lines that are none": (
        "bell \x07,a\nescape \x1b[31m,b\nbidi \u202e,a\nline \u2028 sep,b\nvt \x0b,a\nnel \x85,b\n",
        readable(6),
    ),
    "formulas": ('"=HYPERLINK(""http://x/"",""y"")",../../etc\n@SUM(A1),-1+1\n+x,b\n', readable(3)),
    "empty texts": (',late\n"",lost\n   ,late\n' + LINES, readable(43)),
    "the first line of Excel": (
        "\ufeffsep=;\r\ntext;label\r\n" + "".join(f"{t};{k}\r\n" for t, k in PAIRS),
        readable(40),
    ),
    "Unicode text of Excel": (
        "\ufeff".encode("utf-16-le")
        + "".join(f"{t}\t{k}\r\n" for t, k in PAIRS).encode("utf-16-le"),
        readable(40),
    ),
    "footers of a report": (
        LINES + '\n"Total: 40 rows"\nMade by a tool,,\n',
        readable(42, "blank_lines", "wrong_column_count", dropped=2),
    ),
    "a header in other case": (" Text ,LABEL\n" + LINES, readable(40)),
    # Better than to refuse it: it is read for what it is.
    "JSON lines that are called CSV": (
        "".join(f'{{"text": "{t}", "label": "{k}"}}\n' for t, k in PAIRS),
        readable(40),
    ),
    "a JSON array": ('[{"text": "a", "label": "b"}]', Code.UNSUPPORTED_FORMAT),
    "2000 columns": (",".join(f"c{n}" for n in range(2000)) + "\n", Code.COLUMN_COUNT),
    "one row": ("Some text,good\n", Code.TOO_FEW_EXAMPLES),
    "one column": ("foo\n1\n", Code.COLUMN_COUNT),
    "mixed line ends": (
        "".join(row + ("\n", "\r\n", "\r")[n % 3] for n, row in enumerate(ROWS)),
        readable(40, "mixed_line_ends"),
    ),
    "line ends of old Macs": ('a,b\r1,2\r"once\rmore",5\r', readable(2, "suspicious_header")),
    "a few rows of three columns": (
        LINES + "a,b,c\n" + LINES,
        readable(81, "wrong_column_count", dropped=1),
    ),
    "many rows of three columns": (
        LINES + "a,b,c\n" * 20,
        Code.TOO_MANY_MALFORMED_ROWS,
    ),
    "a quote that is never closed": (
        LINES + '"I lost my card and now, what?,lost\n' + LINES,
        Code.UNTERMINATED_QUOTE,
    ),
    "a quote that is never closed, in a small file": (
        'foo,bar\n1,"I forgot to close this one\n',
        Code.UNTERMINATED_QUOTE,
    ),
    "quotes inside quotes that are not doubled": (
        LINES + '"He said "hi" to me",late\n' + LINES,
        readable(81, "malformed_quotes", dropped=1),
    ),
    "inches": (LINES + '5" nails,late\n' + LINES, readable(81, "stray_quote")),
    "long cells of many lines": (
        '"' + "begin 640 big.zip\nM4$L#!!0\n" * 3000 + '",late\n' + LINES,
        readable(41),
    ),
    "quotes that begin late": (
        "".join(f"{n},{n % 3}\n" for n in range(2000)) + '"o\nn\ne",1\n' * 100,
        readable(2100),
    ),
    "a zip archive": (b"PK\x03\x04\x14\x00train.csv", Code.UNSUPPORTED_FORMAT),
    "a page": ("<!DOCTYPE html>\n<html></html>", Code.UNSUPPORTED_FORMAT),
    "nothing": ("", Code.EMPTY_FILE),
    "vertical bars": ("".join(f"{t}|{k}\n" for t, k in PAIRS), readable(40)),
    "semicolons, commas in texts": (
        "text;label_name\n" + "".join(f"{t}, please, now;{k}\n" for t, k in PAIRS),
        readable(40),
    ),
    "texts before a blank": ("".join(f"{k}:x {t} ?\n" for t, k in PAIRS), Code.COLUMN_COUNT),
    "labels first": (
        "".join(f"{k},{t * 2}\n" for t, k in PAIRS),
        Code.CHOOSE_COLUMNS,
    ),
    # The header says it, so nobody has to.
    "labels first, and so does the header": (
        "Type,Content\n" + "".join(f"{k},{t}\n" for t, k in PAIRS),
        readable(40),
    ),
    "labels first, in a header that tells nothing, with empty columns": (
        ("v1,v2,,,\r\n" + "".join(f"{k},{t} é,,,\r\n" for t, k in PAIRS)).encode("cp1252"),
        readable(40, "encoding_assumed", "suspicious_header", "columns_ignored"),
    ),
    # Texts that could be from any of three columns are not guessed.
    "three columns": ("a,b,c\n1,2,3\n4,5,6\n", Code.CHOOSE_COLUMNS),
    "labels and two texts": (
        "".join(f'"{n % 4}","Title {n}","{t}"\n' for n, (t, _) in enumerate(PAIRS)),
        Code.CHOOSE_COLUMNS,
    ),
    "reviews with tabs": (
        "\ufeffrating\tdate\tverified_reviews\n" + '5\t31-Jul-18\t"Love ""it"""\n' * 30,
        Code.CHOOSE_COLUMNS,
    ),
    "Western letters": (
        ("name,age\r\n" + "José Álvarez,30\r\nMüller,25\r\n" * 5).encode("latin-1"),
        readable(10, "encoding_assumed", "suspicious_header"),
    ),
    "Japanese letters": (
        ("名前,年齢\r\n" + "木村,25\r\n" * 20).encode("cp932"),
        Code.UNSUPPORTED_ENCODING,
    ),
    "a mark before the header": (
        "\ufeffid,name\r\n1,Mark\r\n2,Hannes\r\n",
        readable(2, "suspicious_header"),
    ),
    "JSON in a cell": ('key,val\n1,"{""type"": ""Point""}"\n', readable(1, "suspicious_header")),
    "quotes and line ends in a cell": (
        'a,b\n1,"ha \n""ha"" \nha"\n3,4\n',
        readable(2, "suspicious_header"),
    ),
    "bytes of a program": (
        b"\xe8,0\r\n2;  13-01\0P7, 2\r\nx; 1\r\n" + b"\r\n" * 900,
        Code.TOO_MANY_MALFORMED_ROWS,
    ),
}


@pytest.mark.parametrize("mess", MESS)
def test_each_kind_of_mess_is_read_or_refused_for_what_it_is(mess: str) -> None:
    content, expected = MESS[mess]
    content = content.encode() if isinstance(content, str) else content
    found: Readable | Code
    try:
        result = front_check(content)
    except Refused as refused:
        found = refused.findings[0].code
    else:
        found = Readable(
            rows=result.checked.rows_read,
            kept=result.checked.rows_kept,
            codes=frozenset(code for code, *_ in result.findings),
        )

    assert found == expected
