"""What a newcomer gets wrong on the first day: each time one clear message and the right code."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode

from examples.demo import Suite
from isogloss import (
    Client,
    Dataset,
    DatasetRefused,
    FailedPrecondition,
    Hyperparameters,
    InvalidArgument,
    IsoglossError,
    Model,
    NotFound,
    Truncation,
)
from isogloss.v1 import inference_service_pb2 as pb
from isogloss.v1.inference_service_pb2_grpc import InferenceServiceStub

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]


def rows(count: int, labels: int) -> list[list[str]]:
    return [
        [f"Message number {n} about parcel {n * 7}", f"label {n % labels}"] for n in range(count)
    ]


def written(path: Path, table: list[list[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(table)
    return path


def excel(path: Path) -> Path:
    path.write_bytes(b"PK\x03\x04\x14\x00\x06\x00" + bytes(200) + b"xl/workbook.xml")
    return path


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a workbook": (excel, "Excel"),
    "one column": (lambda p: written(p, [[r[0]] for r in rows(300, 2)]), "one column"),
    "three columns": (lambda p: written(p, [[*r, "x"] for r in rows(300, 2)]), "3 columns"),
    "one label": (lambda p: written(p, rows(300, 1)), "label"),
    "too few rows": (lambda p: written(p, rows(40, 2)), "250"),
    "nothing": (lambda p: written(p, []), "empty"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_cannot_be_used(case: str, client: Client, tmp_path: Path) -> None:
    make, word = REFUSED[case]

    with pytest.raises((DatasetRefused, InvalidArgument)) as refused:
        client.datasets.upload(case, train=make(tmp_path / "train.csv"))

    assert word in str(refused.value)
    assert refused.value.violations


def test_an_unknown_dataset_and_base_are_both_named(client: Client) -> None:
    with pytest.raises(IsoglossError) as refused:
        client.models.create("x", dataset="datasets/never-was", base_model="baseModels/never-was")

    assert refused.value.code in {StatusCode.NOT_FOUND, StatusCode.INVALID_ARGUMENT}
    assert "never-was" in str(refused.value)


def test_an_unknown_model(client: Client) -> None:
    with pytest.raises(NotFound, match="models/never-was"):
        client.embed("models/never-was", ["hello"])
    with pytest.raises(NotFound, match="models/never-was"):
        client.models.get("models/never-was")


def test_a_bare_id_is_answered_with_the_full_name(client: Client) -> None:
    with pytest.raises(InvalidArgument, match="models/tone"):
        client.embed("tone", ["hello"])


def test_a_model_that_is_still_training(client: Client, dataset: Dataset) -> None:
    waiting = client.models.create(
        "slow", dataset=dataset, hyperparameters=Hyperparameters(epochs=100)
    )
    try:
        with pytest.raises(FailedPrecondition) as refused:
            client.classify(waiting.name, ["hello"])
    finally:
        client.models.delete(waiting.name)

    assert refused.value.reason == "MODEL_NOT_READY"
    assert waiting.name in str(refused.value)


def test_every_empty_text_is_named(client: Client, model: Model) -> None:
    with pytest.raises(InvalidArgument) as refused:
        client.classify(model.name, ["fine", "", "fine", "   "])

    assert [violation.field for violation in refused.value.violations] == ["texts[1]", "texts[3]"]


def test_a_text_that_is_too_long_for_truncation_none(client: Client, model: Model) -> None:
    with pytest.raises(InvalidArgument) as refused:
        client.embed(model.name, ["short", "word " * 400], truncation=Truncation.NONE)

    assert refused.value.reason == "TEXT_TOO_LONG"
    assert [violation.field for violation in refused.value.violations] == ["texts[1]"]
    assert "256" in str(refused.value)


def test_ten_thousand_texts_in_one_call(servers: Suite) -> None:
    # The client would cut the call up, so this one goes past it.
    with grpc.insecure_channel(servers.inference) as channel, pytest.raises(grpc.RpcError) as error:
        InferenceServiceStub(channel).Embed(
            pb.EmbedRequest(model="baseModels/small", texts=["hello"] * 10_000), timeout=60
        )

    assert error.value.code() is StatusCode.INVALID_ARGUMENT
    assert "512" in str(error.value.details())


def test_all_wrong_fields_of_a_model_at_once(client: Client, dataset: Dataset) -> None:
    with pytest.raises(InvalidArgument) as refused:
        client.models.create(
            "",
            dataset=dataset,
            hyperparameters=Hyperparameters(epochs=1000, learning_rate=5.0, batch_size=1),
        )

    fields = {violation.field for violation in refused.value.violations}
    assert {
        "model.display_name",
        "model.hyperparameters.epochs",
        "model.hyperparameters.learning_rate",
        "model.hyperparameters.batch_size",
    } <= fields
