"""Pieces of a table in files, each of which can be read without the others, in another process too."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
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


def cut(source: Source) -> tuple[dict[str, TablePart], list[Piece]]:
    """Cut a table into row groups of its files, or into files where there is no telling which row is in their middle.

    Returns:
        The parts of the source, without their rows; and the pieces, which :func:`fill` reads as rows of them.

    Raises:
        ValueError: If the source is no table in files, or one of windows.
    """
    if source.is_windowed:
        raise ValueError(
            "source: expected rows that do not depend on each other; received windows of a time series, whose rows are "
            "to be read in one process."
        )
    emptied, pieces = {}, []
    for name, part in source.parts.items():
        rows = part.record_batches if isinstance(part, TablePart) else None
        if not isinstance(part, TablePart) or not isinstance(rows, JoinedRows) or None in [t.cut for t in rows.tables]:
            raise ValueError(
                "source: expected a table in .parquet or text files, which several processes can read; received "
                f"{source.name!r}, which is {'images' if source.kind == 'image' else 'none'}."
            )
        emptied[name] = _with_rows(part, dataclasses.replace(rows, tables=(), places=FileRows(())))
        for table, file in zip(rows.tables, rows.places.files, strict=True):
            pieces += list(_cut_table(name, file, table))
    return emptied, pieces


def fill(part: TablePart, piece: Piece) -> TablePart:
    """Return a part that :func:`cut` returned with the rows of a piece, whose places count from the piece's first."""
    assert isinstance(part.record_batches, JoinedRows)
    rows = dataclasses.replace(part.record_batches, tables=[piece.table], places=FileRows([piece.file]))
    return _with_rows(part, rows)


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
