from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidArgument
from services.common.pagination import (
    MAX_PAGE_BYTES,
    Cursor,
    Page,
    cut_page,
    page_request,
    time_and_id,
    whole_number,
)

SCOPE = ("ListDatasets", "default", "")


def list_page(
    items: list[int], page_size: int, token: str, size: int = 0, maximum: int = 1000
) -> Page[int]:
    request = page_request(page_size=page_size, page_token=token, scope=SCOPE, maximum=maximum)
    start = -1 if request.cursor is None else request.cursor[0]
    assert isinstance(start, int)
    after = [item for item in items if item > start]
    return cut_page(
        after[: request.size + 1],
        request=request,
        cursor_of=lambda item: (item,),
        size_of=lambda _: size,
    )


@given(st.integers(0, 40), st.integers(1, 12), st.integers(0, MAX_PAGE_BYTES * 2))
def test_pages_join_to_the_whole(count: int, page_size: int, size: int) -> None:
    items = list(range(count))
    found: list[int] = []
    token = ""
    while True:
        page = list_page(items, page_size, token, size)
        assert len(page.items) <= page_size
        assert len(page.items) == 1 or len(page.items) * size <= MAX_PAGE_BYTES
        found += page.items
        token = page.next_page_token
        if not token:
            break
        assert page.items
    assert found == items


def test_last_page_that_is_exactly_full_ends_the_collection() -> None:
    page = list_page([0, 1, 2], 3, "")

    assert page.items == [0, 1, 2]
    assert page.next_page_token == ""


def test_sizes() -> None:
    assert page_request(page_size=0, page_token="", scope=SCOPE).size == 50
    assert page_request(page_size=2000, page_token="", scope=SCOPE).size == 1000
    assert page_request(page_size=7, page_token="", scope=SCOPE).size == 7
    with pytest.raises(InvalidArgument, match="page_size"):
        page_request(page_size=-1, page_token="", scope=SCOPE)


def test_token_of_another_question_is_refused() -> None:
    token = list_page([0, 1, 2], 1, "").next_page_token

    for scope in [("ListModels", "default", ""), ("ListDatasets", "other", ""), SCOPE[:2]]:
        with pytest.raises(InvalidArgument, match="page_token"):
            page_request(page_size=1, page_token=token, scope=scope)


def test_page_size_may_change_between_pages() -> None:
    token = list_page([0, 1, 2], 1, "").next_page_token

    assert list_page([0, 1, 2], 2, token).items == [1, 2]


def test_every_violation_is_told() -> None:
    with pytest.raises(InvalidArgument) as caught:
        page_request(page_size=-1, page_token="x", scope=SCOPE)  # noqa: S106 - no secret

    assert [violation.field for violation in caught.value.violations] == ["page_size", "page_token"]


def encoded(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


CHECKSUM = page_request(page_size=0, page_token="", scope=SCOPE).checksum


@pytest.mark.parametrize(
    "token",
    ["x", "ä", "....", encoded([]), encoded({}), encoded([CHECKSUM]), encoded([CHECKSUM, None]),
     encoded([CHECKSUM, True]), encoded([CHECKSUM, [1]]), encoded(CHECKSUM), "[" * 99_999],
)  # fmt: skip
def test_broken_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument, match="page_token"):
        page_request(page_size=1, page_token=token, scope=SCOPE)


def test_cursor_of_text_and_number() -> None:
    request = page_request(page_size=1, page_token="", scope=SCOPE)
    page = cut_page(["é", "z"], request=request, cursor_of=lambda item: (item, 7))

    following = page_request(page_size=1, page_token=page.next_page_token, scope=SCOPE)

    assert following.cursor == ("é", 7)


def test_cursor_of_time_and_id() -> None:
    cursor = ("2026-01-02T05:04:05.678901+02:00", "tone-abcdef")

    assert time_and_id(cursor) == (datetime(2026, 1, 2, 3, 4, 5, 678901, UTC), "tone-abcdef")


@pytest.mark.parametrize(
    "cursor",
    [("soon", "a"), ("2026-01-02T03:04:05", "a"), (7, "a"), ("2026-01-02T03:04:05+00:00",),
     ("2026-01-02T03:04:05+00:00", 7), ("2026-01-02T03:04:05+00:00", "a", "b"),
     ("2026-01-02T03:04:05+00:00", "\0"), ("2026-01-02T03:04:05+00:00", "\ud800"),
     ("0001-01-01T00:00:00+01:00", "a")],
)  # fmt: skip
def test_cursor_that_anybody_made_up_is_refused(cursor: Cursor) -> None:
    with pytest.raises(InvalidArgument, match="page_token"):
        time_and_id(cursor)


def test_cursor_of_a_number() -> None:
    assert whole_number(None, first=-1) == -1
    assert whole_number((7,), first=0) == 7


@pytest.mark.parametrize("cursor", [("7",), (-1,), (1 << 63,), (1, 2)])
def test_other_cursors_are_no_number(cursor: tuple[str | int, ...]) -> None:
    with pytest.raises(InvalidArgument, match="page_token"):
        whole_number(cursor, first=0)
