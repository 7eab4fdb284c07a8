"""No response is over what every gRPC client takes by default, whatever a dataset holds."""

from __future__ import annotations

from services.ingest.check import MAX_FINDINGS, CheckResult
from services.ingest.convert.responses import check_to_proto, difference_to_proto, preview_to_proto
from services.ingest.dataset import Example, Limits, Report, Split
from services.ingest.finding import EXCERPT_LENGTH, Code, Finding
from services.ingest.published.diff import Difference, Relabelled
from services.ingest.published.preview import MAX_ROWS, MAX_TEXT_LENGTH, SplitPreview

MAX_RESPONSE = 4 << 20
WIDE = "\N{GRINNING FACE}"
"""Four bytes in UTF-8."""

LIMITS = Limits()
LABELS = tuple(
    f"{number:04d}{WIDE * (LIMITS.max_label_length - 4)}" for number in range(LIMITS.max_labels)
)
COUNTS = tuple((label, 1 << 40) for label in LABELS)


def examples(labels: int) -> tuple[Example, ...]:
    return tuple(
        Example(
            text=WIDE * MAX_TEXT_LENGTH,
            labels=LABELS[:labels],
            split=Split.TEST,
            row=1 << 40,
            line=1 << 40,
        )
        for _ in range(MAX_ROWS)
    )


def previews(labels: int) -> tuple[SplitPreview, ...]:
    shown = examples(labels)
    return tuple(
        SplitPreview(split=split, examples=shown, labels=COUNTS, row_count=1 << 40)
        for split in Split
    )


def test_previews_of_the_widest_texts_fit() -> None:
    for labels in (1, 1000):
        messages = [preview_to_proto(preview) for preview in previews(labels)]

        assert sum(message.ByteSize() for message in messages) < MAX_RESPONSE - 1000
        assert all(len(message.labels) == len(COUNTS) for message in messages)
        assert all(message.examples for message in messages)


def test_a_check_shows_as_many_findings_as_fit() -> None:
    finding = Finding(
        code=Code.CONFLICTING_LABELS,
        message=WIDE * 500,
        split=Split.TRAIN,
        excerpt=WIDE * EXCERPT_LENGTH,
        fix=WIDE * 100,
    )
    result = CheckResult(
        report=Report(removed_labels=LABELS[:100]),
        refusals=(finding,),
        findings=(finding,) * MAX_FINDINGS,
        previews=previews(1),
        content_hash="0" * 64,
    )

    response = check_to_proto(result)

    assert response.ByteSize() < MAX_RESPONSE
    assert len(response.errors) == 1
    assert len(response.splits) == 3


def test_a_difference_shows_as_many_rows_as_fit() -> None:
    for labels in (1, 1000):
        shown = examples(labels)
        response = difference_to_proto(
            Difference(
                added_count=1 << 40,
                removed_count=1 << 40,
                relabelled_count=1 << 40,
                moved_count=1 << 40,
                unchanged_count=1 << 40,
                labels=tuple((label, 1 << 40, 0) for label in (*LABELS, *LABELS)),
                added=shown,
                removed=shown,
                relabelled=tuple(
                    Relabelled(example=example, base_labels=LABELS[:1]) for example in shown
                ),
                same_content=False,
            )
        )

        assert response.ByteSize() < MAX_RESPONSE
        assert response.added
        assert len(response.labels) == 2000


def test_what_fits_is_shown_whole() -> None:
    few = tuple(
        Example(text="A text", labels=("a",), split=Split.TRAIN, row=row, line=row)
        for row in range(MAX_ROWS)
    )

    message = preview_to_proto(
        SplitPreview(split=Split.TRAIN, examples=few, labels=(("a", 100),), row_count=100)
    )

    assert [example.row for example in message.examples] == list(range(MAX_ROWS))
