"""Finds how many CPUs this process may use, by its affinity and the quota of its control groups.

torch counts the machine's cores. In a container limited to two of sixty-four it would start sixty-four threads, and the
kernel would throttle them in turn.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["usable_cpus"]

_OWN_GROUPS = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")


def usable_cpus(own_groups: Path = _OWN_GROUPS, root: Path = _ROOT) -> int:
    """Returns how many threads can compute all the time, at least 1; a quota of 1.5 CPUs counts as 1."""
    allowed = _affinity()
    quotas = [quota for folder in _folders(own_groups, root) if (quota := _quota(folder)) is not None]
    return max(1, min(allowed, math.floor(min(quotas, default=allowed))))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _folders(own_groups: Path, root: Path) -> Iterator[Path]:
    """Yields the folders whose limits apply to this process: its own control group and those above it."""
    try:
        lines = own_groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / controllers if controllers else root
        own = PurePosixPath(path.lstrip("/"))
        yield base / own
        yield from (base / parent for parent in own.parents)


def _quota(folder: Path) -> float | None:
    """Reads a group's limit in CPUs from `cpu.max` (version 2) or `cpu.cfs_quota_us` (version 1); None without one."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        return int(quota) / int(period) if quota not in ("max", "-1") else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
