from __future__ import annotations

import os
from pathlib import Path

import grpc
import pytest

from isogloss import (
    AsyncClient,
    Client,
    DatasetRefused,
    DatasetState,
    InvalidArgument,
    Split,
    Unavailable,
    UploadProgress,
)
from isogloss.v1 import split_pb2
from isogloss.v1.dataset_pb2 import ValidationProgress
from tests.integration.client.answers import bad_request, refusal
from tests.integration.client.scripted import Scripted
from tests.integration.client.scripted_datasets import DATASET, Dataset

TRAIN, TEST = split_pb2.SPLIT_TRAIN, split_pb2.SPLIT_TEST
MIB = 1024 * 1024


@pytest.fixture
def train(tmp_path: Path) -> Path:
    path = tmp_path / "train.csv"
    path.write_bytes(b"".join(b"text %09d,label\n" % row for row in range(150_000)))
    return path


def test_every_byte_arrives_and_the_sum_is_declared(
    client: Client, script: Scripted, train: Path, tmp_path: Path
) -> None:
    test = tmp_path / "test.csv"
    test.write_bytes(b"a,b\n")

    dataset = client.datasets.upload("tone", train=train, test=test, has_header=False, seed=7)

    assert dataset.state is DatasetState.READY
    assert bytes(script.files[TRAIN]) == train.read_bytes()
    assert bytes(script.files[TEST]) == b"a,b\n"
    assert script.dataset.options.has_header is False
    assert script.dataset.options.split.seed == 7
    assert not script.dataset.options.split.HasField("test_share")
    [finalized] = script.asked("FinalizeDataset")
    assert [(sum_.split, sum_.size_bytes) for sum_ in finalized.checksums] == [
        (TRAIN, train.stat().st_size),
        (TEST, 4),
    ]


