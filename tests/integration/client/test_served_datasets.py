"""The client against the dataset service itself, from a table in memory back to one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from isogloss import (
    AsyncClient,
    Cleaning,
    DatasetRefused,
    DatasetState,
    FailedPrecondition,
    Severity,
    Split,
)
from isogloss.dataset_options import OptionFields
from services.common.server import running_server
from services.ingest.__main__ import build
from services.ingest.settings import IngestSettings

PRAISE = ("lovely", "perfect", "so kind")
BLAME = ("late", "broken", "rude")


def rows(count: int, *, start: int = 0) -> Iterator[tuple[str, str]]:
    for number in range(start, start + count):
        words, label = (PRAISE, "positive") if number % 2 else (BLAME, "negative")
        yield f"Order {number * 7919} was {words[number % 3]}, thing {number}", label


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    settings = IngestSettings(
        address="127.0.0.1:0",
        data_directory=tmp_path / "data",
        poll_seconds=0.05,
        shutdown_grace=1.0,
    )
    async with (
        running_server(build(settings)) as server,
        AsyncClient(ingest=server.address) as client,
    ):
        yield client


async def test_a_table_is_checked_made_read_compared_and_removed(
    client: AsyncClient, tmp_path: Path
) -> None:
    table = pd.DataFrame(rows(300), columns=["body", "tag"]).assign(ticket=range(300))
    table.loc[7, "body"] = "<b>Bold</b> and late, see https://example.com/x"
    table.loc[299] = table.loc[298]
    cleaning = Cleaning(strip_html=True, urls="mask")
    options = OptionFields(
        text_column="body",
        label_column="tag",
        keep_columns=["ticket"],
        cleaning=cleaning,
        near_duplicates="off",
    )

    checked = await client.datasets.check(train=table, **options)
    dataset = await client.datasets.upload(
        "tone",
        train=table,
        expire_time=timedelta(days=3),
        **options,
    )

    assert checked.report.trainable
    assert dataset.state is DatasetState.READY
    assert dataset.report is not None
    assert dataset.report.files[0].row_count == 300
    assert sum(dataset.report.rows.values()) + dataset.report.dropped_rows == 300
    assert dataset.options.cleaning == cleaning
    assert dataset.expire_time is not None

    found = [finding async for finding in client.datasets.findings(dataset)]
    [twice] = [finding for finding in found if finding.code == "duplicate"]
    assert (twice.row, twice.line, twice.severity) == (300, 300, Severity.ROW_DROPPED)

    examples = [row async for row in client.datasets.rows(dataset, "train")]
    frame = await client.datasets.to_polars(dataset, "train")
    assert len(examples) == frame.height == dataset.report.rows[Split.TRAIN]
    everything = {example.text: example for example in examples}
    for split in ("validation", "test"):
        everything |= {row.text: row async for row in client.datasets.rows(dataset, split)}
    cleaned = everything["Bold and late, see [URL]"]
    assert (cleaned.labels, cleaned.columns) == (("positive",), {"ticket": "7"})

    to = await client.datasets.download_findings(dataset, to=tmp_path / "findings.csv")
    assert "duplicate" in to.read_text()

    renamed = await client.datasets.update(dataset, display_name="new", expire_time="never")
    assert (renamed.display_name, renamed.expire_time) == ("new", None)
    assert (await client.datasets.usage()).dataset_count == 1
    assert [one.name async for one in client.datasets.list(query="NEW")] == [dataset.name]
    await client.datasets.delete(dataset, etag=renamed.etag)
    assert [one async for one in client.datasets.list()] == []


async def test_new_rows_make_a_new_dataset_that_can_be_compared(client: AsyncClient) -> None:
    parent = await client.datasets.upload("tone", train=rows(300), near_duplicates="off")

    child = await client.datasets.append(parent, "more", train=rows(20, start=300))
    diff = await client.datasets.diff(parent, child)

    assert child.parent_dataset == parent.name
    assert (diff.added_count, diff.removed_count, diff.unchanged_count) == (20, 0, 300)


async def test_several_labels_come_back_as_they_were_given(client: AsyncClient) -> None:
    table = [(text, [label, "order"] if n % 3 else []) for n, (text, label) in enumerate(rows(300))]

    dataset = await client.datasets.upload("tags", train=table, near_duplicates="off")

    given = {text: tuple(sorted(labels)) for text, labels in table}
    for split in ("train", "validation", "test"):
        async for row in client.datasets.rows(dataset, split):
            assert tuple(sorted(row.labels)) == given[row.text]


async def test_a_directory_as_store_says_how_to_upload_instead(client: AsyncClient) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        await client.datasets.upload("tone", train=rows(3), direct=True)

    assert refused.value.reason == "STORE_UNSUITABLE"


async def test_what_cannot_be_learnt_from_is_said_by_a_check_and_refused_as_a_dataset(
    client: AsyncClient,
) -> None:
    result = await client.datasets.check(train=rows(10))

    assert (result.report.readable, result.report.trainable) == (True, False)
    assert result.errors[0].code == "too_few_examples"
    with pytest.raises(DatasetRefused):
        await client.datasets.upload("tone", train=rows(10))
