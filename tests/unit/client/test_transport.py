from __future__ import annotations

import asyncio
import inspect
import json
from importlib.resources import files

import pytest

from isogloss.api.datasets import AsyncDatasets, Datasets
from isogloss.api.models import AsyncModels, Models
from isogloss.api.parts import MAX_BYTES, part_of
from isogloss.api.streams import delays
from isogloss.client import AsyncClient, Client
from isogloss.transport import finish
from isogloss.v1 import (
    alias_service_pb2,
    dataset_service_pb2,
    inference_service_pb2,
    model_service_pb2,
)


@pytest.mark.parametrize(
    ("face", "inner"), [(Datasets, AsyncDatasets), (Models, AsyncModels), (Client, AsyncClient)]
)
def test_the_blocking_face_has_every_method_with_the_same_words(face: type, inner: type) -> None:
    def public(kind: type) -> dict[str, str]:
        return {
            name: f"{inspect.signature(method)} {method.__doc__}"
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert public(face) == public(inner)


def test_a_coroutine_that_suspends_is_a_bug_and_says_so() -> None:
    with pytest.raises(RuntimeError, match="bug"):
        finish(asyncio.sleep(0))


def test_the_service_config_repeats_what_is_safe_and_nothing_else() -> None:
    config = json.loads(files("isogloss").joinpath("service_config.json").read_text())
    [entry] = config["methodConfig"]
    repeated = {(name["service"], name["method"]) for name in entry["name"]}
    streams = {"WriteDataset", "CheckDataset", "WatchDataset", "DownloadDataset", "WatchModel"}
    streams |= {"ExportModel", "ImportModel", "Process"}
    unsafe = {*streams, "UpdateDataset", "DeleteDataset", "DeleteModel", "DeleteEvaluation"}
    unsafe |= {"UpdateModel", "RollbackAlias", "DeleteAlias"}
    services = [
        module.DESCRIPTOR.services_by_name[name]
        for module, name in (
            (dataset_service_pb2, "DatasetService"),
            (model_service_pb2, "ModelService"),
            (alias_service_pb2, "AliasService"),
            (inference_service_pb2, "InferenceService"),
        )
    ]

    assert repeated == {
        (service.full_name, method.name)
        for service in services
        for method in service.methods
        if method.name not in unsafe
    }
    assert entry["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]


def test_waits_grow_and_end() -> None:
    waits = list(delays())

    assert 23.75 <= sum(waits) <= 47.5
    assert max(waits) <= 5.0
    assert len(waits) == 12


def test_a_part_holds_at_least_one_text_and_no_more_than_a_message() -> None:
    huge, half = "x" * (MAX_BYTES + 1), "é" * (MAX_BYTES // 4)

    assert part_of([huge, "y"]) == [huge]
    assert part_of([half, half, half]) == [half, half]
    assert part_of([]) == []
