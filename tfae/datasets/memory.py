"""How much memory there is."""

from __future__ import annotations

import os
from pathlib import Path

# Of the process's control group, version 2 and 1; the root of each is that of a container. "max" is no limit.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def available() -> int:
    """Return about how many bytes this process can take: what is free or can be freed, within the container's limit."""
    limits = [text for path in _LIMITS if (text := _read(path).strip()).isdecimal()]
    return min([_measure_machine(), *map(int, limits)])


def _measure_machine() -> int:
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 2**32


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
