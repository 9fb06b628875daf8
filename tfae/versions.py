"""The versions of a model in its folder, as servers find them."""

from __future__ import annotations

import re
from pathlib import Path


def list_versions(directory: Path) -> dict[int, Path]:
    """Versions in ascending order: the sub-folders whose name is a number of 64 bits, also ``0005``.

    Raises:
        OSError: If the directory can not be read.
    """
    folders = (entry for entry in directory.iterdir() if re.fullmatch("[0-9]+", entry.name) and entry.is_dir())
    return dict(sorted((int(folder.name), folder) for folder in folders if int(folder.name) < 2**63))
