"""The quota of CPUs that a container has: Linux's control groups, of both versions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath


@cache
def cpu_quota(root: str = "/") -> float | None:
    """CPUs that the process may use on average; None where nothing limits it.

    The least of its group and of all groups around it. It is read once a process. ``root``: of the file system.

    Examples
    --------
    >>> cpu_quota() is None or cpu_quota() > 0
    True
    """
    quotas = [quota for group in _groups(Path(root)) if (quota := _quota_of(group)) is not None]
    return min(quotas, default=None)


def _groups(root: Path) -> Iterator[Path]:
    """The directories of the process's groups that may limit its CPUs, each followed by those around it."""
    top = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if number == "0" and not controllers:
            mounts = [top, top / "unified"]
        elif "cpu" in controllers.split(","):
            mounts = [top / controllers, top / "cpu"]
        else:
            continue
        # In a container the path may be that of the host, and the mount the container's own group: then only the
        # mount itself is there.
        place = PurePosixPath(path.lstrip("/"))
        for mount in mounts:
            for group in (place, *place.parents):
                if ".." not in group.parts:
                    yield mount / group


def _quota_of(group: Path) -> float | None:
    """Its own quota, from ``cpu.max`` (version 2) or ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us`` (version 1)."""
    with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
        quota, period = map(int, (group / "cpu.max").read_text().split())
        return quota / period if quota > 0 and period > 0 else None
    with contextlib.suppress(OSError, ValueError):
        quota, period = (int((group / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return quota / period if quota > 0 and period > 0 else None  # -1: none
    return None
