"""What a run is told about where it computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.trainer import launch
from services.trainer.settings import TrainerSettings

RAY: dict[str, Any] = {"executor": "ray", "ray_address": "head:6379", "ray_workers": 3}


def test_a_cluster_has_as_many_places_as_there_are_runs_at_a_time() -> None:
    settings = TrainerSettings(
        **RAY, concurrent_runs=2, ray_resources_per_worker={"CPU": 4, "GPU": 1}
    )

    assert launch.places_to_learn(settings) == ["cuda", "cuda"]
    assert launch.threads_to_learn(settings) == 12


def test_this_machine_has_its_own_places() -> None:
    settings = TrainerSettings(device="cpu", concurrent_runs=2, run_threads=3)

    assert launch.places_to_learn(settings) == ["cpu", "cpu"]
    assert launch.threads_to_learn(settings) == 3


def test_a_run_tells_nobody_how_it_is_used_and_finds_this_machines_node(tmp_path: Path) -> None:
    environment = launch.environment(TrainerSettings(), tmp_path)

    assert environment["RAY_USAGE_STATS_ENABLED"] == "0"
    assert environment["TMPDIR"] == str(tmp_path)
    assert environment["RAY_TMPDIR"] != str(tmp_path)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"ray_address": ""}, "ray_address must name the cluster's head"),
        ({"ray_address": "ray://head:10001"}, "ray_address"),
        ({"ray_resources_per_worker": {"GPU": 2}}, "raise ray_workers instead"),
        ({"ray_resources_per_worker": {"CPU": 0.5}}, "a worker has whole threads"),
        ({"ray_resources_per_worker": {"CPU": 0}}, "greater than 0"),
        ({"ray_workers": 0}, "greater than or equal to 1"),
    ],
)
def test_clusters_that_could_not_work_are_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        TrainerSettings(**{**RAY, **changes})
