from __future__ import annotations

import pytest

from services.ingest.dataset import DatasetOptions, Profile, Split
from services.ingest.finding import Code
from tests.messages import as_csv
from tests.unit.ingest.check import validated

TRAIN, VALIDATION, TEST = Split
_SEPARATED = DatasetOptions(label_separator="|", text_column="1", label_column="2")
_STRICT = Profile(min_examples=5, advised_examples=10, min_per_label=3)


def _rows(*labels: str) -> bytes:
    return as_csv(tuple((f"message number {n}", label) for n, label in enumerate(labels)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Spam", "spam"),
        ("1", "1.0"),
        ("card lost", "card_lost"),
        ("\uff21", "A"),
        ("re\u00adfund", "refund"),
    ],
)
def test_labels_that_differ_in_little_are_warned_about_and_kept_apart(one: str, other: str) -> None:
    result = validated(_rows(*[one] * 6, *[other] * 5, *["else"] * 6))

    (variant,) = (f for f in result.findings if f["code"] == "label_variant")
    assert f'"{one}" (6), "{other}" (5)' in variant["message"]
    assert result.verdict.labels == tuple(sorted([one, other, "else"]))


@pytest.mark.parametrize("labels", [("C", "C++"), ("-1", "1"), ("a", "b")])
def test_labels_that_mean_something_else_are_no_variants(labels: tuple[str, str]) -> None:
    result = validated(_rows(*[labels[0]] * 8, *[labels[1]] * 8))

    assert not [f for f in result.findings if f["code"] == "label_variant"]


def test_a_text_has_any_number_of_labels() -> None:
    result = validated(_rows(*["b|a", "a| b ", "", "a", "b|b"] * 5), options=_SEPARATED)

    assert result.verdict.multi_label
    assert result.verdict.report.multi_label
    assert result.verdict.labels == ("a", "b")
    found = {labels for part in result.labels.values() for labels in part}
    assert found == {("a", "b"), (), ("a",), ("b",)}


def test_texts_without_any_label_are_no_dataset() -> None:
    result = validated(_rows(*[""] * 20), options=_SEPARATED)

    (refusal,) = result.verdict.refusals
    assert refusal.code is Code.TOO_FEW_LABELS
    assert "No training example has a label" in refusal.message


def test_a_rare_label_is_taken_out_of_its_rows_which_stay() -> None:
    content = _rows(*["a|b"] * 10, "a|rare", "rare", *["b"] * 8)

    result = validated(content, options=_SEPARATED, profile=_STRICT)

    assert sum(len(part) for part in result.rows.values()) == 20
    assert result.verdict.labels == ("a", "b")
    taken = [f["line"] for f in result.findings if f["code"] == "rare_label_removed" and f["line"]]
    assert taken == [11, 12]


def test_one_label_for_everything_is_no_labelling() -> None:
    result = validated(_rows(*["same"] * 20))

    assert not result.verdict.report.readable
    assert "tells nothing" in result.verdict.refusals[0].message


def test_too_little_is_readable_all_the_same() -> None:
    result = validated(_rows("a", "b", "a"))

    assert result.verdict.report.readable
    assert not result.verdict.report.trainable
