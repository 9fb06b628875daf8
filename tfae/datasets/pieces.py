"""Pieces of a table in files, each of which can be read without the others, in another process too."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import final

from tfae.datasets.file_rows import FileRows
from tfae.datasets.joined_tables import JoinedRows, Table
from tfae.datasets.source import Source
from tfae.datasets.tables import TablePart


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
        part = self.parts[piece.part]
        assert isinstance(part.record_batches, JoinedRows)
        rows = dataclasses.replace(part.record_batches, tables=[piece.table], places=FileRows([piece.file]))
        yield piece.part, piece.first, _with_rows(part, rows)


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
        rows = part.record_batches if isinstance(part, TablePart) else None
        if not isinstance(part, TablePart) or not isinstance(rows, JoinedRows) or None in [t.cut for t in rows.tables]:
            raise ValueError(
                "source: expected a table in .parquet, .tfrecord or text files, which several processes can read in "
                f"pieces; received {source.name!r}, which is {'images' if source.kind == 'image' else 'none'}."
            )
        parts[name] = _with_rows(part, dataclasses.replace(rows, tables=(), places=FileRows(())))
        for table, file in zip(rows.tables, rows.places.files, strict=True):
            pieces += list(_cut_table(name, file, table))
    return PieceReader(parts), pieces


def _with_rows(part: TablePart, rows: JoinedRows) -> TablePart:
    other = copy.copy(part)
    other.record_batches = rows
    other.sample_names = None if part.sample_names is None else rows.places
    other.num_samples = other.max_samples = None
    other.may_be_empty = True
    return other


def _cut_table(part: str, file: str, table: Table) -> Iterator[Piece]:
    assert table.cut is not None
    for first, record_batches in table.cut():
        # What is known of all columns of all files would be sent along with each piece.
        read = dataclasses.replace(
            table, names=table.names[:1], kinds={}, types=None, record_batches=record_batches, cut=None
        )
        yield Piece(part, file, first, read)
