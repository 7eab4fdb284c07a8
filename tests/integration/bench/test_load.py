from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.inference.load import generate
from bench.inference.loads import Lane, Load
from services.common.server import running_server
from services.common.storage import open_store
from services.inference.__main__ import build
from services.inference.devices import DeviceWish
from services.inference.settings import InferenceSettings
from tests.tiny_model import publish_tiny_base

TEXTS = ["order late", "again", "my refund never arrived", "why do you charge me"]
MODEL = "baseModels/tiny"


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    publish_tiny_base(open_store(str(tmp_path / "store")))
    settings = InferenceSettings.model_validate(
        {"address": "127.0.0.1:0", "data_directory": tmp_path, "device": DeviceWish.CPU}
    )
    async with running_server(build(settings)) as server:
        yield server.address


@pytest.fixture
def texts(tmp_path: Path) -> str:
    path = tmp_path / "texts.json"
    path.write_text(json.dumps(TEXTS))
    return str(path)


async def test_a_window_of_texts_begins_warm_and_ends_with_the_last(
    address: str, texts: str
) -> None:
    lane = Lane(texts=texts, model=MODEL, batch=2, concurrency=3)
    load = Load(
        address=address, pid=os.getpid(), lanes={"all": lane}, warm_texts=10, count_texts=40
    )

    found = await generate(load)

    calls = found.lanes["all"]
    assert {call.code for call in calls} == {"OK"}
    assert found.texts("all") in range(40, 40 + 2 * lane.concurrency + 1, 2)
    assert sum(call.texts for call in calls if call.ended < 0) in range(8, 18)
    assert found.seconds > 0
    assert found.cpu_seconds > 0


async def test_lanes_call_side_by_side_at_their_own_pace(address: str, texts: str) -> None:
    lanes = {
        "closed": Lane(texts=texts, model=MODEL, options={"priority": "PRIORITY_BULK"}),
        "open": Lane(texts=texts, model=MODEL, rate=200.0),
    }
    load = Load(address=address, lanes=lanes, warm_texts=5, count_texts=200, retries=True)

    found = await generate(load)

    assert found.texts("closed") in range(200, 202)
    assert found.lanes["open"]
    assert all(call.good for lane in lanes for call in found.lanes[lane])


async def test_a_call_that_is_refused_is_told_with_its_code(
    address: str, texts: str, tmp_path: Path
) -> None:
    over = tmp_path / "over"
    over.touch()
    lane = Lane(texts=texts, model="baseModels/nobody", concurrency=2)

    found = await generate(Load(address=address, lanes={"all": lane}, until=str(over), seconds=0.2))

    assert set(Counter(call.code for call in found.lanes["all"])) == {"NOT_FOUND"}
    assert "baseModels/nobody" in found.lanes["all"][0].said
    assert found.texts("all") == 0
