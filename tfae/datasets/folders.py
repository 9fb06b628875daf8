"""What a folder holds: its files, and the splits that some of it is named after."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

from tfae.datasets.splits import SPLIT_NAMES

#: How the names of what may be splits begin.
_LIKE_A_SPLIT = re.compile("train|val|test|dev|eval", re.IGNORECASE)


def list_files(folder: Path, *, hidden: tuple[str, ...] = (".",)) -> list[str]:
    """Return the files of a folder and its sub-folders, relative and sorted, without names that begin with a sign."""
    # Sorted as text, for paths sort differently on different systems.
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = [name for name in files if not is_hidden(Path(name), hidden)]
    for name in files:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"source: expected names of files in UTF-8; received {name!r} in {str(folder)!r}. Rename it."
            ) from None
    return files


def is_hidden(path: Path, signs: tuple[str, ...]) -> bool:
    """Whether a path, relative to where one looks, has a name that begins with one of the signs."""
    return any(part.startswith(signs) for part in path.parts)


def warn_of_skipped(folder: Path, names: Sequence[str], what: str) -> None:
    """Warn of files in a folder that are not read."""
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        warnings.warn(
            f"skipped what is not {what}, by its suffix, in {str(folder)!r}: {', '.join(names[:5])}{more}", stacklevel=7
        )


def find_splits(
    names: Sequence[str], folder: Path, *, expected: str, remedy: str, loose: Sequence[str] = ()
) -> dict[str, str] | None:
    """Return how the splits are called among the names in a folder; None if none of these looks like one.

    If only some of them do, or the folder holds something ``loose`` beside them, it is an error with ``expected`` and
    ``remedy``: a training would see test samples.
    """
    found = {split: [name for name in names if name in called] for split, called in SPLIT_NAMES.items()}
    is_split = any(name.lower() in called for name in names for called in SPLIT_NAMES.values())
    if not is_split and len({like[0].lower() for like in map(_LIKE_A_SPLIT.match, names) if like}) < 2:
        return None
    num_found = [len(called) for called in found.values()]
    if loose or sum(num_found) < len(names) or num_found[0] != 1 or num_found[1] > 1 or num_found[2] != 1:
        raise ValueError(
            f"source: expected {expected}; received {', '.join([*names, *loose])} in {str(folder)!r}. Rename them, "
            f"move what belongs to no split elsewhere, or {remedy}."
        )
    return {split: called[0] for split, called in found.items() if called}
