"""How much memory there is."""

from __future__ import annotations

import os
import re
from pathlib import Path

# Of the process's control group, version 2 and 1; the root of each is that of a container. "max" is no limit.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def available() -> int:
    """Return about how many bytes this process can take: what is free or can be freed, within the container's limit."""
    limits = [int(text) for path in _LIMITS if (text := _read(path).strip()).isdecimal()]
    if found := re.search(r"MemAvailable: +(\d+) kB", _read("/proc/meminfo")):
        return min([int(found[1]) * 1024, *limits])
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *limits])
    return min([2**32, *limits])


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
