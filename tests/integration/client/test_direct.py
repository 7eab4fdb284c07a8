from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from isogloss import AsyncClient, Client, FailedPrecondition, ServerError, UploadProgress
from isogloss.api import direct
from isogloss.v1.split_pb2 import SPLIT_TRAIN
from tests.integration.client.answers import refusal
from tests.integration.client.put_store import PutStore
from tests.integration.client.scripted import Scripted
from tests.integration.client.scripted_datasets import DATASET

ROWS = b"".join(b"text %05d,label\n" % row for row in range(20_000))


@pytest.fixture
def train(tmp_path: Path) -> Path:
    path = tmp_path / "train.csv"
    path.write_bytes(ROWS)
    return path


@pytest.fixture
def store(script: Scripted) -> Iterator[PutStore]:
    store = PutStore(script)
    yield store
    store.stop()


def test_bytes_go_past_the_service_and_are_finalized(
    client: Client, script: Scripted, store: PutStore, train: Path
) -> None:
    seen: list[UploadProgress] = []

    client.datasets.upload("tone", train=train, direct=True, progress=seen.append)

    assert bytes(script.files[SPLIT_TRAIN]) == ROWS
    assert script.asked("WriteDataset") == []
    [ticket] = script.asked("GenerateUploadUrl")
    assert (ticket.offset, ticket.size_bytes) == (0, len(ROWS))
    [headers] = store.headers
    assert headers["If-None-Match"] == "*"
    assert headers["Content-Length"] == str(len(ROWS))
    sent = [progress.sent_bytes for progress in seen if progress.phase == "uploading train"]
    assert sent == sorted(sent)
    assert sent[-1] == len(ROWS)


def test_an_interrupted_upload_is_resumed_in_parts(
    client: Client,
    script: Scripted,
    store: PutStore,
    train: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(direct, "PART_BYTES", 100_000)
    script.files[SPLIT_TRAIN] = bytearray(ROWS[:50_000])

    client.datasets.upload("tone", train=train, direct=True, resume=DATASET)

    assert bytes(script.files[SPLIT_TRAIN]) == ROWS
    tickets = [(t.offset, t.size_bytes) for t in script.asked("GenerateUploadUrl")]
    assert tickets == [(50_000, 100_000), (150_000, 100_000), (250_000, len(ROWS) - 250_000)]
    assert len(store.headers) == 3


@pytest.mark.parametrize("code", [503, 403, 412])
def test_an_answer_that_passes_is_waited_out(
    client: Client, script: Scripted, store: PutStore, train: Path, code: int
) -> None:
    store.answers = [code]

    client.datasets.upload("tone", train=train, direct=True)

    assert bytes(script.files[SPLIT_TRAIN]) == ROWS


async def test_a_put_whose_answer_was_lost_is_not_sent_twice(
    async_client: AsyncClient, script: Scripted, store: PutStore, train: Path
) -> None:
    store.forget_answers = 1

    await async_client.datasets.upload("tone", train=train, direct=True)

    assert bytes(script.files[SPLIT_TRAIN]) == ROWS
    assert len(store.headers) == 1


def test_a_refusal_of_the_store_tells_no_address(
    client: Client, store: PutStore, train: Path
) -> None:
    store.answers = [400]

    with pytest.raises(ServerError, match=r"127\.0\.0\.1.* answered 400") as refused:
        client.datasets.upload("tone", train=train, direct=True)

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(("resume", "deleted"), [(None, [DATASET]), (DATASET, [])])
def test_a_store_that_cannot_sign_is_an_error_and_leaves_nothing_new(
    client: Client, script: Scripted, train: Path, resume: str | None, deleted: list[str]
) -> None:
    script.refusals["GenerateUploadUrl"] = [
        refusal(grpc.StatusCode.FAILED_PRECONDITION, "A directory.", reason="STORE_UNSUITABLE")
    ]

    with pytest.raises(FailedPrecondition, match="A directory") as refused:
        client.datasets.upload("tone", train=train, direct=True, resume=resume)

    assert refused.value.reason == "STORE_UNSUITABLE"
    assert script.deleted == deleted


def test_a_file_that_vanishes_on_the_way_is_its_own_error(
    client: Client, script: Scripted, store: PutStore, train: Path
) -> None:
    store.answers = [503]

    def remove(progress: UploadProgress) -> None:
        assert progress.total_bytes
        train.unlink(missing_ok=True)

    with pytest.raises(FileNotFoundError):
        client.datasets.upload("tone", train=train, direct=True, progress=remove)

    assert script.asked("FinalizeDataset") == []


def test_only_the_web_is_put_to(client: Client, script: Scripted, train: Path) -> None:
    script.store = "file:///tmp"

    with pytest.raises(ServerError, match="neither http nor https"):
        client.datasets.upload("tone", train=train, direct=True)