@pytest.mark.parametrize("lost", [[0], [MIB + 17], [5, 3 * MIB // 2]])
def test_a_broken_stream_goes_on_where_it_broke(
    client: Client, script: Scripted, train: Path, lost: list[int]
) -> None:
    script.lose_stream_after = list(lost)

    client.datasets.upload("tone", train=train)

    assert bytes(script.files[TRAIN]) == train.read_bytes()
    offsets = [request.offset for request in script.asked("WriteDataset")]
    assert offsets == [sum(lost[:count]) for count in range(len(lost) + 1)]


def test_a_server_that_is_away_for_a_while_is_waited_for(
    client: Client, script: Scripted, train: Path
) -> None:
    script.lose_stream_after = [MIB]
    # Four for one call that is repeated, and again.
    script.refusals["GetDataset"] = [refusal(grpc.StatusCode.UNAVAILABLE, "away")] * 5

    client.datasets.upload("tone", train=train)

    assert bytes(script.files[TRAIN]) == train.read_bytes()


async def test_asyncio_goes_on_as_well(
    async_client: AsyncClient, script: Scripted, train: Path
) -> None:
    script.lose_stream_after = [MIB]

    dataset = await async_client.datasets.upload("tone", train=train)

    assert dataset.name == DATASET
    assert len(script.files[TRAIN]) == script.asked("FinalizeDataset")[0].checksums[0].size_bytes


def test_an_interrupted_upload_is_resumed_without_sending_it_again(
    client: Client, script: Scripted, train: Path
) -> None:
    script.files[TRAIN] = bytearray(train.read_bytes()[: 2 * MIB])

    client.datasets.upload("ignored", train=train, resume=DATASET)

    assert script.asked("CreateDataset") == []
    assert [request.offset for request in script.asked("WriteDataset")] == [2 * MIB]
    assert bytes(script.files[TRAIN]) == train.read_bytes()


def test_a_server_that_knows_better_where_to_go_on_is_believed(
    client: Client, script: Scripted, train: Path
) -> None:
    script.files[TRAIN] = bytearray(train.read_bytes()[:MIB])

    client.datasets.upload("tone", train=train)  # believes that nothing is stored

    assert [request.offset for request in script.asked("WriteDataset")] == [0, MIB]


def test_creating_is_safe_to_repeat(client: Client, script: Scripted) -> None:
    script.refusals["CreateDataset"] = [refusal(grpc.StatusCode.UNAVAILABLE, "down")]

    client.datasets.create("tone")
    client.datasets.create("tone")

    first, again, second = [request.request_id for request in script.asked("CreateDataset")]
    assert len(first) == 36
    assert first == again
    assert first != second


def test_an_upload_gives_up_on_a_refusal(client: Client, script: Scripted, train: Path) -> None:
    script.refusals["WriteDataset"] = [
        refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "too large", reason="LIMIT_EXCEEDED")
    ]

    with pytest.raises(Exception, match="too large"):
        client.datasets.upload("tone", train=train)

    assert len(script.asked("WriteDataset")) == 1


def test_progress_counts_bytes_then_validation(
    client: Client, script: Scripted, train: Path
) -> None:
    seen: list[UploadProgress] = []
    script.validation = [
        Dataset(
            name=DATASET,
            state=Dataset.STATE_VALIDATING,
            validation_progress=ValidationProgress(phase="reading train", fraction=0.5),
        ),
        Dataset(name=DATASET, state=Dataset.STATE_READY),
    ]

    client.datasets.upload("tone", train=train, progress=seen.append)

    size = train.stat().st_size
    sent = [progress.sent_bytes for progress in seen if progress.phase == "uploading train"]
    assert sent == sorted(sent)
    assert sent[-1] == size
    assert {progress.total_bytes for progress in seen} == {size}
    assert [p.validated for p in seen if p.phase == "reading train"] == [0.5]
    assert seen[-1].validated == 1.0


def test_a_refused_dataset_names_every_reason(
    client: Client, script: Scripted, train: Path
) -> None:
    script.validation = [
        Dataset(
            name=DATASET,
            state=Dataset.STATE_FAILED,
            error=refusal(
                grpc.StatusCode.FAILED_PRECONDITION,
                "The dataset was refused.",
                bad_request(("train", "only 12 examples"), ("label", "only one label")),
                reason="DATASET_REFUSED",
            ),
        )
    ]

    with pytest.raises(DatasetRefused) as caught:
        client.datasets.upload("tone", train=train)

    assert [v.description for v in caught.value.violations] == [
        "only 12 examples",
        "only one label",
    ]
    assert caught.value.metadata["name"] == DATASET


def test_a_file_that_vanishes_on_the_way_is_its_own_error(
    client: Client, script: Scripted, train: Path
) -> None:
    script.lose_stream_after = [MIB]

    def remove(progress: UploadProgress) -> None:
        assert progress.total_bytes
        train.unlink(missing_ok=True)

    with pytest.raises(FileNotFoundError):
        client.datasets.upload("tone", train=train, progress=remove)


def test_a_file_that_shrinks_on_the_way_is_its_own_error(
    client: Client, script: Scripted, train: Path
) -> None:
    script.lose_stream_after = [MIB]

    def cut(progress: UploadProgress) -> None:
        assert progress.total_bytes
        with train.open("r+b") as file:
            file.truncate(MIB)

    with pytest.raises(OSError, match="shorter"):
        client.datasets.upload("tone", train=train, progress=cut)


def test_a_pipe_is_refused_before_anything_is_created(
    client: Client, script: Scripted, train: Path, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)

    with pytest.raises(InvalidArgument, match="write it into a file first"):
        client.datasets.upload("tone", train=train, test=pipe)
    with pytest.raises(InvalidArgument, match="write it into a file first"):
        client.datasets.check(train=pipe)

    assert script.calls == []


def test_an_empty_file_is_refused_before_anything_is_created(
    client: Client, script: Scripted, train: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.csv"
    empty.touch()

    with pytest.raises(InvalidArgument, match=r"validation: .*empty\.csv is empty") as caught:
        client.datasets.upload("tone", train=train, validation=empty)

    assert [violation.field for violation in caught.value.violations] == ["validation"]
    assert script.calls == []


def test_without_waiting_validation_goes_on_by_itself(
    client: Client, script: Scripted, train: Path
) -> None:
    dataset = client.datasets.upload("tone", train=train, wait=False)

    assert dataset.state is DatasetState.VALIDATING
    assert script.asked("WatchDataset") == []


def test_a_broken_watch_is_opened_again(client: Client, script: Scripted) -> None:
    script.validation = [Dataset(name=DATASET, state=Dataset.STATE_VALIDATING)]
    script.lose_watch_after = [1]

    states = [dataset.state for dataset in client.datasets.watch(DATASET)]

    assert states == [DatasetState.VALIDATING, DatasetState.READY]
    assert len(script.asked("WatchDataset")) == 2


def test_a_watch_that_never_began_fails_at_once(client: Client, script: Scripted) -> None:
    script.refusals["WatchDataset"] = [refusal(grpc.StatusCode.UNAVAILABLE, "down")]

    with pytest.raises(Unavailable, match="down"):
        next(iter(client.datasets.watch(DATASET)))

    assert len(script.asked("WatchDataset")) == 1


def test_lists_walk_all_pages(client: Client) -> None:
    names = [dataset.name for dataset in client.datasets.list()]

    assert names == [f"{DATASET}-0", f"{DATASET}-1", f"{DATASET}-2"]


def test_a_preview_has_rows_and_labels(client: Client) -> None:
    [train] = client.datasets.preview(DATASET, rows=1)

    assert (train.split, train.row_count) == (Split.TRAIN, 3)
    assert train.labels == {"negative": 2, "positive": 1}
    assert train.examples[0].labels == ("negative",)
