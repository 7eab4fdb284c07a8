from __future__ import annotations

import pytest

from services.ingest.dataset import DatasetOptions
from services.ingest.finding import Code, Refused
from tests.unit.ingest.check import front_check

PLAIN = "My order was late,0\n" * 40
FRENCH = PLAIN + "Un café très noir,1\nÀ bientôt,0\n"
GREEK = "βλέψη δές,0\nφθηλή ζύμη,1\n" * 5
JAPANESE = "名前,年齢\n" + "木村さんは遅い,25\n田中,30\n" * 5


def refusal(content: bytes, **options: str) -> tuple[Code, str]:
    with pytest.raises(Refused) as raised:
        front_check(content, options=DatasetOptions(**options))  # type: ignore[arg-type]  # a test's
    (finding,) = raised.value.findings
    return finding.code, f"{finding.message} {finding.fix}"


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16le"),
        ("utf-16-le", "utf-16le"),
        ("utf-16-be", "utf-16be"),
        ("utf-32", "utf-32le"),
    ],
)
@pytest.mark.parametrize("text", [FRENCH, GREEK, JAPANESE])
def test_what_bytes_prove_needs_no_declaration(encoding: str, name: str, text: str) -> None:
    result = front_check(text.encode(encoding), options=DatasetOptions(has_header=False))

    assert result.checked.dialect.encoding == name
    assert result.records.decode() == text
    assert result.findings == []
    assert "encoding" in result.checked.dialect.assumed


@pytest.mark.parametrize("encoding", ["utf-16le", "utf-16be"])
def test_a_sign_with_a_nul_in_the_other_place_hides_no_utf16(encoding: str) -> None:
    rows = "\u7b2c\u4e00\u4e2a\u95ee\u9898,a\n\u7b2c\u4e8c\u4e2a\u95ee\u9898,b\n" * 10

    result = front_check(rows.encode(encoding))

    assert result.checked.dialect.encoding == encoding
    assert result.records == rows.encode()


@pytest.mark.parametrize("head_bytes", [100, 1 << 20])
@pytest.mark.parametrize("chunk", [7, 1 << 20])
def test_other_bytes_are_assumed_to_be_western_and_it_is_told_once(
    head_bytes: int, chunk: int
) -> None:
    content = FRENCH.encode("cp1252") + b"undefined \x81 there,1\n"

    result = front_check(content, chunk=chunk, head_bytes=head_bytes)

    assert result.checked.dialect.encoding == "cp1252"
    assert [code for code, *_ in result.findings] == ["encoding_assumed"]
    assert result.examples()[-3:] == [
        ("Un café très noir", "1"),
        ("À bientôt", "0"),
        ("undefined \x81 there", "1"),
    ]


@pytest.mark.parametrize("head_bytes", [100, 1 << 20])
@pytest.mark.parametrize("chunk", [3, 1 << 20])
def test_a_bad_byte_among_utf8_costs_its_row(head_bytes: int, chunk: int) -> None:
    content = (PLAIN + "café,a\n" * 3).encode() + b"caf\xe9,a\n" + "thé,b\n".encode()

    result = front_check(content, chunk=chunk, head_bytes=head_bytes)

    assert result.findings == [("bad_encoding", 44, 44)]
    assert result.examples()[-1] == ("thé", "b")


def test_a_file_that_ends_within_a_character_loses_its_last_row() -> None:
    result = front_check((PLAIN + "thé,b\n").encode() + b"caf\xc3")

    assert result.findings == [("bad_encoding", 42, 42)]


def test_a_file_of_bad_bytes_is_refused() -> None:
    content = b"caf\xe9,a\nth\xe9,b\n" * 5

    code, text = refusal(content, encoding="utf-8")

    assert code is Code.TOO_MANY_MALFORMED_ROWS
    assert "another encoding" in text


@pytest.mark.parametrize(
    ("text", "encoding", "words"),
    [
        (JAPANESE, "shift-jis", "--encoding shift-jis"),
        (PLAIN + JAPANESE * 30, "shift-jis", "--encoding shift-jis"),
        (GREEK, "iso-8859-7", "no Western European language"),
        (GREEK, "cp1253", "no Western European language"),
        ("жизнь,0\nлыжи дым,1\n" * 5, "cp1251", "no Western European language"),
        ("咖啡很好,0\n早上好,1\n" * 5, "gb18030", "no Western European language"),
        ("커피가 좋았다,0\n안녕하세요,1\n" * 5, "euc-kr", "no Western European language"),
    ],
)
def test_letters_that_would_turn_into_others_are_asked_about(
    text: str, encoding: str, words: str
) -> None:
    code, message = refusal(text.encode(encoding))

    assert code is Code.UNSUPPORTED_ENCODING
    assert words in message
    declared = front_check(
        text.encode(encoding), options=DatasetOptions(encoding=encoding, has_header=False)
    )
    assert declared.records.decode() == text
    assert "encoding" not in declared.checked.dialect.assumed


def test_windows_signs_are_read_where_shift_jis_is_declared() -> None:
    content = "①番,a\n㈱会社,b\n".encode("cp932")

    result = front_check(content, options=DatasetOptions(encoding="Shift-JIS", has_header=False))

    assert result.examples() == [("①番", "a"), ("㈱会社", "b")]


@pytest.mark.parametrize("encoding", ["utf-99", "base64", "rot13", "idna\0", "idna", "punycode"])
def test_an_unknown_encoding_is_refused_with_some_that_are_known(encoding: str) -> None:
    code, text = refusal(b"a,b\n", encoding=encoding)

    assert code is Code.UNSUPPORTED_ENCODING
    assert "cp1252" in text


def test_a_mark_that_contradicts_the_declaration_is_refused() -> None:
    code, text = refusal("a,b\n".encode("utf-16"), encoding="cp1252")

    assert code is Code.UNSUPPORTED_ENCODING
    assert "utf-16le" in text
