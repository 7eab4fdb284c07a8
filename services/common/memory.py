"""How much memory this process may use: the container's share where there is one."""

from __future__ import annotations

import os
from pathlib import Path

from services.common.cgroups import CGROUPS, OWN_CGROUP, groups


def machine_memory() -> int:
    """Return the bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_limit(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> int | None:
    """Return the bytes of memory that this process's cgroup allows; None where it sets no limit.

    Args:
        cgroups: Where the cgroup file system (version 2 or 1) is mounted.
        own: The file that names this process's own cgroup.
    """
    limits = [limit for limit in map(_limit, groups("memory", cgroups, own)) if limit is not None]
    # Version 1 writes "no limit" as a number that no machine has.
    limit = min(limits, default=None)
    return None if limit is None or limit >= machine_memory() else limit


def _limit(group: Path) -> int | None:
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            return int((group / name).read_text())
        except (OSError, ValueError):  # absent, or `max`
            continue
    return None
