"""A file of scores, CSV or Parquet, that is there only when complete, and goes on where an interrupted one ended."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from tfae.atomic_write import replace_atomically, write_atomically
from tfae.scoring.score_rows import schema_of

_WRITERS = {".csv": pa.csv.CSVWriter, ".parquet": pa.parquet.ParquetWriter}
#: Work that an interruption can cost.
SECONDS = 20.0


def read_scores(path: Path) -> pa.Table:
    """Read what a :class:`ScoreFile` wrote."""
    return pa.parquet.read_table(path) if path.suffix.lower() == ".parquet" else pa.csv.read_csv(path)


def _validate_cells(table: pa.Table) -> None:
    """Raise ValueError if a column is of lists or of bytes that are no text, which a CSV file can not hold."""
    for field in table.schema:
        is_text = True
        if pa.types.is_binary(field.type):
            try:
                table[field.name].cast(pa.string())
            except pa.ArrowInvalid:
                is_text = False
        if not is_text or pa.types.is_nested(field.type):
            raise ValueError(
                f"keep: expected columns of numbers or text, for a .csv file; received {field.name!r}, of {field.type}."
                " Write to a .parquet file, which holds such."
            )


@final
class ScoreFile:
    """A context manager that writes tables of the same columns, one after the other.

    The file is there when the block ends without an error. Until then what took ``SECONDS`` or more is in a folder
    ``.<name>.partial`` beside it. An error leaves them there, and who writes the same again goes on behind them.

    Args:
        path: Where to write to; the suffix, ``.csv`` or ``.parquet``, says how. ValueError if it is another.
        about: What the rows come from, JSON-able. Where that is another, nothing is taken over.

    Attributes:
        num_rows: How many rows there are already.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with ScoreFile(Path(folder, "scores.csv")) as file:
        ...         file.write(pa.table({"index": [0, 1], "instance_score": [1.5, None]}))
        ...     print(Path(folder, "scores.csv").read_text(), end="")
        "index","instance_score"
        0,1.5
        1,
    """

    def __init__(self, path: Path, *, about: Mapping[str, Any] | None = None) -> None:
        if path.suffix.lower() not in _WRITERS:
            raise ValueError(f"output: expected a file that ends with {' or '.join(_WRITERS)}; received {path}.")
        self._path = path
        self._folder = path.with_name(f".{path.name}.partial")
        self._about = json.dumps(about)
        self._pending: list[pa.Table] = []
        self._begun = time.monotonic()
        self._schema: pa.Schema | None = None

    def __enter__(self) -> ScoreFile:
        about = self._folder / "about.json"
        if not about.exists() or about.read_text(encoding="utf-8") != self._about:
            shutil.rmtree(self._folder, ignore_errors=True)
        self.num_rows = sum(pa.parquet.read_metadata(segment).num_rows for segment in self._segments())
        return self

    def write(self, table: pa.Table) -> None:
        """Append rows."""
        if self._path.suffix.lower() == ".csv":
            _validate_cells(table)
        if self._schema is None:
            if segments := self._segments():
                self._schema = pa.parquet.read_schema(segments[0])
            else:
                self._schema = schema_of(table)
        self._pending.append(table.cast(self._schema))
        self.num_rows += len(table)
        if time.monotonic() - self._begun >= SECONDS:
            write_atomically(self._folder / "about.json", self._about)
            with replace_atomically(self._folder / f"{len(self._segments()):09}.parquet") as partial:
                pa.parquet.write_table(pa.concat_tables(self._pending), partial)
            self._pending, self._begun = [], time.monotonic()

    def _segments(self) -> list[Path]:
        return sorted(self._folder.glob("*.parquet"))

    def __exit__(self, error: Any, *_: Any) -> None:
        if error is not None:
            return
        with replace_atomically(self._path) as partial, contextlib.ExitStack() as exits:
            tables = itertools.chain(map(pa.parquet.read_table, self._segments()), self._pending)
            first = next(tables)
            writer = exits.enter_context(_WRITERS[self._path.suffix.lower()](partial, first.schema))
            for table in itertools.chain([first], tables):
                writer.write_table(table)
        shutil.rmtree(self._folder, ignore_errors=True)
