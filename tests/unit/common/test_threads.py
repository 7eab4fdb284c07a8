from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.common.threads import available_cpus

ALL = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("100000 100000", 1),
        ("50000 100000", 1),
        ("150000 100000", min(2, ALL)),
        ("max 100000", ALL),
        ("9900000 100000", ALL),
        ("nonsense", ALL),
    ],
)
def test_quota_of_version_2(tmp_path: Path, quota: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")

    assert available_cpus(tmp_path, tmp_path / "absent") == expected


def test_quota_of_version_1(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")

    assert available_cpus(tmp_path, tmp_path / "absent") == 1


def test_no_quota(tmp_path: Path) -> None:
    assert available_cpus(tmp_path, tmp_path / "absent") == ALL


def test_nearest_of_several_quotas_holds(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("0::/pod/container\n")
    inner = tmp_path / "pod" / "container"
    inner.mkdir(parents=True)
    (tmp_path / "pod" / "cpu.max").write_text("100000 100000")
    (inner / "cpu.max").write_text("max 100000")

    assert available_cpus(tmp_path, tmp_path / "own") == 1
