"""The files that a table is in: one, several, those that fit to a pattern, or those of a folder."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from tfae import patterns
from tfae.datasets.folders import find_splits, is_hidden, list_files, warn_of_skipped

COMPRESSED = (".gz", ".bz2")
_TEXT = (".csv", ".tsv", ".txt", ".tab", ".dat", ".data")
#: Also as those of shards are called, rows.tfrecord-00000-of-00004.
_RECORDS = (".tfrecord", ".tfrecords")
TABLE_SUFFIXES = (*_TEXT, ".parquet", *_RECORDS)
_KINDS = (".csv", ".parquet", ".tfrecord")
#: How names begin that are no data: _SUCCESS and .part-0.csv.crc, as of pyarrow, and what a killed Beam job leaves.
_HIDDEN = (".", "_", "beam-temp-")
_SHARD = re.compile(r"-\d{5,}-of-\d{5,}$")


@final
@dataclass(frozen=True)
class TableFiles:
    """Files of one kind, which together are a table, or a table for each split.

    Attributes:
        given: A path, a pattern or a list of paths, as ``load`` takes them again from every working directory.
        suffix: ".csv" for all that are texts, ".parquet" or ".tfrecord".
        root: Folder that the names of files are relative to; sub-folders ``key=value`` in there are columns.
        parts: Paths, sorted, by the name of the split, or "all".
    """

    given: str | list[str]
    suffix: str
    root: Path
    parts: Mapping[str, Sequence[Path]]

    @property
    def paths(self) -> list[Path]:
        """Those of all parts."""
        return [path for paths in self.parts.values() for path in paths]

    @property
    def is_one(self) -> bool:
        """Whether it is a file, and no list, pattern or folder, even of one."""
        return [*map(str, self.paths)] == [self.given]

    @property
    def name(self) -> str:
        """That of the file, or of the folder, without its suffix."""
        return self.parts["all"][0].name.split(".")[0] if self.is_one else self.root.resolve().name or "table"

    def __str__(self) -> str:
        return f"{len(self.given)} files in {self.root}" if isinstance(self.given, list) else self.given


def suffix_of(path: Path | str) -> str:
    """Return the suffix of the kind of a file: in small letters, without a number of shards or its compression."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes if suffix.lower() not in COMPRESSED]
    suffix = _SHARD.sub("", suffixes[-1]) if suffixes else ""
    return ".csv" if suffix in _TEXT else ".tfrecord" if suffix in _RECORDS else suffix


def find_tables(path: Path) -> TableFiles | None:
    """Return the table in a file or folder; None if it is something else, such as a folder of images."""
    if not path.is_dir():
        suffix = suffix_of(path)
        return TableFiles(str(path), suffix, path.parent, {"all": [path]}) if suffix in _KINDS else None
    from tfae.datasets.image_file import suffixes

    files, of_images = list_files(path, hidden=_HIDDEN), suffixes()
    if {"dataset_info.json", "features.json"} <= {*files}:
        raise ValueError(
            f"source: expected a folder of images or tables; received {str(path)!r}, a prepared data set of TensorFlow "
            "Datasets. Give its name, with data_dir= of the folder that such data sets are in."
        )
    if any(name.lower().endswith(of_images) for name in files):
        return None
    tables = [name for name in files if suffix_of(name) in _KINDS]
    if not tables:
        return None
    warn_of_skipped(path, [name for name in files if suffix_of(name) not in _KINDS], "a table")
    pattern = f"{glob.escape(path.as_posix())}/**/{_pattern_of(tables[0])}"
    remedy = f"give a pattern to have all of it as one table, such as {pattern!r}"
    # Folders in this one, and files without their suffixes.
    entries = {name: name.split("/" if "/" in name else ".")[0] for name in tables}
    splits = find_splits(
        sorted({entry for entry in entries.values() if "=" not in entry}),
        path,
        expected="files or sub-folders train, test and perhaps val for the splits, or none that is called so",
        remedy=remedy,
    )
    for name in tables:
        folders = name.split("/")[:-1]
        if not all("=" in folder for folder in (folders if splits is None else folders[1:])):
            raise ValueError(
                f"source: expected files, and sub-folders called COLUMN=VALUE, in {str(path)!r}; received {name!r}. "
                f"Give one of the folders, or {remedy}."
            )
    parts = {"all": tables}
    if splits is not None:
        parts = {split: [name for name in tables if entries[name] == entry] for split, entry in splits.items()}
    return _of_one_kind(str(path), path, {part: [path / name for name in names] for part, names in parts.items()})


def list_tables(paths: Sequence[str | os.PathLike[str]]) -> TableFiles:
    """Return the table in several files, whatever order they are listed in."""
    absolute = sorted({Path(path).expanduser().absolute() for path in paths}, key=Path.as_posix)
    for path in absolute:
        if not path.is_file():
            raise ValueError(f"source: expected a list of existing files; received {str(path)!r}, which is none.")
    if len(absolute) < len(paths):
        raise ValueError(f"source: expected each file once; received {len(paths)} paths of {len(absolute)} files.")
    root = Path(os.path.commonpath([path.parent for path in absolute]))
    return _of_one_kind([str(path) for path in absolute], root, {"all": absolute})


def match_tables(pattern: str | os.PathLike[str]) -> TableFiles:
    """Return the table in the files that fit to a pattern."""
    root = patterns.folder_of(pattern)
    found = [path for path in patterns.expand(pattern) if path.is_file()]
    found = [path for path in found if not is_hidden(path.relative_to(root), _HIDDEN)]
    if not found:
        raise ValueError(
            f"source: expected a pattern that files fit to; received {os.fspath(pattern)!r}, which none does. Names "
            "that begin with . or _ are left out; ** stands for folders in folders."
        )
    return _of_one_kind(str(patterns.absolute(pattern)), root, {"all": sorted(found, key=Path.as_posix)})


def _of_one_kind(given: str | list[str], root: Path, parts: Mapping[str, Sequence[Path]]) -> TableFiles:
    """Return files, once they are found to be all texts or all Parquet."""
    first, *others = (path for paths in parts.values() for path in paths)
    suffix = suffix_of(first)
    if suffix not in _KINDS:
        raise ValueError(
            f"source: expected files that end with {', '.join(TABLE_SUFFIXES)}; received {str(first)!r}. Of .npy and "
            ".npz files, give one."
        )
    if other := next((path for path in others if suffix_of(path) != suffix), None):
        raise ValueError(
            f"source: expected text, .parquet or .tfrecord files, and nothing else; received {str(first)!r} and "
            f"{str(other)!r}. Choose some with a pattern, such as {str(root / _pattern_of(first))!r}."
        )
    return TableFiles(given, suffix, root, parts)


def _pattern_of(path: Path | str) -> str:
    """Return a pattern of the names that end like that of a file."""
    return "*.tfrecord*" if suffix_of(path) == ".tfrecord" else f"*{Path(path).suffix}"
