from __future__ import annotations

from pathlib import Path

import pytest

from services.common.memory import machine_memory, memory_limit

GIB = 1024**3


@pytest.mark.parametrize(
    ("written", "expected"),
    [(f"{GIB // 2}", GIB // 2), ("max", None), (f"{1 << 60}", None), ("nonsense", None)],
)
def test_limit_of_version_2(tmp_path: Path, written: str, expected: int | None) -> None:
    (tmp_path / "memory.max").write_text(f"{written}\n")

    assert memory_limit(tmp_path, tmp_path / "absent") == expected


@pytest.mark.parametrize(
    ("written", "expected"), [(f"{GIB // 2}", GIB // 2), ("9223372036854771712", None)]
)
def test_limit_of_version_1(tmp_path: Path, written: str, expected: int | None) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text(f"{written}\n")

    assert memory_limit(tmp_path, tmp_path / "absent") == expected


def test_smallest_of_several_limits_holds(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("0::/pod/container\n")
    inner = tmp_path / "pod" / "container"
    inner.mkdir(parents=True)
    (tmp_path / "pod" / "memory.max").write_text(f"{GIB // 4}")
    (inner / "memory.max").write_text(f"{GIB // 2}")

    assert memory_limit(tmp_path, tmp_path / "own") == GIB // 4


def test_a_machine_has_memory() -> None:
    assert machine_memory() > GIB // 2
