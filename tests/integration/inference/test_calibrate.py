from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from services.common.storage import ObjectStore
from services.inference.calibrate.candidates import candidates
from services.inference.calibrate.record import Node, layout_found
from services.inference.engines.layout import Layout
from tests.tiny_model import publish_tiny_base


def run(tmp_path: Path, model: str) -> subprocess.CompletedProcess[str]:
    """Calibrate in a process of its own: how it logs would stay with the other tests."""
    flags = ["--model", model, "--seconds", "0.02", "--rounds", "1", "--json"]
    return subprocess.run(
        [sys.executable, "-m", "services.inference.calibrate", *flags],
        env={**os.environ, "ISOGLOSS_INFERENCE_DATA_DIRECTORY": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_service_takes_what_was_found(tmp_path: Path, store: ObjectStore) -> None:
    manifest = publish_tiny_base(store)

    printed = json.loads(run(tmp_path, "baseModels/tiny").stdout)

    layouts = candidates(Node.here().cpus)
    assert [Layout(**one["layout"]) for one in printed["measured"]] == layouts
    assert all(one["short"] > 0 and one["mixed"] > 0 for one in printed["measured"])
    assert printed["digest"] == manifest.variants[0].graph.sha256
    assert len(printed["batches"]) == 6
    assert layout_found(tmp_path, Node.here()) == Layout(**printed["layout"])
    assert list((tmp_path / "engines").iterdir()) == []


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    refused = run(tmp_path, "baseModels/none")

    assert refused.returncode == 1
    assert "baseModels/none was not found" in refused.stderr
