"""One core by quota, beside one core by affinity."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.inference.figures import Figure, at_least
from bench.inference.loads import Lane, Load
from bench.inference.place import MODEL, Place
from bench.inference.processes import serving

_PERIOD = 100_000
_GROUP = "isogloss-bench"
_V2 = Path("/sys/fs/cgroup")
_V1 = _V2 / "cpu"


def one_core(place: Place) -> Iterator[Figure]:
    """Calls of 32 short texts; the quota leaves all cores, for half of the time.

    Raises:
        PermissionError: Where this machine lets nobody make a cgroup.
    """
    with _quota() as group:
        enter = f'echo $$ > {group}/cgroup.procs && exec "$0" "$@"'
        limited = _rate(place, ["sh", "-c", enter])
    core = str(min(os.sched_getaffinity(0)))
    pinned = _rate(place, ["taskset", "-c", core])
    yield at_least(
        "a quota of one core: texts a second, of one pinned core",
        limited / pinned,
        0.95,
        **{"texts/s": limited, "pinned": pinned},
    )


def _rate(place: Place, before: Sequence[str]) -> float:
    lane = Lane(texts=str(place.texts("short")), model=MODEL, batch=32, concurrency=2)
    with serving(place.directory, before=before) as server:
        return place.send(
            Load(
                address=server.address,
                lanes={"all": lane},
                warm_texts=64,
                count_texts=max(64, place.count("short")),
            )
        ).rate("all")


@contextmanager
def _quota() -> Iterator[Path]:
    """Make a cgroup that may use one core, of version 2 or 1."""
    version_2 = (_V2 / "cgroup.controllers").exists()
    group = (_V2 if version_2 else _V1) / _GROUP
    group.mkdir(exist_ok=True)
    try:
        if version_2:
            (group / "cpu.max").write_text(f"{_PERIOD} {_PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(_PERIOD))
        yield group
    finally:
        group.rmdir()
