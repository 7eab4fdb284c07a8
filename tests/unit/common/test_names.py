from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidArgument
from services.common.names import Collection, check_display_name, new_name, parse
from services.common.storage.keys import check_key


@given(st.sampled_from(Collection), st.text(max_size=200))
def test_new_name_is_a_name(collection: Collection, display_name: str) -> None:
    name = new_name(collection, display_name)

    assert parse(str(name), collection) == name
    check_key(f"default/{collection}/{name.id}/dataset.json")


@pytest.mark.parametrize(
    ("display_name", "start"),
    [
        ("Tone of Messages", "datasets/tone-of-messages-"),
        ("Größe & Façade", "datasets/groe-facade-"),
        ("日本語", "datasets/dataset-"),
        ("--x--", "datasets/x-"),
        ("a" * 100, f"datasets/{'a' * 40}-"),
    ],
)
def test_new_name_starts_like_the_display_name(display_name: str, start: str) -> None:
    name = str(new_name(Collection.DATASETS, display_name))

    assert name.startswith(start)
    assert len(name) == len(start) + 6


def test_new_names_differ() -> None:
    assert len({str(new_name(Collection.MODELS, "x")) for _ in range(100)}) == 100


def test_bare_id_is_refused_with_the_full_form() -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse("tone-ab12cd", Collection.MODELS, Collection.BASE_MODELS, field="model")

    (violation,) = caught.value.violations
    assert violation.field == "model"
    assert "models/tone-ab12cd or baseModels/tone-ab12cd" in violation.description


@pytest.mark.parametrize(
    "name",
    ["", "models/", "models/A", "models/a/b", "datasets/a", "models/..", "/models/a", "models/-a",
     "models/a-", "models/" + "a" * 64, "models/a\n", "MODELS/a", "models/ä", "x" * 10_000],
)  # fmt: skip
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="models/ID") as caught:
        parse(name, Collection.MODELS)

    assert caught.value.violations[0].field == "name"
    assert len(caught.value.message) < 300


def test_name_of_either_collection() -> None:
    collections = (Collection.MODELS, Collection.BASE_MODELS)

    assert parse("models/a", *collections).collection is Collection.MODELS
    assert parse("baseModels/small", *collections).id == "small"


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101, "a\0"])
def test_display_name_is_refused(name: str) -> None:
    (violation,) = check_display_name(name, field="dataset.display_name")

    assert violation.field == "dataset.display_name"


@pytest.mark.parametrize("name", ["a", "Tone of messages", "日本語", "x" * 100])
def test_display_name_is_taken(name: str) -> None:
    assert check_display_name(name) == []
