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
        ("140000 100000", 1),
        ("150000 100000", min(2, ALL)),
        ("10000 100000", 1),
        ("1000000 1000000", 1),
        ("max 100000", ALL),
        ("9900000 100000", ALL),
        ("nonsense", ALL),
    ],
)
def test_quota_of_version_2(tmp_path: Path, quota: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")

    assert available_cpus(tmp_path, tmp_path / "absent") == expected


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
@pytest.mark.parametrize("group", ["", "kubepods/pod7/container"])
@pytest.mark.parametrize(("quota", "expected"), [("100000", 1), ("-1", ALL)])
def test_quota_of_version_1(
    tmp_path: Path, mount: str, group: str, quota: str, expected: int
) -> None:
    (tmp_path / "own").write_text(f"9:memory:/elsewhere\n4:cpu,cpuacct:/{group}\n")
    folder = tmp_path / mount / group
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")

    assert available_cpus(tmp_path, tmp_path / "own") == expected


def test_quota_of_a_group_above_in_version_1(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("4:cpu:/pod/container\n")
    (tmp_path / "cpu" / "pod" / "container").mkdir(parents=True)
    (tmp_path / "cpu" / "pod" / "cpu.cfs_quota_us").write_text("50000")
    (tmp_path / "cpu" / "pod" / "cpu.cfs_period_us").write_text("50000")

    assert available_cpus(tmp_path, tmp_path / "own") == 1


def test_no_quota(tmp_path: Path) -> None:
    assert available_cpus(tmp_path, tmp_path / "absent") == ALL


def test_nearest_of_several_quotas_holds(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("0::/pod/container\n")
    inner = tmp_path / "pod" / "container"
    inner.mkdir(parents=True)
    (tmp_path / "pod" / "cpu.max").write_text("100000 100000")
    (inner / "cpu.max").write_text("max 100000")

    assert available_cpus(tmp_path, tmp_path / "own") == 1
