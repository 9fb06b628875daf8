"""Where and with what a benchmark ran."""

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
LIBRARIES = ("tfae", "tensorflow", "keras", "numpy", "tensorflow-datasets")


def describe() -> dict[str, Any]:
    """Processor, cores, versions, date and commit."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip() or None,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in LIBRARIES}},
    }


def header(machine: dict[str, Any]) -> str:
    """The same on two lines."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['date']}, commit {machine['commit']}, {machine['processor']}, {machine['cores']} cores\n{versions}"
    )


def write(name: str, result: dict[str, Any]) -> Path:
    """Write a result to ``benchmarks/results/<name>.json``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return path


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def section_writer(name: str, about: dict[str, Any], *, smoke: bool) -> Callable[[str, Any], None]:
    """Return what writes down what a section of a benchmark has found; sections that are not run again stay."""
    path = RESULTS / f"{name}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    result: dict[str, Any] = before if before.get("smoke") == smoke else {}
    result |= {"machine": about, "smoke": smoke}

    def write_section(section: str, found: Any) -> None:
        result[section] = {"machine": about, "found": found}
        write(name, result)

    return write_section
