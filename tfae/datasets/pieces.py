"""Pieces of a table in files, each of which can be read without the others, in another process too."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from tfae.datasets.file_rows import FileRows
from tfae.datasets.source import Source
from tfae.datasets.tables import Table, TablePart


@final
@dataclass(frozen=True)
class Piece:
    """Rows of one file that follow each other; small when pickled.

    Attributes:
        part: The name of the part that it belongs to.
        file: What that calls the file.
        first: Which row of the file the first one is.
        table: What reads them.
    """

    part: str
    file: str
    first: int
    table: Table


@final
@dataclass(frozen=True)
class PieceReader:
    """What all pieces of a source have in common: its parts, without their rows."""

    parts: Mapping[str, TablePart]

    @contextlib.contextmanager
    def open(self, piece: Piece) -> Iterator[tuple[str, int, TablePart]]:
        """Yield the name of a part, the place in its file of the first row of a piece, and the part with these rows."""
        yield piece.part, piece.first, _with_tables(self.parts[piece.part], [piece.table], [piece.file])


def cut(source: Source) -> tuple[PieceReader, list[Piece]]:
    """Cut a table into row groups of its files, or into files where there is no telling which row is in their middle.

    Raises:
        ValueError: If the source is no table in files, or one of windows.
    """
    if source.is_windowed:
        raise ValueError(
            "source: expected rows that do not depend on each other; received windows of a time series, which one "
            "process reads whole."
        )
    parts, pieces = {}, []
    for name, part in source.parts.items():
        if not isinstance(part, TablePart) or not all(table.is_file for table in part.tables):
            raise ValueError(
                "source: expected a table in .parquet, .tfrecord or text files, which several processes can read in "
                f"pieces; received {source.name!r}, which is {'images' if source.kind == 'image' else 'none'}."
            )
        parts[name] = _with_tables(part, (), ())
        for table, file in zip(part.tables, part.file_rows.files, strict=True):
            for first, rows in table.cut() if table.cut else [(0, table.record_batches)]:
                # What is known of all columns of all files would be sent along with each piece.
                less = dataclasses.replace(table, names=table.names[:1], kinds={}, types=None, cut=None)
                pieces.append(Piece(name, file, first, dataclasses.replace(less, record_batches=rows)))
    return PieceReader(parts), pieces


def _with_tables(part: TablePart, tables: Sequence[Table], files: Sequence[str]) -> TablePart:
    other = copy.copy(part)
    other.tables, other.file_rows = tables, FileRows(files)
    other.sample_names = None if part.sample_names is None else other.file_rows
    other.num_samples = other.max_samples = None
    other.may_be_empty = True
    return other
