"""Where the limits of this process's container stand, in version 2 and 1. Reads no limit."""

from __future__ import annotations

from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def groups(controller: str, cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> list[Path]:
    """Return this process's cgroup and all above it: each may set a limit.

    Args:
        controller: What version 1 names the kind of limit, such as `cpu`.
        cgroups: Where the cgroup file system is mounted.
        own: The file that names this process's own cgroup.
    """
    # Version 1 mounts controllers that belong together in one place, mostly with a link for each.
    joint = (*cgroups.glob(f"{controller},*"), *cgroups.glob(f"*,{controller}"))
    mounts = [cgroups / controller, *joint]
    found = [cgroups, *mounts]
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, _, path = line.partition(":")
        controllers, _, path = path.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        for base in mounts if controllers else [cgroups]:
            group = base / path.lstrip("/")
            while group != base and base in group.parents:
                found.append(group)
                group = group.parent
    return found
