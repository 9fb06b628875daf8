"""Patterns of paths, such as ``logs/*.csv``, in which wildcards stand for what any name holds."""

from __future__ import annotations

import glob
import itertools
import os
import re
from pathlib import Path

#: How wildcards are written that stand for themselves.
_ESCAPED = re.compile(r"\[([*?[])\]")


def is_pattern(path: str | os.PathLike[str]) -> bool:
    """Whether a path has wildcards, and there is nothing that is called so."""
    return glob.has_magic(os.fspath(path)) and not Path(path).expanduser().exists()


def absolute(pattern: str | os.PathLike[str]) -> Path:
    """Return a pattern that means the same from every working directory."""
    return Path(glob.escape(str(Path.cwd())), Path(pattern).expanduser())


def expand(pattern: str | os.PathLike[str]) -> list[Path]:
    """Return what fits to a pattern; ``**`` stands for any number of folders."""
    return [Path(path) for path in glob.iglob(str(absolute(pattern)), recursive=True)]  # noqa: PTH207 (links are followed)


def folder_of(pattern: str | os.PathLike[str]) -> Path:
    """Return the folder above all wildcards.

    Example:
        >>> folder_of("/logs/2024-*/a.csv").as_posix()
        '/logs'
    """
    parts = itertools.takewhile(lambda part: not glob.has_magic(_ESCAPED.sub("", part)), absolute(pattern).parts)
    return Path(*(_ESCAPED.sub(r"\1", part) for part in parts))


def would_match(pattern: str | os.PathLike[str], place: Path) -> bool:
    """Whether what is written to a place, given without links, fits to a pattern; under ``**`` everything does."""
    folder = folder_of(pattern)
    rest = absolute(pattern).parts[len(folder.parts) :]
    if "**" in rest:
        return place == folder.resolve()
    return place.match(str(Path(glob.escape(str(folder.resolve())), *rest)))
