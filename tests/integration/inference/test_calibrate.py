from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.common.storage import ObjectStore
from services.inference.calibrate.__main__ import main
from services.inference.calibrate.candidates import candidates
from services.inference.calibrate.record import Node, layout_found
from services.inference.engines.layout import Layout
from tests.tiny_model import publish_tiny_base


def run(tmp_path: Path, model: str) -> None:
    main(
        [
            *("--model", model, "--seconds", "0.02", "--rounds", "1", "--json"),
            *("--data-directory", str(tmp_path)),
        ]
    )


def test_the_service_takes_what_was_found(
    tmp_path: Path, store: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = publish_tiny_base(store)

    run(tmp_path, "baseModels/tiny")

    printed = json.loads(capsys.readouterr().out)
    layouts = candidates(Node.here().cpus)
    assert [Layout(**one["layout"]) for one in printed["measured"]] == layouts
    assert all(one["short"] > 0 and one["mixed"] > 0 for one in printed["measured"])
    assert printed["digest"] == manifest.variants[0].graph.sha256
    assert len(printed["batches"]) == 6
    assert layout_found(tmp_path, Node.here()) == Layout(**printed["layout"])
    assert list((tmp_path / "engines").iterdir()) == []


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="baseModels/none was not found"):
        run(tmp_path, "baseModels/none")
