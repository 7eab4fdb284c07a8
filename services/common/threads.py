"""How many threads this process may keep busy: the container's share, never the host's count."""

from __future__ import annotations

import math
import os
from pathlib import Path

from services.common.cgroups import CGROUPS, OWN_CGROUP, groups


def available_cpus(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> int:
    """Return the processors that affinity and the cgroup's quota leave, at least 1.

    A quota of 1.5 processors gives 2, one of 1.4 gives 1. One thread more than there are
    processors in the quota, and all are stopped for the rest of every period (0.1 s), for half of
    it where the quota is little over 1; one thread less, and a part is left to whatever else the
    process does.

    Args:
        cgroups: Where the cgroup file system (version 2 or 1) is mounted.
        own: The file that names this process's own cgroup.
    """
    quotas = filter(None, map(_quota, groups("cpu", cgroups, own)))
    limits = [_host_cpus(), *(math.floor(quota + 0.5) for quota in quotas)]
    return max(1, min(limits))


def _host_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS has no affinity


def _quota(group: Path) -> float | None:
    """Return the processors that one cgroup allows; None where it sets no quota."""
    try:
        quota, period = (group / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if quota in {"max", "-1"}:
        return None
    try:
        return int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
