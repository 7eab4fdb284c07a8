from __future__ import annotations

import random
from collections import defaultdict

import pytest

from services.ingest.dataset import DatasetOptions, NearDuplicates, Overlap, Split, SplitOptions
from tests.messages import as_csv
from tests.unit.ingest.check import Validated, validated

TRAIN, VALIDATION, TEST = Split
_RANDOM = random.Random(3)  # noqa: S311  # texts, not secrecy
_WORDS = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrs"]


def _texts(count: int, words: int = 12) -> list[str]:
    return [" ".join(_RANDOM.choices(_WORDS, k=words)) for _ in range(count)]


def _csv(texts: list[str], labels: str = "01") -> bytes:
    rows = tuple((text, labels[n % len(labels)]) for n, text in enumerate(texts))
    return b"text,label\n" + as_csv(rows)


def _options(mode: NearDuplicates, **split: object) -> DatasetOptions:
    return DatasetOptions(near_duplicates=mode, split=SplitOptions(**split))  # type: ignore[arg-type]  # of the test


def _found(result: Validated) -> list[tuple[str, int]]:
    return [(f["code"], f["line"]) for f in result.findings if f["code"].startswith("near")]


@pytest.mark.parametrize(
    ("text", "variant"),
    [
        ("Where is my card?", "where is  my CARD"),
        (
            "\u041f\u0440\u0438\u0432\u0435\u0442 - \u043c\u0438\u0440!",
            "\u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440",
        ),
        ("\u6211\u7684\u5361\u5728\u54ea\u91cc\uff1f", "\u6211\u7684\u5361\u5728\u54ea\u91cc"),
    ],
)
def test_case_blanks_and_punctuation_make_no_other_text(text: str, variant: str) -> None:
    result = validated(_csv([*_texts(20), text, variant], "0011"))

    ((code, line),) = _found(result)
    assert (code, line) == ("near_duplicate", 23)
    (message,) = (f["message"] for f in result.findings if f["code"] == "near_duplicate")
    assert "line 22" in message


def test_a_text_with_another_word_is_alike_and_another_text_is_not() -> None:
    texts = _texts(200, 20)
    changed = " ".join([*texts[7].split()[:-1], "otherwise"])

    result = validated(_csv([*texts, changed], "01"))

    assert _found(result) == [("near_duplicate", 202)]


def test_many_alike_are_one_group_that_stays_in_one_split() -> None:
    texts = _texts(60)
    alike = [f"{text} {ending}" for text in texts[:20] for ending in ("", "!", "now", "please")]

    result = validated(_csv([*alike, *texts[20:]], "01"))

    homes = defaultdict(set)
    for split, rows in result.rows.items():
        for text, *_ in rows:
            homes[" ".join(text.strip("!").split()[:12])].add(split)
    assert {len(splits) for splits in homes.values()} == {1}
    assert all(result.rows[split] for split in Split)


def test_dropping_leaves_the_first_of_each_group() -> None:
    texts = _texts(30)

    result = validated(_csv([*texts, f"{texts[4]}!"]), options=_options(NearDuplicates.DROP))

    assert _found(result) == [("near_duplicate_dropped", 32)]
    assert {row[0] for rows in result.rows.values() for row in rows} == set(texts)


def test_nothing_is_looked_for_where_it_is_off() -> None:
    texts = _texts(30)

    result = validated(_csv([*texts, f"{texts[4]}!"]), options=_options(NearDuplicates.OFF))

    assert _found(result) == []
    assert result.verdict.report.overlaps == ()


@pytest.mark.parametrize(
    ("mode", "code", "kept"),
    [
        (NearDuplicates.REPORT, "near_leakage", 30),
        (NearDuplicates.DROP, "near_leakage_dropped", 29),
    ],
)
def test_training_rows_close_to_held_out_ones_are_told(
    mode: NearDuplicates, code: str, kept: int
) -> None:
    texts = _texts(30)
    files = {
        TRAIN: _csv(texts),
        VALIDATION: _csv(_texts(4)),
        TEST: _csv([f"{texts[2].upper()}!", *_texts(3)]),
    }

    result = validated(files, options=_options(mode))

    assert _found(result) == [(code, 4)]
    assert len(result.rows[TRAIN]) == kept
    assert result.verdict.report.overlaps == (Overlap(first=TRAIN, second=TEST, near=1),)


def test_texts_of_one_template_stay_in_training_and_that_is_told() -> None:
    words = "your order with the number {} has been sent to the address that you gave us"

    result = validated(_csv([words.format(n) for n in range(60)]))

    assert [len(result.rows[split]) for split in Split] == [60, 0, 0]
    (told,) = (f for f in result.findings if f["code"] == "nothing_set_aside")
    assert "stay together" in told["message"]
    assert "validation and test" in told["fix"]
    assert any("No model can be trained" in warning for warning in result.verdict.report.warnings)
    assert not result.verdict.report.trainable


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_without_a_row_to_score_on_a_data_set_is_not_trainable(share: float) -> None:
    options = DatasetOptions(split=SplitOptions(validation_share=share, test_share=0.0))

    result = validated(_csv(_texts(60)), options=options)

    assert result.verdict.report.trainable is bool(share)
    told = [f["message"] for f in result.findings if f["code"] == "nothing_set_aside"]
    assert bool(told) is not bool(share)
    assert all("shares are 0" in message for message in told)
